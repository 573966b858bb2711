"""The native runtime of an unprivileged user: a real one (nobody), in a process of its own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

pytestmark = [pytest.mark.root, pytest.mark.binary("setpriv"), pytest.mark.binary("unshare")]

NOBODY = 65534
REPOSITORY = Path(__file__).parents[3]
# A user namespace in which no further one may be made, and no capability is left: what a locked-down machine gives.
LOCKED = ["unshare", "--user", "--map-root-user", "sh", "-c"]
LOCK = 'echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all --inh-caps=-all "$@"'

SCRIPT = """
import asyncio, os, sys
sys.path.insert(0, sys.argv[1])
import orjson
from kubelet.cri import connect
from kubelet.cri.api import *
from kubelet.cri.native.purge import purge

async def main():
    home = sys.argv[2]
    runtime, images = connect("native://", node_name="n", root_dir=home + "/c/nodes/n")
    os.makedirs(home + "/c/nodes/n")
    await runtime.start()
    said = {"status": await runtime.status()}
    pod = PodSandboxConfig(PodSandboxMetadata("p", "u", "d"), hostname="mine", log_directory=home + "/logs")
    sandbox = await runtime.run_pod_sandbox(pod)
    os.mkdir(home + "/volume")
    open(home + "/volume/file", "w").write("from a volume")
    script = sys.argv[3]
    config = ContainerConfig(ContainerMetadata("c"), "mk8s.local/host", command=["/bin/sh", "-c", script + "; sleep 60 & wait"],
                             log_path="c.log", mounts=[Mount("/volume", home + "/volume")], envs=[("GREETING", "hello")])
    container = await runtime.create_container(sandbox, config, pod)
    await runtime.start_container(container)
    for _ in range(500):
        said["log"] = [line.split(" ", 3)[3] for line in open(home + "/logs/c.log").read().splitlines()]
        if "done" in said["log"]:
            break
        await asyncio.sleep(0.02)
    said["exec"] = await runtime.exec_sync(container, ["/bin/sh", "-c", "echo $GREETING; exit 3"], 20)
    terminal = await runtime.exec(container, ["/bin/sh", "-c", "test -t 0 && echo tty"], stdin=False, tty=True)
    said["tty"] = b"".join([data async for _, data in terminal.output()])
    pid = runtime._node.records.containers[container].pid
    await runtime.stop_container(container, 0.1)
    said["exit"] = (await runtime.container_status(container)).exit_code
    await runtime.remove_pod_sandbox(sandbox)
    await runtime.close()
    said["left"] = purge(home + "/c/nodes/n")
    sys.stdout.buffer.write(orjson.dumps(said, default=lambda b: b.decode()))

asyncio.run(main())
"""


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory of the user's own, with the code in it: the repository may be closed to others."""
    import tempfile

    directory = Path(tempfile.mkdtemp(prefix="mk8s-rootless-", dir="/var/tmp"))
    code = directory / "code"
    for package in ("cri", "network", "images"):
        shutil.copytree(
            REPOSITORY / "kubelet" / package, code / "kubelet" / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    (code / "kubelet" / "__init__.py").touch()
    shutil.copytree(Path(orjson.__file__).parent, code / "orjson")
    (directory / "script.py").write_text(SCRIPT)
    (directory / "home").mkdir()
    for base, _names, files in os.walk(directory):
        for place in (base, *(os.path.join(base, file) for file in files)):
            os.chown(place, NOBODY, NOBODY)
    yield directory
    shutil.rmtree(directory)


def as_nobody(command: list[str], timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=timeout,
        env={"PATH": os.environ["PATH"]},
        cwd="/",
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
    )


def interpreter() -> str:
    """One that the user may run and that can load what this one has: pyenv's below /root is closed to others."""
    for candidate in (os.path.realpath(sys.executable), "/usr/bin/python3"):
        ask = [candidate, "-c", "import asyncio, sys; print(sys.version_info[:2])"]
        try:
            done = as_nobody(ask)
        except PermissionError:
            continue
        if done.stdout.strip() == str(sys.version_info[:2]):
            return candidate
    pytest.skip("no interpreter of this version that another user may run")


def run(home: Path, wrapper: list[str], script: str) -> dict[str, object]:
    command = [*wrapper, interpreter(), str(home / "script.py"), str(home / "code"), str(home / "home"), script]
    done = as_nobody(command)
    assert done.returncode == 0, done.stderr
    return orjson.loads(done.stdout)


def test_a_user_has_containers_with_files_and_processes_of_their_own(home: Path) -> None:
    script = (
        "id -u; hostname; cat /volume/file; echo; echo x > /written && cat /written; "
        f"ls -A {home}/home | wc -l; ps -e | wc -l; echo done"
    )
    said = run(home, [], script)
    status = said["status"]
    assert isinstance(status, dict)
    assert status["RuntimeReady"] == [True, "not root: pods share the host's network and have no resource limits"]
    assert status["NetworkReady"] == [True, ""]
    log = said["log"]
    assert isinstance(log, list)
    assert log[:5] == ["0", "mine", "from a volume", "x", "0"]
    assert int(log[5]) < 8
    assert (said["exec"], said["tty"], said["exit"], said["left"]) == (["hello\n", "", 3], "tty\r\n", 137, [])
    assert not os.path.exists("/written")


def test_without_user_namespaces_containers_are_plain_processes_and_that_is_said(home: Path) -> None:
    script = "echo $GREETING; ls -A | wc -l; test -e /volume || echo no volumes; echo done"
    said = run(home, [*LOCKED, LOCK, "lock"], script)
    status = said["status"]
    assert isinstance(status, dict)
    ready, note = status["RuntimeReady"]
    assert ready is True
    assert "containers are plain processes without volumes" in note
    assert said["log"] == ["hello", "0", "no volumes", "done"]
    assert (said["exec"], said["tty"], said["exit"], said["left"]) == (["hello\n", "", 3], "tty\r\n", 143, [])
