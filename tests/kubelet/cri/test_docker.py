import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kubelet.cri import connect
from kubelet.cri.api import (
    ContainerState,
    DNSConfig,
    ImageNotFound,
    LinuxResources,
    Mount,
    NamespaceMode,
    NotFound,
    RuntimeServiceError,
    SandboxState,
    SecurityContext,
)
from kubelet.cri.docker import pause
from kubelet.cri.docker.purge import purge
from tests.kubelet.cri.conftest import SECONDS, Node
from tests.kubelet.cri.test_native_streams import collect, read_until

pytestmark = [pytest.mark.root, pytest.mark.docker, pytest.mark.binary("busybox")]

IMAGE = "mk8s.local/busybox:latest"
ENDPOINT = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def busybox() -> str:
    if subprocess.run(["docker", "image", "inspect", IMAGE], capture_output=True).returncode:
        subprocess.run([str(REPOSITORY / "tests" / "images" / "build.sh"), IMAGE], check=True)
    return IMAGE


class DockerNode(Node):
    async def create(self, sandbox: str, script: str, name: str = "main", **fields: object) -> str:
        fields.setdefault("image", IMAGE)
        return await super().create(sandbox, script, name, **fields)


@pytest.fixture
async def node(own_network: None, busybox: str, tmp_path: Path) -> AsyncIterator[DockerNode]:
    root_dir = str(tmp_path / "node")
    runtime, images = connect(ENDPOINT, node_name="docker-test", root_dir=root_dir, pod_cidr="10.98.3.0/24")
    await runtime.start()
    found = DockerNode(runtime, images, root_dir, tmp_path / "logs")
    try:
        yield found
    finally:
        await found.runtime.close()
        assert await asyncio.to_thread(purge, ENDPOINT, root_dir) == []


async def restarted(node: DockerNode) -> DockerNode:
    await node.runtime.close()
    node.runtime, node.images = connect(
        ENDPOINT, node_name="docker-test", root_dir=node.root_dir, pod_cidr="10.98.3.0/24"
    )
    await node.runtime.start()
    return node


def texts(log: str) -> list[tuple[str, str, str]]:
    return [tuple(line.split(" ", 3)[1:]) for line in Path(log).read_text().splitlines()]  # type: ignore[misc]


async def test_a_pod_of_two_containers_shares_address_memory_and_loopback(node: DockerNode) -> None:
    config = node.sandbox_config("web", dns_config=DNSConfig(["10.96.0.10"], ["cluster.local"], ["ndots:5"]))
    sandbox = await node.runtime.run_pod_sandbox(config)
    status = await node.runtime.pod_sandbox_status(sandbox)
    assert (status.state, status.ips, status.labels) == (SandboxState.READY, ["10.98.3.2"], {"pod": "web"})
    script = "mkdir /www; echo page > /www/index.html; echo hi > /dev/shm/note; exec httpd -f -p 80 -h /www"
    await node.run(sandbox, script, "server")
    two = await node.run(sandbox, "sleep 60", "client")

    async def served() -> bool:
        out, _err, code = await node.runtime.exec_sync(two, ["wget", "-qO-", "http://127.0.0.1/"], 5)
        return code == 0 and out == b"page\n"

    await node.until(served, "the neighbour's server to answer")
    assert await node.shell(two, "cat /dev/shm/note; hostname; cat /etc/resolv.conf") == (
        "hi\nweb\nsearch cluster.local\nnameserver 10.96.0.10\noptions ndots:5"
    )
    other = await node.sandbox("other")
    fetch = "for i in 1 2 3 4 5 6 7 8 9; do wget -qO- http://10.98.3.2/ && break; sleep 0.1; done"
    assert await node.output(other, fetch, "fetch") == "page"


async def test_a_container_ends_with_its_exit_code_and_its_log_in_cri_format(node: DockerNode) -> None:
    sandbox = await node.sandbox()
    events = node.runtime.events()
    container = await node.run(sandbox, "echo out; echo err >&2; printf unfinished; exit 3")
    async with asyncio.timeout(SECONDS):
        async for event in events:
            if (event.container_id, event.type) == (container, "CONTAINER_STOPPED_EVENT"):
                break
    status = await node.runtime.container_status(container)
    assert (status.state, status.exit_code, status.reason) == (ContainerState.EXITED, 3, "Error")
    assert 0 < status.created_at <= status.started_at <= status.finished_at
    assert sorted(texts(status.log_path)) == [
        ("stderr", "F", "err"),
        ("stdout", "F", "out"),
        ("stdout", "P", "unfinished"),
    ]


async def test_logs_are_neither_lost_nor_doubled_over_restarts_of_the_kubelet(node: DockerNode) -> None:
    sandbox = await node.sandbox()
    script = "i=0; while [ $i -lt 300 ]; do i=$((i+1)); echo $i; [ $((i % 10)) = 0 ] && sleep 0.05; done"
    container = await node.run(sandbox, script)
    log = (await node.runtime.container_status(container)).log_path
    for _ in range(4):
        lines = len(Path(log).read_bytes().splitlines()) if os.path.exists(log) else 0

        async def more(seen: int = lines) -> bool:
            return len(Path(log).read_bytes().splitlines()) > seen

        await node.until(more, "more lines")
        await node.runtime.close()
        with open(log, "ab") as file:  # as if it had been killed in the middle of a line
            file.write(b"2026-01-01T00:00:00.0000")
        node.runtime, node.images = connect(
            ENDPOINT, node_name="docker-test", root_dir=node.root_dir, pod_cidr="10.98.3.0/24"
        )
        await node.runtime.start()
    await node.ended(container)

    async def complete() -> bool:
        return len(texts(log)) >= 300

    await node.until(complete, "the whole log")
    assert [text for _s, _t, text in texts(log)] == [str(n) for n in range(1, 301)]


async def test_a_rotated_log_goes_on_in_a_new_file(node: DockerNode) -> None:
    sandbox = await node.sandbox()
    container = await node.run(sandbox, "echo one; while [ ! -e /go ]; do sleep 0.02; done; echo two; sleep 60")
    log = Path((await node.runtime.container_status(container)).log_path)

    async def first() -> bool:
        return log.exists() and "one" in log.read_text()

    await node.until(first, "the first line")
    log.rename(log.with_name(log.name + ".20260101"))
    await node.runtime.reopen_container_log(container)
    await restarted(node)  # with the new file still empty: must not begin anew
    await node.shell(container, "touch /go")

    async def second() -> bool:
        return "two" in log.read_text()

    await node.until(second, "the second line")
    assert [text for _s, _t, text in texts(str(log))] == ["two"]


async def test_a_restarted_kubelet_finds_everything_and_restarts_nothing(node: DockerNode) -> None:
    sandbox = await node.sandbox("stays", annotations={"note": "x"})
    container = await node.run(sandbox, "sleep 60", annotations={"io.kubernetes.container.restartCount": "2"})
    before = await node.runtime.container_status(container)
    await restarted(node)
    (listed,) = await node.runtime.list_pod_sandbox()
    assert (listed.id, listed.metadata.name, listed.annotations) == (sandbox, "stays", {"note": "x"})
    assert (await node.runtime.pod_sandbox_status(sandbox)).ips == ["10.98.3.2"]
    (found,) = await node.runtime.list_containers()
    assert (found.id, found.pod_sandbox_id, found.state) == (container, sandbox, ContainerState.RUNNING)
    assert found.annotations == {"io.kubernetes.container.restartCount": "2"}
    assert (await node.runtime.container_status(container)).started_at == before.started_at


async def test_nodes_on_one_engine_see_only_what_is_theirs(node: DockerNode, tmp_path: Path) -> None:
    await node.run(await node.sandbox(), "sleep 60")
    other, _images = connect(ENDPOINT, node_name="docker-other", root_dir=str(tmp_path / "other"))
    await other.start()
    try:
        assert await other.list_pod_sandbox() == []
        assert await other.list_containers() == []
    finally:
        await other.close()


async def test_stop_sends_sigterm_first_and_kills_what_ignores_it(node: DockerNode) -> None:
    sandbox = await node.sandbox()
    polite = await node.run(sandbox, "trap 'exit 7' TERM; touch /set; while :; do sleep 0.02; done", "polite")
    deaf = await node.run(sandbox, "trap '' TERM; sleep 60; sleep 60", "deaf")
    await node.shell(polite, "while [ ! -e /set ]; do sleep 0.02; done")
    await node.runtime.stop_container(polite, SECONDS)
    await node.runtime.stop_container(deaf, 0.2)
    assert (await node.runtime.container_status(polite)).exit_code == 7
    assert (await node.runtime.container_status(deaf)).exit_code == 137
    for _ in range(2):
        await node.runtime.stop_container(deaf, 1)
        await node.runtime.remove_container(deaf)
        await node.runtime.remove_pod_sandbox(sandbox)
    with pytest.raises(NotFound):
        await node.runtime.container_status(deaf)
    assert not [name for name in os.listdir("/sys/class/net") if name.startswith("pod")]


async def test_memory_beyond_the_limit_is_an_oom_kill(node: DockerNode) -> None:
    limits = LinuxResources(memory_limit_in_bytes=16 << 20, cpu_shares=100, cpu_quota=50000, cpu_period=100000)
    hog = "exec dd if=/dev/zero of=/dev/null bs=200M count=1"
    status = await node.ended(await node.run(await node.sandbox(), hog, resources=limits))
    assert (status.exit_code, status.reason) == (137, "OOMKilled")


async def test_identity_volumes_and_a_read_only_root(node: DockerNode, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir(mode=0o777)
    volume.chmod(0o777)
    (volume / "in").write_text("from outside\n")
    security = SecurityContext(
        run_as_user=1234,
        run_as_group=55,
        supplemental_groups=[66],
        readonly_rootfs=True,
        no_new_privs=True,
        drop_capabilities=["ALL"],
    )
    script = (
        "id -u; id -g; cat /data/in; echo out > /data/out; touch /x 2>&1; touch /sealed/x 2>&1; "
        "grep NoNewPrivs /proc/self/status | cut -f2"
    )
    mounts = [Mount("/data", str(volume)), Mount("/sealed", str(volume), readonly=True)]
    said = (await node.output(await node.sandbox(), script, security=security, mounts=mounts)).splitlines()
    assert said[:3] == ["1234", "55", "from outside"]
    assert ["Read-only" in line for line in said[3:5]] == [True, True]
    assert said[5] == "1"
    assert (volume / "out").read_text() == "out\n"


async def test_a_command_that_does_not_exist_is_a_container_that_cannot_run(node: DockerNode) -> None:
    container = await node.create(await node.sandbox(), "", command=["/no-such-program"])
    with pytest.raises(RuntimeServiceError, match="no-such-program"):
        await node.runtime.start_container(container)
    status = await node.runtime.container_status(container)
    assert (status.state, status.exit_code, status.reason) == (ContainerState.EXITED, 127, "ContainerCannotRun")


async def test_an_image_that_is_nowhere_is_not_found(node: DockerNode) -> None:
    assert await node.images.image_status("mk8s.local/no-such-image") is None
    with pytest.raises(ImageNotFound):
        await node.create(await node.sandbox(), "", image="mk8s.local/no-such-image")
    status = await node.images.image_status(IMAGE)
    assert status is not None
    assert IMAGE in status.repo_tags
    assert status.id in {image.id for image in await node.images.list_images()}


async def test_an_oom_score_that_is_not_allowed_becomes_the_nearest_and_is_said_once(
    node: DockerNode, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox = await node.sandbox()
    with caplog.at_level(logging.WARNING):
        limits = LinuxResources(oom_score_adj=-997)
        said = {await node.output(sandbox, "cat /proc/self/oom_score_adj", f"c{n}", resources=limits) for n in (1, 2)}
    warned = [record for record in caplog.records if "oom_score_adj" in record.message]
    assert (said, len(warned)) in ((({"0"}), 1), (({"-997"}), 0))


async def test_exec_streams_codes_timeouts_and_terminals(node: DockerNode) -> None:
    container = await node.run(await node.sandbox(), "sleep 60")
    result = await node.runtime.exec_sync(container, ["sh", "-c", "echo out; echo err >&2; exit 5"], SECONDS)
    assert result == (b"out\n", b"err\n", 5)
    with pytest.raises(TimeoutError):
        await node.runtime.exec_sync(container, ["sleep", "4321"], 0.3)
    assert "4321" not in await node.shell(container, "ps | grep -v grep")
    session = await node.runtime.exec(container, ["wc", "-c"], stdin=True, tty=False)
    await session.write_stdin(b"x" * 100_000)
    await session.close_stdin()
    assert (await collect(session))[1].strip() == b"100000"
    assert await session.wait() == 0
    terminal = await node.runtime.exec(container, ["sh"], stdin=True, tty=True)
    await terminal.resize(132, 43)
    await terminal.write_stdin(b"stty size; exit 9\n")
    assert b"43 132" in (await collect(terminal))[1]
    assert await terminal.wait() == 9


async def test_attach_sees_the_output_and_feeds_the_input(node: DockerNode) -> None:
    script = "while read line; do echo got $line; done; exit 4"
    container = await node.run(await node.sandbox(), script, stdin=True, stdin_once=True)
    session = await node.runtime.attach(container, stdin=True, tty=False)
    await session.write_stdin(b"hello\n")
    assert await read_until(session, b"got hello\n") == b"got hello\n"
    await session.close_stdin()
    assert await session.wait() == 4


async def test_ports_are_forwarded_and_usage_is_reported(node: DockerNode) -> None:
    sandbox = await node.sandbox()
    container = await node.run(sandbox, "while :; do echo pong | nc -l -p 8123; done")

    async def answer() -> bytes | None:
        try:
            reader, writer = await node.runtime.port_forward(sandbox, 8123)
        except RuntimeServiceError:
            return None
        data = await reader.readline()
        writer.close()
        return data

    assert await node.until(answer, "the server in the pod to answer") == b"pong\n"
    (stats,) = await node.runtime.list_container_stats()
    assert (stats.id, stats.name) == (container, "main")
    assert stats.memory_working_set_bytes > 0


async def test_shared_processes_are_reaped_by_the_pause_program(node: DockerNode) -> None:
    config = node.sandbox_config("procs", pid=NamespaceMode.POD)
    sandbox = await node.runtime.run_pod_sandbox(config)

    async def run(name: str, script: str) -> str:
        from kubelet.cri.api import ContainerConfig, ContainerMetadata

        fields = ContainerConfig(ContainerMetadata(name), IMAGE, command=["sh", "-c", script], log_path=f"{name}.log")
        container = await node.runtime.create_container(sandbox, fields, config)
        await node.runtime.start_container(container)
        return container

    await run("one", "exec sleep 61")
    two = await run("two", "(sleep 0.01 &); exec sleep 62")
    assert "sleep 61" in await node.shell(two, "ps")

    async def no_zombie() -> bool:
        return " Z" not in await node.shell(two, "ps -o stat,args")

    await node.until(no_zombie, "the orphan to be reaped")


def test_the_pause_program_is_an_executable_for_each_architecture() -> None:
    for architecture, machine in (("amd64", 62), ("arm64", 183)):
        elf = pause.program(architecture)
        assert elf[:4] == b"\x7fELF"
        assert int.from_bytes(elf[18:20], "little") == machine
        assert int.from_bytes(elf[96:104], "little") == len(elf)
    with pytest.raises(KeyError):
        pause.program("vax")


async def test_purge_removes_all_of_the_nodes_containers_as_a_command(node: DockerNode) -> None:
    container = await node.run(await node.sandbox(), "trap '' TERM; sleep 60; sleep 60")
    command = [
        sys.executable,
        "-m",
        "kubelet.cri.docker",
        "--root-dir",
        node.root_dir,
        "--endpoint",
        ENDPOINT,
        "--purge",
    ]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, cwd=REPOSITORY)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert await node.runtime.list_pod_sandbox() == []
    with pytest.raises(NotFound):
        await node.runtime.container_status(container)
