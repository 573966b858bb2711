"""``mk8s test``: format, lint, types, import layers, then every test; one command, the same here and in CI."""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

CHECKS = (
    ("format", ["ruff", "format", "--check", "--quiet"]),
    ("lint", ["ruff", "check", "--quiet"]),
    ("types", ["mypy"]),
    ("import layers", ["lint-imports"]),
)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="mk8s test",
        description="Check format, lint, types and import layers, then run the tests. Other arguments go to pytest.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--no-skips", action="store_true", help="fail instead of leaving out a test that cannot run here"
    )
    options, rest = parser.parse_known_args(argv)
    if not (ROOT / "tests").is_dir():
        print("error: the tests are not installed; run ./mk8s test in a clone of the project", file=sys.stderr)
        return 1
    os.chdir(ROOT)
    failed = []
    # With a selection of tests only those are asked for.
    if not rest:
        failed += [name for name, command in CHECKS if not _passes(name, command)]
    began = time.monotonic()
    code = subprocess.run(_pytest(options.no_skips, rest), check=False).returncode
    if code:
        failed.append("tests")
    print(f"\n{'failed: ' + ', '.join(failed) if failed else 'all passed'} (tests: {time.monotonic() - began:.0f} s)")
    return 1 if failed else 0


def _passes(name: str, command: list[str]) -> bool:
    tool = Path(sys.executable).parent / command[0]
    began = time.monotonic()
    done = subprocess.run([str(tool), *command[1:]], capture_output=True, text=True, check=False)
    print(f"{'ok  ' if done.returncode == 0 else 'FAIL'} {name:<14} {time.monotonic() - began:5.1f} s", flush=True)
    if done.returncode:
        print(done.stdout + done.stderr, flush=True)
    return done.returncode == 0


def _pytest(no_skips: bool, rest: list[str]) -> list[str]:
    command = [sys.executable, "-m", "pytest"]
    if no_skips:
        command.append("--no-skips")
    if not any(not argument.startswith("-") for argument in rest) and shutil.which("git"):
        command.append("tests")
    return [*command, *rest]
