import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.__main__ import flags, main
from proxy.component import split_address


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """``main`` sends the process's log to its standard error, which here is one test's capture."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_flags_are_spelled_as_upstream_spells_them() -> None:
    options = flags().parse_args(["--proxy-mode=userspace", "--cluster-cidr", "10.244.0.0/16", "--cleanup", "-v", "2"])
    assert (options.proxy_mode, options.cluster_cidr, options.cleanup, options.v) == (
        "userspace",
        "10.244.0.0/16",
        True,
        2,
    )
    assert (options.healthz_bind_address, options.metrics_bind_address) == ("0.0.0.0:10256", "127.0.0.1:10249")


def test_a_mode_that_we_do_not_have_is_refused() -> None:
    with pytest.raises(SystemExit):
        main(["--proxy-mode=ipvs"])


def test_a_missing_kubeconfig_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"--kubeconfig={tmp_path}/none", "--proxy-mode=userspace"]) == 1
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith("error: no kubeconfig: ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("127.0.0.1:10256", ("127.0.0.1", 10256)), ("127.0.0.1", ("127.0.0.1", 1)), (":80", ("0.0.0.0", 80))],
)
def test_addresses_may_leave_the_port_out(text: str, expected: tuple[str, int]) -> None:
    assert split_address(text, 1) == expected
