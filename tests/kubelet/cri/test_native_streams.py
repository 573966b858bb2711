import asyncio
import hashlib
import os
from pathlib import Path

import pytest

from kubelet.cri.api import ContainerState, ExecSession, RuntimeServiceError, SecurityContext
from tests.kubelet.cri.conftest import SECONDS, Node

pytestmark = pytest.mark.root


async def collect(session: ExecSession) -> dict[int, bytes]:
    streams = {1: b"", 2: b""}
    async with asyncio.timeout(SECONDS):
        async for number, data in session.output():
            streams[number] += data
    return streams


async def read_until(session: ExecSession, text: bytes) -> bytes:
    seen = b""
    async with asyncio.timeout(SECONDS):
        async for _number, data in session.output():
            seen += data
            if text in seen:
                return seen
    raise AssertionError(f"the stream ended without {text!r}: {seen!r}")


async def test_exec_gives_both_streams_and_the_exit_code(native: Node) -> None:
    container = await native.run(await native.sandbox(), "sleep 60")
    result = await native.runtime.exec_sync(container, ["/bin/sh", "-c", "echo out; echo err >&2; exit 5"], SECONDS)
    assert result == (b"out\n", b"err\n", 5)


async def test_exec_runs_inside_with_the_containers_identity_and_environment(native: Node) -> None:
    security = SecurityContext(run_as_user=1234, drop_capabilities=["ALL"])
    container = await native.run(
        await native.sandbox("inside"), "sleep 60", envs=[("COLOUR", "blue")], working_dir="/tmp", security=security
    )
    script = "id -u; hostname; echo $COLOUR; pwd; ps -o pid= -e | wc -l; grep CapBnd /proc/self/status | cut -f2; ls /proc/self/fd | wc -l"
    said = await native.shell(container, script)
    uid, hostname, colour, directory, processes, capabilities, descriptors = said.split()
    assert (uid, hostname, colour, directory) == ("1234", "inside", "blue", "/tmp")
    assert int(processes) <= 5
    assert int(capabilities, 16) == 0
    assert int(descriptors) == 4


async def test_exec_takes_input_until_it_is_closed(native: Node) -> None:
    container = await native.run(await native.sandbox(), "sleep 60")
    session = await native.runtime.exec(container, ["sha256sum"], stdin=True, tty=False)
    data = os.urandom(1 << 20)
    await session.write_stdin(data)
    await session.close_stdin()
    assert (await collect(session))[1].split()[0].decode() == hashlib.sha256(data).hexdigest()
    assert await session.wait() == 0


async def test_a_long_output_waits_for_its_reader_and_arrives_whole(native: Node) -> None:
    container = await native.run(await native.sandbox(), "sleep 60")
    session = await native.runtime.exec(container, ["head", "-c", "20000000", "/dev/zero"], stdin=False, tty=False)
    assert len((await collect(session))[1]) == 20000000


async def test_exec_that_takes_too_long_is_killed(native: Node) -> None:
    container = await native.run(await native.sandbox(), "sleep 60")
    with pytest.raises(TimeoutError, match=r"timed out after 0\.2 s"):
        await native.runtime.exec_sync(container, ["sleep", "4321"], 0.2)

    async def gone() -> bool:
        return "4321" not in await native.shell(container, "ps -e -o args | grep -v grep")

    await native.until(gone, "the timed out process to be gone")


async def test_exec_of_nothing_that_exists_says_so(native: Node) -> None:
    container = await native.run(await native.sandbox(), "sleep 60")
    with pytest.raises(RuntimeServiceError, match="executable file not found"):
        await native.runtime.exec_sync(container, ["no-such-program"], SECONDS)


async def test_exec_in_a_container_that_ended_says_so(native: Node) -> None:
    container = await native.run(await native.sandbox(), "exit 0")
    await native.ended(container)
    with pytest.raises(RuntimeServiceError, match="not running"):
        await native.runtime.exec_sync(container, ["true"], SECONDS)


async def test_many_execs_at_once_keep_their_outputs_apart(native: Node) -> None:
    container = await native.run(await native.sandbox(), "sleep 60")
    said = await asyncio.gather(*(native.shell(container, f"echo {n}") for n in range(20)))
    assert said == [str(n) for n in range(20)]


async def test_a_terminal_has_a_name_a_size_and_echoes(native: Node) -> None:
    container = await native.run(await native.sandbox(), "sleep 60")
    session = await native.runtime.exec(container, ["/bin/sh"], stdin=True, tty=True)
    await session.resize(132, 43)
    await session.write_stdin(b"tty; stty size; exit 9\n")
    streams = await collect(session)
    assert b"/dev/pts/" in streams[1]
    assert b"43 132" in streams[1]
    assert await session.wait() == 9


async def test_attach_sees_the_output_and_feeds_the_input(native: Node) -> None:
    container = await native.run(
        await native.sandbox(), "while read line; do echo got $line; done; exit 4", stdin=True, stdin_once=True
    )
    session = await native.runtime.attach(container, stdin=True, tty=False)
    await session.write_stdin(b"hello\n")
    assert await read_until(session, b"got hello\n") == b"got hello\n"
    await session.close_stdin()
    assert (await native.ended(container)).exit_code == 4
    assert await session.wait() == 4


async def test_attach_to_a_terminal_and_leaving_it_does_not_end_the_container(native: Node) -> None:
    container = await native.run(
        await native.sandbox(), "while read line; do echo got $line; stty size; done", stdin=True, tty=True
    )
    session = await native.runtime.attach(container, stdin=True, tty=True)
    await session.resize(99, 33)
    await session.write_stdin(b"hello\n")
    assert b"33 99" in await read_until(session, b"33 99")
    await session.kill()
    assert (await native.runtime.container_status(container)).state is ContainerState.RUNNING
    again = await native.runtime.attach(container, stdin=True, tty=True)
    await again.write_stdin(b"back\n")
    await read_until(again, b"got back")
    await again.kill()
    assert "got hello" in Path((await native.runtime.container_status(container)).log_path).read_text()


async def test_ports_are_forwarded_into_the_sandbox(native: Node) -> None:
    sandbox = await native.sandbox()
    await native.run(sandbox, "", command=["python3", "-c", SERVER])

    async def answer() -> bytes | None:
        try:
            reader, writer = await native.runtime.port_forward(sandbox, 8123)
        except RuntimeServiceError:
            return None
        writer.write(b"ping\n")
        data = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return data

    assert await native.until(answer, "the server in the pod to answer") == b"PING\n"
    with pytest.raises(RuntimeServiceError, match="localhost:8124"):
        await native.runtime.port_forward(sandbox, 8124)


SERVER = """
import socket
s = socket.create_server(("127.0.0.1", 8123))
while True:
    c, _ = s.accept()
    c.sendall(c.recv(100).upper())
    c.close()
"""
