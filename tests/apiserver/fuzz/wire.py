"""The wire below any HTTP library: bytes in, whatever comes back out, and what the server is left with afterwards."""

import asyncio
import os
import ssl
from pathlib import Path
from typing import NamedTuple

from tests.apiserver.harness import TOKEN, ApiServer, eventually

ANSWER_SECONDS = 20.0


class Answer(NamedTuple):
    """``status`` is 0 when the server hung up without one."""

    status: int
    head: bytes
    body: bytes


class Connection:
    """One TLS connection that is opened when it is needed and opened anew when the server has closed it."""

    def __init__(self, server: ApiServer) -> None:
        self._port = server.port
        self._context = ssl.create_default_context(cafile=str(server.pki.ca))
        self._open: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def streams(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._open is None:
            self._open = await asyncio.open_connection("127.0.0.1", self._port, ssl=self._context, limit=1 << 24)
        return self._open

    async def ask(self, raw: bytes, method: bytes = b"") -> Answer:
        """Sends the bytes and reads one answer."""
        reader, writer = await self.streams()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                writer.write(raw)
                answer = await read_answer(reader, method)
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            await self.close()
            return Answer(0, b"", b"")
        if b"connection: close" in answer.head.lower() or answer.status == 101:
            await self.close()
        return answer

    async def close(self) -> None:
        if self._open is not None:
            writer, self._open = self._open[1], None
            writer.transport.abort()


async def read_answer(reader: asyncio.StreamReader, method: bytes = b"") -> Answer:
    status = 100
    while status == 100:
        head = await reader.readuntil(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
    if method == b"HEAD" or status in (101, 204, 304):
        return Answer(status, head, b"")
    fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line)
    if b"content-length" in fields:
        return Answer(status, head, await reader.readexactly(int(fields[b"content-length"])))
    parts = []
    while size := int((await reader.readuntil(b"\r\n")).strip(), 16):
        parts.append((await reader.readexactly(size + 2))[:-2])
    await reader.readexactly(2)
    return Answer(status, head, b"".join(parts))


def request(method: bytes, target: bytes, body: bytes = b"", *headers: tuple[bytes, bytes]) -> bytes:
    """A request of the administrator's, with nothing quoted and nothing checked."""
    lines = [b"%b %b HTTP/1.1" % (method, target), b"Host: fuzz", b"Authorization: Bearer " + TOKEN.encode()]
    lines += [name + b": " + value for name, value in headers]
    lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*lines, b"", body])


class Vitals(NamedTuple):
    """What a process holds."""

    resident: int
    files: int

    @classmethod
    def of(cls, server: ApiServer) -> "Vitals":
        assert server.process is not None, "it runs"
        folder = Path(f"/proc/{server.process.popen.pid}")
        return cls(int((folder / "statm").read_text().split()[1]) * 4096, len(os.listdir(folder / "fd")))

    def about_the_same(self, server: ApiServer) -> None:
        """Fails when the process goes on holding more than then: connections that are gone, or memory beyond what caches fill."""
        eventually(
            "the files of connections that are gone closed", lambda: Vitals.of(server).files <= self.files + SPARE_FILES
        )
        grown = Vitals.of(server).resident - self.resident
        assert grown < SPARE_BYTES, f"{grown >> 20} MiB more than before"


#: Connections to the store and idle ones that a client keeps.
SPARE_FILES = 24
#: Imports on first use, objects that were created after all, and what malloc keeps.
SPARE_BYTES = 120 << 20
