"""The kubelet's connection to one container's monitor: requests with answers, events as they come."""

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kubelet.cri.api import RuntimeServiceError
from kubelet.cri.native.shim import wire

_ANSWER_SECONDS = 30.0


class ShimGone(RuntimeServiceError):
    """The monitor has ended, and its container with it; ``ended`` is set, or about to be."""


class ShimConnection:
    """``ended`` is set once the monitor closed the connection: the container's exit is on disk by then, or never will be."""

    def __init__(self, sock: socket.socket, on_event: Callable[[dict[str, Any]], None]) -> None:
        self._socket = sock
        self._on_event = on_event
        self._loop = asyncio.get_running_loop()
        self._answers: dict[int, asyncio.Future[tuple[dict[str, Any], list[int]]]] = {}
        self._exits: dict[int, asyncio.Future[int]] = {}
        self._last = 0
        self.ended = asyncio.Event()
        self.on_close: Callable[[], None] = lambda: None
        self._loop.add_reader(sock.fileno(), self._readable)

    @classmethod
    def to(cls, directory: Path, on_event: Callable[[dict[str, Any]], None]) -> "ShimConnection":
        """Connect to a running monitor; ``ConnectionRefusedError`` or ``FileNotFoundError`` when there is none."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            sock.connect(f"/proc/self/fd/{fd}/shim.sock")
        except BaseException:
            sock.close()
            raise
        finally:
            os.close(fd)
        sock.setblocking(False)
        return cls(sock, on_event)

    def close(self) -> None:
        if self._socket.fileno() < 0:
            return
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        gone = ShimGone("the container has ended")
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(gone)
        for exit in self._exits.values():
            if not exit.done():
                exit.set_result(137)  # with its container
        self.ended.set()
        self.on_close()

    def _readable(self) -> None:
        while True:
            try:
                packet = wire.receive(self._socket)
            except BlockingIOError:
                return
            except OSError:
                packet = None
            if packet is None:
                self.close()
                return
            message, fds = packet
            if "id" in message:
                answer = self._answers.pop(message["id"], None)
                if answer is not None and not answer.done():
                    answer.set_result((message, fds))
                    continue
            elif message["event"] == "exec-exit":
                # The answer that carries its number comes first, but its reader may not have run yet.
                exit = self.exec_exit(message["exec"])
                if not exit.done():
                    exit.set_result(message["code"])
            else:
                self._on_event(message)
            for fd in fds:
                os.close(fd)

    async def request(self, op: str, fds: tuple[int, ...] = (), **arguments: Any) -> tuple[dict[str, Any], list[int]]:
        """The answer and its descriptors; raises :class:`RuntimeServiceError` with what the monitor said."""
        if self._socket.fileno() < 0:
            raise ShimGone("the container is not running")
        self._last += 1
        number = self._last
        answer = self._answers[number] = self._loop.create_future()
        try:
            wire.send(self._socket, {"id": number, "op": op, **arguments}, fds)
            message, received = await asyncio.wait_for(answer, _ANSWER_SECONDS)
        except TimeoutError:
            raise RuntimeServiceError(f"the container's shim did not answer {op!r} in time") from None
        except OSError as e:
            raise ShimGone("the container has ended") from e
        finally:
            self._answers.pop(number, None)
        if "error" in message:
            raise RuntimeServiceError(message["error"])
        return message, received

    def exec_exit(self, number: int) -> "asyncio.Future[int]":
        """Resolves with the exit code of that exec."""
        if number not in self._exits:
            self._exits[number] = self._loop.create_future()
            if self._socket.fileno() < 0:
                self._exits[number].set_result(137)
        return self._exits[number]

    def forget_exec(self, number: int) -> None:
        self._exits.pop(number, None)
