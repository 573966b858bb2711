"""When a certificate request may go."""

import base64
import time
from pathlib import Path
from typing import Any

from apimachinery.meta import format_time
from controllers.certificates.cleaner import is_over
from tests.apiserver.harness import Pki

HOUR, DAY = 3600.0, 86400.0
NOW = time.time()


def request(age: float, *conditions: tuple[str, float], certificate: bytes = b"") -> dict[str, Any]:
    status: dict[str, Any] = {
        "conditions": [{"type": t, "status": "True", "lastUpdateTime": format_time(NOW - a)} for t, a in conditions]
    }
    if certificate:
        status["certificate"] = base64.b64encode(certificate).decode()
    return {"metadata": {"name": "r", "creationTimestamp": format_time(NOW - age)}, "status": status}


def test_what_nobody_decided_goes_after_a_day() -> None:
    assert not is_over(request(DAY - 60), NOW)
    assert is_over(request(DAY + 60), NOW)


def test_what_was_denied_or_has_failed_goes_after_an_hour() -> None:
    for type_ in ("Denied", "Failed"):
        assert not is_over(request(2 * DAY, (type_, HOUR - 60)), NOW)
        assert is_over(request(2 * DAY, (type_, HOUR + 60)), NOW)


def test_what_was_approved_goes_after_an_hour_once_it_is_signed() -> None:
    assert not is_over(request(2 * DAY, ("Approved", 2 * HOUR)), NOW)
    assert is_over(request(2 * DAY, ("Approved", 2 * HOUR), certificate=b"any"), NOW)
    assert not is_over(request(2 * DAY, ("Approved", HOUR / 2), certificate=b"any"), NOW)


def test_what_has_expired_goes_at_once(tmp_path: Path) -> None:
    certificate = Pki(tmp_path).issue("c", "jane")[0].read_bytes()  # for a day
    assert not is_over(request(60, ("Approved", 60), certificate=certificate), NOW)
    later = NOW + 2 * DAY
    fresh = request(-2 * DAY, ("Approved", -2 * DAY), certificate=certificate)
    assert is_over(fresh, later)
