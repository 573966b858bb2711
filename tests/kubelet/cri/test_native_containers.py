import asyncio
import os
from pathlib import Path

import pytest

from kubelet.cri.api import (
    ContainerState,
    LinuxResources,
    Mount,
    NotFound,
    RuntimeServiceError,
    SecurityContext,
)
from tests.kubelet.cri.conftest import SECONDS, Node

pytestmark = pytest.mark.root


async def test_a_container_ends_with_its_exit_code_and_its_log_in_cri_format(native: Node) -> None:
    sandbox = await native.sandbox()
    container = await native.run(sandbox, "echo out; echo err >&2; printf unfinished; exit 3")
    status = await native.ended(container)
    assert (status.exit_code, status.reason) == (3, "Error")
    assert status.created_at <= status.started_at <= status.finished_at
    lines = [line.split(" ", 3) for line in Path(status.log_path).read_text().splitlines()]
    assert sorted((stream, tag, text) for _time, stream, tag, text in lines) == [
        ("stderr", "F", "err"),
        ("stdout", "F", "out"),
        ("stdout", "F", "unfinished"),
    ]
    assert all(time.endswith("Z") and len(time) == len("2026-01-01T00:00:00.000000000Z") for time, *_ in lines)


async def test_states_go_from_created_over_running_to_exited(native: Node) -> None:
    sandbox = await native.sandbox()
    container = await native.create(sandbox, "sleep 60")
    states = [(await native.runtime.container_status(container)).state]
    await native.runtime.start_container(container)
    states.append((await native.runtime.container_status(container)).state)
    await native.runtime.stop_container(container, 0)
    states.append((await native.runtime.container_status(container)).state)
    assert states == [ContainerState.CREATED, ContainerState.RUNNING, ContainerState.EXITED]


async def test_exits_are_announced_without_anybody_asking(native: Node) -> None:
    sandbox = await native.sandbox()
    events = native.runtime.events()
    container = await native.run(sandbox, "exit 0")
    seen = []
    async with asyncio.timeout(SECONDS):
        async for event in events:
            seen.append((event.container_id, event.type))
            if event.type == "CONTAINER_STOPPED_EVENT":
                break
    assert seen == [
        (container, "CONTAINER_CREATED_EVENT"),
        (container, "CONTAINER_STARTED_EVENT"),
        (container, "CONTAINER_STOPPED_EVENT"),
    ]
    status = await native.runtime.container_status(container)
    assert (status.state, status.exit_code, status.reason) == (ContainerState.EXITED, 0, "Completed")


async def test_stop_sends_sigterm_first_and_kills_what_ignores_it(native: Node) -> None:
    sandbox = await native.sandbox()
    polite = await native.run(sandbox, "trap 'exit 7' TERM; echo ready; while :; do sleep 0.02; done", "polite")
    deaf = await native.run(sandbox, "trap '' TERM; sleep 60 & wait; sleep 60", "deaf")
    await native.until(lambda: logged(native, polite, "ready"), "the trap to be set")
    await native.runtime.stop_container(polite, SECONDS)
    await native.runtime.stop_container(deaf, 0.1)
    assert (await native.runtime.container_status(polite)).exit_code == 7
    assert (await native.runtime.container_status(deaf)).exit_code == 137


async def logged(node: Node, container: str, text: str) -> bool:
    status = await node.runtime.container_status(container)
    return text in Path(status.log_path).read_text()


async def test_stopping_and_removing_what_is_gone_succeeds(native: Node) -> None:
    sandbox = await native.sandbox()
    container = await native.run(sandbox, "exit 0")
    for _ in range(2):
        await native.runtime.stop_container(container, 1)
        await native.runtime.remove_container(container)
        await native.runtime.remove_pod_sandbox(sandbox)
    with pytest.raises(NotFound):
        await native.runtime.container_status(container)
    assert await native.runtime.list_containers() == []


async def test_a_command_that_does_not_exist_fails_the_start_with_the_reason(native: Node) -> None:
    sandbox = await native.sandbox()
    container = await native.create(sandbox, "", command=["no-such-program"])
    with pytest.raises(RuntimeServiceError, match='"no-such-program": executable file not found in \\$PATH'):
        await native.runtime.start_container(container)
    status = await native.runtime.container_status(container)
    assert (status.state, status.exit_code, status.reason) == (ContainerState.EXITED, 128, "StartError")


async def test_memory_beyond_the_limit_is_an_oom_kill(native: Node) -> None:
    sandbox = await native.sandbox()
    hog = ["python3", "-c", "x = bytearray(200 << 20)"]
    container = await native.run(sandbox, "", command=hog, resources=LinuxResources(memory_limit_in_bytes=48 << 20))
    status = await native.ended(container)
    assert (status.exit_code, status.reason) == (137, "OOMKilled")


async def test_limits_reach_the_container_and_can_be_changed_while_it_runs(native: Node) -> None:
    sandbox = await native.sandbox()
    limits = LinuxResources(memory_limit_in_bytes=64 << 20, cpu_quota=50000, cpu_period=100000, pids_limit=50)
    container = await native.run(sandbox, "sleep 60", resources=limits)
    version_1 = os.path.exists("/sys/fs/cgroup/memory/memory.limit_in_bytes")
    show = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes" if version_1 else "cat /sys/fs/cgroup/memory.max"
    assert await native.shell(container, show) == str(64 << 20)
    for size in (96 << 20, 32 << 20):
        await native.runtime.update_container_resources(container, LinuxResources(memory_limit_in_bytes=size))
        assert await native.shell(container, show) == str(size)


async def test_usage_is_reported_for_running_containers(native: Node) -> None:
    sandbox = await native.sandbox()
    container = await native.run(sandbox, "sleep 60")
    (stats,) = await native.runtime.list_container_stats()
    assert (stats.id, stats.name) == (container, "main")
    assert stats.memory_working_set_bytes > 0
    assert stats.cpu_usage_nano_seconds > 0


async def test_writes_go_to_the_container_alone_and_end_with_it(native: Node) -> None:
    sandbox = await native.sandbox()
    name = f"/written-by-{os.getpid()}"
    assert await native.output(sandbox, f"echo x > {name} && cat {name}") == "x"
    assert not os.path.exists(name)
    assert "No such file" in await native.output(sandbox, f"cat {name} 2>&1")


async def test_the_clusters_state_is_not_to_be_seen(native: Node) -> None:
    sandbox = await native.sandbox()
    home = Path(native.root_dir).parent.parent.parent
    assert await native.output(sandbox, f"ls -A {home} | wc -l") == "0"


async def test_volumes_are_mounted_and_read_only_ones_refuse_writes(native: Node, tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume" / "in").write_text("from outside\n")
    (tmp_path / "file").write_text("single file\n")
    sandbox = await native.sandbox()
    mounts = [
        Mount("/data", str(tmp_path / "volume")),
        Mount("/data/sealed/deep", str(tmp_path / "volume"), readonly=True),
        Mount("/etc/new/file.conf", str(tmp_path / "file"), readonly=True),
    ]
    script = "cat /data/in /etc/new/file.conf; echo inside > /data/out; touch /data/sealed/deep/x 2>&1; true"
    said = await native.output(sandbox, script, mounts=mounts)
    assert said.splitlines()[:2] == ["from outside", "single file"]
    assert "Read-only file system" in said
    assert (tmp_path / "volume" / "out").read_text() == "inside\n"


async def test_mount_targets_never_follow_links_out_of_the_root(native: Node, tmp_path: Path) -> None:
    volume, secret = tmp_path / "volume", tmp_path / "secret"
    volume.mkdir()
    secret.mkdir()
    (volume / "escape").symlink_to("../../../../../../.." + str(secret))
    sandbox = await native.sandbox()
    mounts = [Mount("/data", str(volume)), Mount("/data/escape/inner", str(volume))]
    assert await native.output(sandbox, "echo started", mounts=mounts) == "started"
    assert list(secret.iterdir()) == []


async def test_mounts_made_later_on_the_host_propagate_when_asked(native: Node, tmp_path: Path) -> None:
    from kubelet.cri.native.shim import syscalls

    shared = tmp_path / "shared"
    shared.mkdir()
    syscalls.mount(str(shared), str(shared), "", syscalls.MS_BIND)
    syscalls.mount("", str(shared), "", syscalls.MS_SHARED)
    try:
        (shared / "later").mkdir()
        sandbox = await native.sandbox()
        follow = [Mount("/v", str(shared), propagation="HOST_TO_CONTAINER")]
        both = [Mount("/v", str(shared), propagation="BIDIRECTIONAL")]
        container = await native.run(sandbox, "sleep 60", "follow", mounts=follow)
        alone = await native.run(sandbox, "sleep 60", "alone", mounts=[Mount("/v", str(shared))])
        privileged = SecurityContext(privileged=True)
        sharing = await native.run(sandbox, "sleep 60", "sharing", mounts=both, security=privileged)
        await native.shell(sharing, "mount -t tmpfs inner /v/later && touch /v/later/seen")
        assert await native.shell(container, "ls /v/later") == "seen"
        assert await native.shell(alone, "ls /v/later") == ""
        assert os.listdir(shared / "later") == ["seen"]
        syscalls.umount(str(shared / "later"))
        assert await native.shell(container, "ls /v/later") == ""
    finally:
        syscalls.umount(str(shared))


async def test_a_read_only_root_refuses_writes_but_not_on_volumes(native: Node, tmp_path: Path) -> None:
    sandbox = await native.sandbox()
    security = SecurityContext(readonly_rootfs=True)
    script = "touch /x 2>&1; touch /v/y && echo wrote; touch /dev/shm/z && echo shm"
    said = await native.output(sandbox, script, security=security, mounts=[Mount("/v", str(tmp_path))])
    assert "Read-only file system" in said
    assert said.splitlines()[-2:] == ["wrote", "shm"]


async def test_identity_is_what_the_security_context_says(native: Node) -> None:
    sandbox = await native.sandbox()
    security = SecurityContext(run_as_user=1234, run_as_group=55, supplemental_groups=[66, 77], no_new_privs=True)
    script = "id -u; id -g; id -G; grep -E 'CapEff|NoNewPrivs' /proc/self/status | tr -d '\\t'"
    said = await native.output(sandbox, script, security=security)
    assert said.splitlines() == ["1234", "55", "55 66 77", "CapEff:0000000000000000", "NoNewPrivs:1"]


async def test_a_user_by_name_brings_its_home(native: Node) -> None:
    sandbox = await native.sandbox()
    said = await native.output(sandbox, "id -un; echo $HOME", security=SecurityContext(run_as_username="daemon"))
    assert said.splitlines() == ["daemon", "/usr/sbin"]


async def test_capabilities_are_added_and_dropped(native: Node) -> None:
    sandbox = await native.sandbox()
    show = "grep CapEff /proc/self/status | cut -f2"
    none = await native.output(sandbox, show, security=SecurityContext(drop_capabilities=["ALL"]))
    one = SecurityContext(drop_capabilities=["ALL"], add_capabilities=["NET_BIND_SERVICE"])
    assert int(none, 16) == 0
    assert int(await native.output(sandbox, show, security=one), 16) == 1 << 10
    with_admin = await native.output(sandbox, show, security=SecurityContext(add_capabilities=["CAP_NET_ADMIN"]))
    assert int(with_admin, 16) >> 12 & 1 == 1


async def test_an_ordinary_container_cannot_reach_the_machines_settings(native: Node) -> None:
    sandbox = await native.sandbox()
    script = "echo 1 > /proc/sys/vm/swappiness; mount -t tmpfs x /mnt; mknod /d b 8 0; cat /sys/firmware/*; true"
    said = await native.output(sandbox, f"({script}) 2>&1; ls /sys/firmware | wc -l")
    assert "Read-only file system" in said
    assert said.lower().count("permission denied") + said.count("not permitted") >= 2
    assert said.splitlines()[-1] == "0"


async def test_devices_and_terminals_are_there(native: Node) -> None:
    sandbox = await native.sandbox()
    script = (
        "head -c 4 /dev/zero | wc -c; echo x > /dev/null && echo null; echo to-stdout > /dev/stdout; "
        "ls -l /dev/ptmx | grep -o 'pts/ptmx'; ls /dev/mqueue /dev/shm; stat -c %T /dev/tty >/dev/null && echo tty"
    )
    said = await native.output(sandbox, script)
    assert said.split() == ["4", "null", "to-stdout", "pts/ptmx", "/dev/mqueue:", "/dev/shm:", "tty"]


async def test_environment_working_directory_and_defaults(native: Node) -> None:
    sandbox = await native.sandbox("web")
    said = await native.output(
        sandbox,
        "pwd; echo $GREETING; echo $HOSTNAME; hostname; echo $PATH",
        envs=[("GREETING", "hello = you")],
        working_dir="/made/up",
    )
    assert said.splitlines()[:4] == ["/made/up", "hello = you", "web", "web"]
    assert "/usr/bin" in said.splitlines()[4]


async def test_what_is_left_behind_by_the_main_process_dies_with_it(native: Node) -> None:
    sandbox = await native.sandbox()
    marker = f"31{os.getpid()}.5"
    container = await native.run(sandbox, f"setsid sleep {marker} & exit 0")
    await native.ended(container)
    commands = [Path("/proc", pid, "cmdline") for pid in os.listdir("/proc") if pid.isdigit()]
    assert not [path for path in commands if path.exists() and marker.encode() in path.read_bytes()]


async def test_lines_longer_than_the_limit_come_in_parts(native: Node) -> None:
    sandbox = await native.sandbox()
    container = await native.run(sandbox, "head -c 40000 /dev/zero | tr '\\0' x; echo; echo end")
    status = await native.ended(container)
    lines = [line.split(" ", 3) for line in Path(status.log_path).read_text().splitlines()]
    assert [(tag, len(text)) for _t, _s, tag, text in lines] == [("P", 16384), ("P", 16384), ("F", 7232), ("F", 3)]


async def test_a_rotated_log_goes_on_in_a_new_file(native: Node) -> None:
    sandbox = await native.sandbox()
    container = await native.run(sandbox, "echo one; while [ ! -e /go ]; do sleep 0.02; done; echo two")
    await native.until(lambda: logged(native, container, "one"), "the first line")
    log = Path((await native.runtime.container_status(container)).log_path)
    log.rename(log.with_suffix(".1"))
    await native.runtime.reopen_container_log(container)
    await native.let_it_end(container, "touch /go")
    await native.ended(container)
    assert " one" in log.with_suffix(".1").read_text()
    assert " two" in log.read_text()
    assert " one" not in log.read_text()


async def test_the_containers_limits_are_gone_from_the_machine_once_it_is_removed(native: Node) -> None:
    sandbox = await native.sandbox()
    container = await native.run(sandbox, "sleep 60", resources=LinuxResources(memory_limit_in_bytes=32 << 20))
    await native.runtime.remove_container(container)
    await native.runtime.remove_pod_sandbox(sandbox)

    async def left() -> bool:
        found = [base for base, names, _ in os.walk("/sys/fs/cgroup") for name in names if name == container]
        return not found

    await native.until(left, "the cgroup to go")


async def test_the_default_seccomp_profile_denies_what_no_capability_asks_for(native: Node) -> None:
    sandbox = await native.sandbox()
    script = (
        "unshare --user true 2>/dev/null && echo new-user-namespace; grep '^Seccomp:' /proc/self/status | cut -f2; "
        "python3 -c 'import threading; t = threading.Thread(target=print, args=[\"thread\"]); t.start(); t.join()'; "
        "mount -t tmpfs x /mnt 2>/dev/null && echo mounted; echo end"
    )
    with_profile = SecurityContext(seccomp_profile="runtime/default")
    admin = SecurityContext(seccomp_profile="runtime/default", add_capabilities=["SYS_ADMIN"])
    unconfined = SecurityContext(seccomp_profile="unconfined")
    privileged = SecurityContext(seccomp_profile="runtime/default", privileged=True)
    outcomes = [await native.output(sandbox, script, security=s) for s in (with_profile, admin, unconfined, privileged)]
    assert [said.split() for said in outcomes] == [
        ["2", "thread", "end"],
        ["new-user-namespace", "2", "thread", "mounted", "end"],
        ["new-user-namespace", "0", "thread", "end"],
        ["new-user-namespace", "0", "thread", "mounted", "end"],
    ]
    container = await native.run(sandbox, "sleep 60", security=with_profile)
    assert await native.shell(container, "grep '^Seccomp:' /proc/self/status | cut -f2") == "2"


async def test_a_seccomp_profile_of_the_hosts_is_refused(native: Node) -> None:
    sandbox = await native.sandbox()
    with pytest.raises(RuntimeServiceError, match="localhost profiles"):
        await native.run(sandbox, "true", security=SecurityContext(seccomp_profile="localhost/mine.json"))
