"""Command-line flags with Go's spelling: `--flag=value`, `--flag value`, booleans alone or `=true`, durations like `1m30s`."""

import argparse
import re
from typing import Any

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


def duration(text: str) -> float:
    """Seconds of a Go duration (``1m30s``, ``500ms``, ``0``); ValueError when it is none."""
    if text == "0":
        return 0.0
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text)
    total, position = 0.0, 0
    for match in _DURATION.finditer(rest):
        if match.start() != position:
            break
        total += float(match[1]) * _UNITS[match[2]]
        position = match.end()
    if not rest or position != len(rest):
        raise ValueError(f"invalid duration {text!r}: want something like 300ms, 10s or 1h30m")
    return sign * total


def _boolean(text: str) -> bool:
    if text.lower() in ("true", "t", "1"):
        return True
    if text.lower() in ("false", "f", "0"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")


def _duration_argument(text: str) -> float:
    try:
        return duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


class FlagSet(argparse.ArgumentParser):
    """An argument parser that refuses abbreviations and knows Go's booleans and durations."""

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(
            prog=prog,
            description=description,
            allow_abbrev=False,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )

    def flag(self, name: str, default: Any = "", help: str = "", **kwargs: Any) -> None:
        """A string, or an int or float when the default is one."""
        if type(default) in (int, float):
            kwargs.setdefault("type", type(default))
        self.add_argument(f"--{name}", default=default, help=help or " ", **kwargs)

    def boolean(self, name: str, default: bool, help: str = "") -> None:
        self.add_argument(f"--{name}", type=_boolean, nargs="?", const=True, default=default, help=help or " ")

    def duration(self, name: str, default: str, help: str = "") -> None:
        """Seconds as a float; the default is written as users write it."""
        self.add_argument(
            f"--{name}",
            type=_duration_argument,
            default=duration(default),
            metavar="DURATION",
            help=help or " ",
        )
