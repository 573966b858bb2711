import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from scheduler.__main__ import flags, main


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """``main`` sends the process's log to its standard error, which here is one test's capture."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_flags_are_spelled_as_upstream_spells_them() -> None:
    options = flags().parse_args(
        ["--kubeconfig=/k", "--leader-elect=false", "--leader-elect-lease-duration", "1m30s", "--secure-port=0", "-v=4"]
    )
    assert (options.kubeconfig, options.leader_elect, options.leader_elect_lease_duration) == ("/k", False, 90.0)
    assert (options.secure_port, options.v) == (0, 4)
    assert flags().parse_args(["--leader-elect"]).leader_elect is True


def test_a_missing_kubeconfig_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"--kubeconfig={tmp_path}/none", "--secure-port=0"]) == 1
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith("error: no kubeconfig: ")


def test_an_unknown_flag_is_refused() -> None:
    with pytest.raises(SystemExit):
        main(["--nonsense"])
