"""The kubelet's end of the spawner: starts it, hands it work, starts it again should it die."""

import asyncio
import os
import socket
import sys
from pathlib import Path
from typing import Any

from kubelet.cri.api import RuntimeServiceError
from kubelet.cri.native.shim import wire

_PACKAGE = Path(__file__).parent
_BOOT = "import sys; sys.path.append(sys.argv[1]); from shim import spawner; spawner.main(3)"
MARK = "mk8s-native"  # with the state directory the last two arguments of the spawner and of every monitor


class Spawner:
    def __init__(self, state_dir: str) -> None:
        self._state_dir = state_dir
        self._pid = 0
        self._socket: socket.socket | None = None

    def start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        arguments = [sys.executable, "-I", "-S", "-c", _BOOT, str(_PACKAGE), MARK, self._state_dir]
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        # Descriptors move out of the way first: dup2 onto itself would leave close-on-exec set.
        high = os.dup(theirs.fileno()) if theirs.fileno() == 3 else theirs.fileno()
        actions = [(os.POSIX_SPAWN_DUP2, null, n) for n in (0, 1)] + [(os.POSIX_SPAWN_DUP2, high, 3)]
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}
        try:
            self._pid = os.posix_spawn(arguments[0], arguments, environment, file_actions=actions, setsid=True)
        finally:
            os.close(null)
            if high != theirs.fileno():
                os.close(high)
            theirs.close()
        ours.setblocking(False)
        self._socket = ours

    def close(self) -> None:
        """The spawner ends by itself; what it forked goes on."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            os.waitpid(self._pid, 0)  # it has nothing to do but to leave

    async def spawn(self, operation: str, spec: dict[str, Any]) -> socket.socket:
        """Have it forked; returns our end of its connection, non-blocking, once it exists."""
        for _attempt in range(3):
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            ours.setblocking(False)
            asked = 0
            try:
                with theirs:
                    await self._request({"op": operation, "spec": spec}, theirs.fileno())
                    asked = self._pid
                if await receive(ours) is not None:
                    return ours
            except (BrokenPipeError, ConnectionResetError):
                pass
            except BaseException:
                ours.close()
                raise
            ours.close()
            if asked in (0, self._pid):  # it died before it had forked; perhaps another call has replaced it already
                self.close()
        raise RuntimeServiceError("the runtime's spawner process dies as soon as it is started")

    async def _request(self, message: dict[str, Any], fd: int) -> None:
        for _attempt in range(200):
            if self._socket is None:
                self.start()
            assert self._socket is not None
            try:
                wire.send(self._socket, message, (fd,))
                return
            except BlockingIOError:  # a burst of pods: it forks faster than this
                await asyncio.sleep(0.005)
        raise RuntimeServiceError("the runtime's spawner process does not read its requests")


def resolve(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)


async def receive(sock: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The next message of a non-blocking socket, for connections that nobody else reads."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            return wire.receive(sock)
        except BlockingIOError:
            pass
        ready = loop.create_future()
        loop.add_reader(sock.fileno(), resolve, ready)
        try:
            await ready
        finally:
            loop.remove_reader(sock.fileno())
