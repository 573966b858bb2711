"""What is between the members: a proxy before each of them, that can swallow what one says to another, in one direction or both.

Nothing is closed when a link breaks: bytes stop, as with a network that drops packets, and flow on when it heals. A thread of
its own runs it, so that it outlives the event loops of single tests.
"""

import asyncio
import contextlib
import json
import random
import struct
import threading
from collections.abc import Coroutine
from typing import Any

_FRAME = struct.Struct("<IB")  # as the members begin: length and kind of the greeting, which says who speaks


class Links:
    """One listening port for each member. ``targets`` are where they really listen, ``ids`` how they greet."""

    def __init__(self, targets: dict[str, int], ids: dict[int, str]) -> None:
        self._targets = targets
        self._ids = ids
        self.ports: dict[str, int] = {}
        self._blocked: set[tuple[str, str]] = set()
        self._delay = 0.0
        self._lose = False
        self._healed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="links", daemon=True)
        self._thread.start()
        self._run(self._listen())

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    # ---- what may be done to it

    def block(self, *links: tuple[str, str]) -> None:
        """From now on nothing of what the first says reaches the second."""
        self._run(self._set({*self._blocked, *links}))

    def isolate(self, name: str) -> None:
        others = [other for other in self._targets if other != name]
        self.block(*((name, other) for other in others), *((other, name) for other in others))

    def delay(self, seconds: float) -> None:
        """Everything takes up to so long, differently each time."""
        self._delay = seconds

    def heal(self, lose: bool = False) -> None:
        """With ``lose``, what has been held back is lost and its connections with it: whoever sent it is not there any more."""
        self._delay = 0.0
        self._lose = lose
        self._run(self._set(set()))

    def close(self) -> None:
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    # ---- how it works

    async def _set(self, blocked: set[tuple[str, str]]) -> None:
        self._blocked = blocked
        self._healed.set()
        self._healed = asyncio.Event()

    async def _listen(self) -> None:
        for name in self._targets:
            server = await asyncio.start_server(
                lambda reader, writer, name=name: self._accept(name, reader, writer), "127.0.0.1", 0
            )
            self.ports[name] = server.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        onward: asyncio.StreamWriter | None = None
        try:
            greeting = await reader.readexactly(_FRAME.size)
            length, _ = _FRAME.unpack(greeting)
            body = await reader.readexactly(length)
            speaker = self._ids.get(json.loads(body)["from"], "")
            back, onward = await asyncio.open_connection("127.0.0.1", self._targets[name])
            there = asyncio.create_task(self._pump(reader, onward, (speaker, name), greeting + body))
            here = asyncio.create_task(self._pump(back, writer, (name, speaker)))
            try:
                await asyncio.wait([there, here], return_when=asyncio.FIRST_COMPLETED)
            finally:
                there.cancel()
                here.cancel()
                await asyncio.gather(there, here, return_exceptions=True)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the ends see it
        finally:
            self._tasks.discard(task)
            for end in (writer, onward):
                if end is not None:
                    end.close()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: tuple[str, str], data: bytes = b""
    ) -> None:
        with contextlib.suppress(OSError):
            while data or (data := await reader.read(1 << 16)):
                while link in self._blocked:
                    await self._healed.wait()
                    if self._lose:
                        return
                if self._delay:
                    await asyncio.sleep(random.random() * self._delay)
                writer.write(data)
                await writer.drain()
                data = b""
