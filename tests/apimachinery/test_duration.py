"""Ages as upstream prints them."""

import pytest

from apimachinery.duration import age, human

M, H, D, Y = 60, 3600, 86400, 365 * 86400


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-5, "<invalid>"), (-1, "0s"), (0, "0s"), (1.9, "1s"), (119, "119s"), (2 * M, "2m"), (5 * M + 3, "5m3s"),
        (10 * M + 5, "10m"), (179 * M, "179m"), (3 * H, "3h"), (3 * H + 12 * M, "3h12m"), (8 * H + M, "8h"),
        (47 * H, "47h"), (2 * D, "2d"), (2 * D + 5 * H, "2d5h"), (8 * D + H, "8d"), (729 * D, "729d"), (2 * Y, "2y"),
        (2 * Y + 3 * D, "2y3d"), (8 * Y + 3 * D, "8y"),
    ],
)  # fmt: skip
def test_human(seconds: float, shown: str) -> None:
    assert human(seconds) == shown


def test_age_of_what_was_never_created_is_unknown() -> None:
    assert age(None, 0) == "<unknown>"
    assert age("1970-01-01T00:00:00Z", 61) == "61s"
