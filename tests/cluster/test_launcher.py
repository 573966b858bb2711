"""The launcher ``./mk8s``, with stand-ins for uv and Python that write down how they were called."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

LAUNCHER = Path(__file__).resolve().parents[2] / "mk8s"
TOOLS = ("sh", "dirname", "readlink", "cmp", "flock", "mkdir", "rm", "cp", "cat", "chmod", "sleep")

PYTHON = """#!/bin/sh
[ "$1" != -c ] || exit 0
[ "$2" != compileall ] || {{ echo once >> "{root}/compiled"; exit 0; }}
echo "python $*" >> "{root}/calls"
echo "ran $*"
"""

UV = """#!/bin/sh
echo "uv $*" >> "{root}/calls"
[ "$1" != venv ] || {{ mkdir -p "{root}/clone/.venv/bin"; cp "{root}/python" "{root}/clone/.venv/bin/python"; }}
sleep 0.2
"""

OLD_PYTHON = """#!/bin/sh
exit 1
"""

#: New enough, but `import ensurepip` fails, as on a Debian without python3-venv.
PYTHON_WITHOUT_VENV = """#!/bin/sh
case $2 in
    *ensurepip*) exit 1 ;;
    *print*) echo 3.11 ;;
esac
"""


class Clone:
    """A folder with the launcher, and a PATH with nothing on it but what a test puts there."""

    def __init__(self, root: Path) -> None:
        self.root, self.clone, self.bin = root, root / "clone", root / "bin"
        self.clone.mkdir()
        self.bin.mkdir()
        shutil.copy(LAUNCHER, self.clone / "mk8s")
        (self.clone / "pyproject.toml").write_text("[project]\n")
        self.tool("../python", PYTHON)
        for name in TOOLS:
            found = shutil.which(name)
            if found:
                (self.bin / name).symlink_to(found)

    def tool(self, name: str, text: str) -> None:
        path = self.bin / name
        path.write_text(text.format(root=self.root))
        path.chmod(0o755)

    def start(
        self, *arguments: str, launcher: Path | str | None = None, cwd: Path | None = None
    ) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [str(launcher or self.clone / "mk8s"), *arguments],
            env={"PATH": str(self.bin)},
            cwd=cwd or self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, launcher: Path | str | None = None, cwd: Path | None = None) -> tuple[int, str, str]:
        process = self.start(*arguments, launcher=launcher, cwd=cwd)
        out, err = process.communicate(timeout=30)
        return process.returncode, out, err

    def installs(self) -> list[str]:
        text = (self.root / "calls").read_text() if (self.root / "calls").exists() else ""
        return [line.split()[-1] for line in text.splitlines() if line.startswith("uv pip install")]


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


def test_the_first_call_installs_and_later_ones_only_run(clone: Clone) -> None:
    clone.tool("uv", UV)
    code, out, err = clone.run("get", "pods", "-l", "a=b c")
    assert (code, out) == (0, "ran -P -m cli get pods -l a=b c\n"), err
    assert clone.installs() == [str(clone.clone)]
    assert clone.run("status")[1] == "ran -P -m cli status\n"
    assert len(clone.installs()) == 1
    assert (clone.root / "compiled").read_text() == "once\n"


def test_a_changed_pyproject_is_installed_again(clone: Clone) -> None:
    clone.tool("uv", UV)
    clone.run("status")
    (clone.clone / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    clone.run("status")
    clone.run("status")
    assert len(clone.installs()) == 2


def test_extras_are_installed_when_they_are_needed_and_only_once(clone: Clone) -> None:
    clone.tool("uv", UV)
    for arguments in (
        ("up",),
        ("up", "--runtime", "docker"),
        ("up", "--runtime=docker"),
        ("test",),
        ("test",),
        ("up",),
    ):
        clone.run(*arguments)
    assert clone.installs() == [str(clone.clone), f"{clone.clone}[docker]", f"{clone.clone}[dev]"]


def test_it_runs_from_anywhere_and_through_links(clone: Clone) -> None:
    clone.tool("uv", UV)
    elsewhere = clone.root / "else where"
    elsewhere.mkdir()
    (elsewhere / "first").symlink_to("../clone/mk8s")
    (elsewhere / "second").symlink_to(elsewhere / "first")
    assert clone.run("status", launcher=elsewhere / "second", cwd=elsewhere)[1] == "ran -P -m cli status\n"
    assert clone.run("status", launcher="./mk8s", cwd=clone.clone)[1] == "ran -P -m cli status\n"
    (clone.bin / "mk8s").symlink_to(clone.clone / "mk8s")
    done = subprocess.run(
        ["sh", "-c", "mk8s status"], env={"PATH": str(clone.bin)}, cwd="/", capture_output=True, text=True, check=True
    )
    assert done.stdout == "ran -P -m cli status\n"
    assert len(clone.installs()) == 1


def test_a_moved_clone_is_installed_again(clone: Clone) -> None:
    clone.tool("uv", UV)
    clone.run("status")
    moved = clone.root / "moved"
    clone.clone.rename(moved)
    clone.run("status", launcher=moved / "mk8s")
    assert clone.installs() == [str(clone.clone), str(moved)]


def test_two_at_once_install_once(clone: Clone) -> None:
    clone.tool("uv", UV)
    both = [clone.start("status") for _ in range(2)]
    outputs = [process.communicate(timeout=30) for process in both]
    assert [out for out, _ in outputs] == ["ran -P -m cli status\n"] * 2
    assert len(clone.installs()) == 1


def test_an_environment_without_its_python_is_made_anew(clone: Clone) -> None:
    clone.tool("uv", UV)
    clone.run("status")
    python = clone.clone / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/usr/bin/python3.that-was-upgraded-away")
    assert clone.run("status")[1] == "ran -P -m cli status\n"
    assert len(clone.installs()) == 2


def test_without_a_new_enough_python_the_package_is_named(clone: Clone) -> None:
    clone.tool("python3", OLD_PYTHON)
    code, _, err = clone.run("status")
    assert code == 1
    assert err.startswith("error: minik8s needs Python 3.11 or newer")
    assert "apt install python3 python3-venv" in err


def test_without_venv_the_package_is_named(clone: Clone) -> None:
    clone.tool("python3", PYTHON_WITHOUT_VENV)
    code, _, err = clone.run("status")
    assert code == 1
    assert "apt install python3-venv (or python3.11-venv)" in err


def test_a_failed_installation_is_tried_again(clone: Clone) -> None:
    clone.tool("uv", UV.replace("sleep 0.2", '[ "$1" = venv ] || exit 1'))
    code, out, err = clone.run("status")
    assert (code, out) == (1, "")
    assert "error: installing failed" in err
    clone.tool("uv", UV)
    assert clone.run("status")[0] == 0


def test_it_is_a_plain_posix_script() -> None:
    assert os.access(LAUNCHER, os.X_OK)
    checked = subprocess.run(["sh", "-n", str(LAUNCHER)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
