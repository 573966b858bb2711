import subprocess
import sys

import pytest

from cli.__main__ import COMMANDS, command_first, main
from tests.conftest import REPOSITORY


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["get", "pods"], ["get", "pods"]),
        (["-n", "shop", "get", "pods"], ["get", "-n", "shop", "pods"]),
        (["--namespace=shop", "--context", "c", "get"], ["get", "--namespace=shop", "--context", "c"]),
        ([], []),
    ],
)
def test_flags_before_the_command_count_as_its_own(given: list[str], meant: list[str]) -> None:
    assert command_first(given) == meant


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for commands in COMMANDS.values() for name in commands)


@pytest.mark.parametrize("name", [name for commands in COMMANDS.values() for name in commands if name != "test"])
def test_every_command_has_a_help_text(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert f"mk8s {name}" in capsys.readouterr().out


def test_a_reader_that_has_gone_is_no_traceback() -> None:
    script = f"{sys.executable} -m cli --help | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=30, cwd=REPOSITORY)
    assert "Traceback" not in done.stderr
