"""What ``up`` and ``down`` say while they work: a living line on a terminal, plain lines in a log."""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from typing import TextIO

_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class Progress:
    """``done`` keeps a line, ``note`` one with nothing to show for it; ``spinning`` shows what is waited for."""

    def __init__(self, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self._stream = sys.stdout if stream is None else stream
        self._terminal = self._stream.isatty()
        self._quiet = quiet
        self._began = time.monotonic()

    def _print(self, text: str, end: str = "\n") -> None:
        if not self._quiet:
            print(text, end=end, file=self._stream, flush=True)

    def done(self, text: str) -> None:
        since = time.monotonic() - self._began
        self._clear()
        mark = "\033[32m✓\033[0m " if self._terminal else ""
        self._print(f"{mark}{since:5.2f} s  {text}")

    def note(self, text: str) -> None:
        self._clear()
        self._print(f"          {text}" if not self._terminal else f"            {text}")

    def _clear(self) -> None:
        if self._terminal:
            self._print("\r\033[K", end="")

    @contextlib.asynccontextmanager
    async def spinning(self, what: str) -> AsyncIterator[None]:
        """Show ``what`` with something that moves, for as long as the block runs; silent where nobody watches."""
        task = asyncio.create_task(self._spin(what)) if self._terminal else None
        try:
            yield
        finally:
            if task:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
                self._clear()

    async def _spin(self, what: str) -> None:
        frame = 0
        while True:
            self._print(f"\r\033[K{_FRAMES[frame % len(_FRAMES)]} {what}", end="")
            frame += 1
            await asyncio.sleep(0.1)
