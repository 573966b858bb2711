"""An unmodified etcdctl against our members: what users type."""

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from etcd_raft.client import EtcdClient, EtcdError
from tests.etcd_raft import etcdctl
from tests.etcd_raft.processes import ClusterProcesses, MemberProcess, answers, eventually, free_ports, real_etcd

pytestmark = pytest.mark.binary("etcdctl")


async def _restore(*arguments: str) -> tuple[int, str]:
    """Run our own restore; its exit code and output."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "etcd_raft", "snapshot", "restore", *arguments,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(20):
        out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


async def _ctl(cluster: ClusterProcesses, *arguments: str, stdin: str = "", ok: bool = True) -> str:
    """Run etcdctl on all members; its output, standard error too."""
    process = await asyncio.create_subprocess_exec(
        "etcdctl",
        f"--endpoints={','.join(m.url for m in cluster.members if m.process is not None)}",
        *arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "ETCDCTL_API": "3"},
    )
    async with asyncio.timeout(20):
        out, _ = await process.communicate(stdin.encode())
    text = out.decode()
    assert (process.returncode == 0) == ok, f"etcdctl {' '.join(arguments)}: {process.returncode}: {text}"
    return text


async def test_keys(one: ClusterProcesses) -> None:
    await one.ready()
    assert await _ctl(one, "put", "foo", "bar") == "OK\n"
    assert await _ctl(one, "get", "foo") == "foo\nbar\n"
    assert await _ctl(one, "put", "foo", "baz", "--prev-kv") == "OK\nfoo\nbar\n"
    for number in range(3):
        await _ctl(one, "put", f"p{number}", str(number))
    assert await _ctl(one, "get", "p", "--prefix", "--keys-only") == "p0\n\np1\n\np2\n\n"
    assert (
        await _ctl(one, "get", "p", "--prefix", "--print-value-only", "--order=DESCEND", "--sort-by=MODIFY")
        == "2\n1\n0\n"
    )
    assert '"Count" : 3' in await _ctl(one, "get", "p", "--prefix", "--limit=1", "-w=fields")
    assert await _ctl(one, "get", "foo", "--rev=2", "--print-value-only") == "bar\n"
    assert await _ctl(one, "del", "p", "--prefix") == "3\n"
    assert "revision is a future revision" in await _ctl(one, "get", "foo", "--rev=1000", ok=False)


async def test_transactions(one: ClusterProcesses) -> None:
    await one.ready()
    await _ctl(one, "put", "flag", "1")
    text = await _ctl(one, "txn", stdin='value("flag") = "1"\n\nput flag 2\nget flag\n\nput flag 3\n\n')
    assert text == "SUCCESS\n\nOK\n\nflag\n2\n"


async def test_compaction_hash_defragmentation_and_status(one: ClusterProcesses) -> None:
    await one.ready()
    for number in range(5):
        await _ctl(one, "put", "c", str(number))
    revision = json.loads(await _ctl(one, "get", "c", "-w=json"))["header"]["revision"]
    before = await _ctl(one, "endpoint", "hashkv")
    assert f"compacted revision {revision}" in await _ctl(one, "compaction", str(revision), "--physical")
    assert "has been compacted" in await _ctl(one, "get", "c", "--rev=2", ok=False)
    assert before != await _ctl(one, "endpoint", "hashkv")
    assert "Finished defragmenting" in await _ctl(one, "defrag")
    assert await _ctl(one, "get", "c", "--print-value-only") == "4\n"
    assert "is healthy" in await _ctl(one, "endpoint", "health")
    (status,) = json.loads(await _ctl(one, "endpoint", "status", "-w=json"))
    assert status["Status"]["leader"] == status["Status"]["header"]["member_id"]


async def test_leases(one: ClusterProcesses) -> None:
    await one.ready()
    match = re.search(r"lease (\w+) granted with TTL\(60s\)", await _ctl(one, "lease", "grant", "60"))
    assert match
    await _ctl(one, "put", "k", "v", f"--lease={match[1]}")
    assert "attached keys([k])" in await _ctl(one, "lease", "timetolive", match[1], "--keys")
    assert "keepalived with TTL(60)" in await _ctl(one, "lease", "keep-alive", "--once", match[1])
    assert match[1] in await _ctl(one, "lease", "list")
    await _ctl(one, "lease", "revoke", match[1])
    assert await _ctl(one, "get", "k") == ""
    assert "already expired" in await _ctl(one, "lease", "timetolive", match[1])


async def test_a_lock_is_held_while_a_command_runs(one: ClusterProcesses) -> None:
    await one.ready()
    assert "inside" in await _ctl(one, "lock", "mutex", "echo", "inside")
    assert await _ctl(one, "get", "mutex", "--prefix") == ""


async def test_a_watch_shows_what_happened(one: ClusterProcesses) -> None:
    await one.ready()
    await _ctl(one, "put", "w", "1")
    await _ctl(one, "del", "w")
    process = await asyncio.create_subprocess_exec(
        "etcdctl", f"--endpoints={one.urls[0]}", "watch", "w", "--rev=1", "--prev-kv", stdout=subprocess.PIPE,
        env={**os.environ, "ETCDCTL_API": "3"},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(10):
            lines = [(await process.stdout.readline()).decode().strip() for _ in range(7)]
    finally:
        process.kill()
        await process.wait()
    assert [line for line in lines if line] == ["PUT", "w", "1", "DELETE", "w", "1", "w"] or lines[:3] == [
        "PUT",
        "w",
        "1",
    ]
    assert "DELETE" in lines


async def test_members_and_the_move_of_the_leader(three: ClusterProcesses) -> None:
    await three.ready()
    table = ""

    async def published() -> bool:
        nonlocal table
        table = await _ctl(three, "member", "list")
        return all(member.url in table for member in three.members)

    await eventually("every member has told where its clients find it", published)
    assert len(table.splitlines()) == 3
    leader = await three.leader()
    target = next(member for member in three.members if member is not leader)
    id = next(line.split(",")[0] for line in table.splitlines() if target.url in line)
    assert "Leadership transferred" in await _ctl(three, "move-leader", id)
    assert await three.leader() is target


async def test_a_snapshot_is_saved_and_restored_into_a_new_cluster(one: ClusterProcesses, tmp_path: Path) -> None:
    await one.ready()
    for number in range(3):
        await _ctl(one, "put", f"s{number}", "x" * 100)
    async with one.client() as client:
        for number in range(3, 200):
            await client.put(b"s%03d" % number, b"y" * 100)
        expected = await client.get(b"\0", range_end=b"\0")
    saved = tmp_path / "saved.db"
    await _ctl(one, "snapshot", "save", str(saved))
    fresh = ClusterProcesses(tmp_path / "fresh", 3, ["--log-level=warn"])
    fresh.folder.mkdir()
    for member in fresh.members:
        code, text = await _restore(
            str(saved), f"--data-dir={member.folder}", f"--name={member.name}",
            f"--initial-cluster={','.join(fresh.initial)}", f"--initial-advertise-peer-urls={member.peer_url}",
        )  # fmt: skip
        assert code == 0, text
    fresh.start()
    try:
        await fresh.ready()
        async with fresh.client() as client:
            got = await client.get(b"\0", range_end=b"\0")
            assert got.revision == expected.revision
            assert list(got.kvs) == list(expected.kvs)
            await client.put(b"new", b"life")
        assert len(await fresh_members(fresh)) == 3
    finally:
        fresh.close()
    with saved.open("r+b") as file:
        file.seek(9000)
        file.write(b"damage")
    code, text = await _restore(str(saved), f"--data-dir={tmp_path / 'no'}")
    assert code == 1
    assert "damaged" in text


async def fresh_members(cluster: ClusterProcesses) -> list[str]:
    async with cluster.client() as client:
        return [member.name for member in await client.member_list()]


async def test_a_full_quota_raises_the_alarm_and_room_ends_it(tmp_path: Path) -> None:
    cluster = ClusterProcesses(tmp_path, 1, ["--log-level=error", f"--quota-backend-bytes={2 << 20}"])
    cluster.start()
    try:
        await answers(cluster.members[0])
        async with cluster.client() as client:
            refused = ""
            for number in range(200):
                try:
                    await client.put(b"fill", os.urandom(50_000))
                except Exception as error:
                    refused = str(error)
                    break
                assert number < 199, "the quota was never reached"
            assert "database space exceeded" in refused
            assert "alarm:NOSPACE" in await _ctl(cluster, "alarm", "list")
            assert "database space exceeded" in await _ctl(cluster, "put", "a", "b", ok=False)
            assert await _ctl(cluster, "get", "a") == ""
            revision = (await client.get(b"fill")).revision
            await client.compact(revision, physical=True)
        await _ctl(cluster, "defrag")
        assert "alarm:NOSPACE" in await _ctl(cluster, "alarm", "disarm")
        assert await _ctl(cluster, "put", "a", "b") == "OK\n"
    finally:
        cluster.close()


async def test_users_may_do_what_their_roles_say(three: ClusterProcesses) -> None:
    await three.ready()
    await _ctl(three, "put", "app/a", "1")
    assert "User root created" in await _ctl(three, "user", "add", "root:secret")
    await _ctl(three, "user", "grant-role", "root", "root")
    await _ctl(three, "role", "add", "reader")
    await _ctl(three, "role", "grant-permission", "reader", "--prefix=true", "read", "app/")
    await _ctl(three, "user", "add", "eve:pw")
    assert "Role reader is granted" in await _ctl(three, "user", "grant-role", "eve", "reader")
    assert "Authentication Enabled" in await _ctl(three, "auth", "enable")
    assert "user name is empty" in await _ctl(three, "get", "app/a", ok=False)
    assert await _ctl(three, "--user=eve:pw", "get", "app/a") == "app/a\n1\n"
    assert await _ctl(three, "--user=eve:pw", "get", "app/", "--prefix") == "app/a\n1\n"
    assert "permission denied" in await _ctl(three, "--user=eve:pw", "put", "app/a", "2", ok=False)
    assert "permission denied" in await _ctl(three, "--user=eve:pw", "get", "other", ok=False)
    assert "permission denied" in await _ctl(three, "--user=eve:pw", "user", "list", ok=False)
    assert "authentication failed" in await _ctl(three, "--user=eve:wrong", "get", "app/a", ok=False)
    assert await _ctl(three, "--user=root:secret", "put", "other", "2") == "OK\n"
    assert "app/" in await _ctl(three, "--user=root:secret", "role", "get", "reader")
    assert await _ctl(three, "--user=root:secret", "user", "list") == "eve\nroot\n"
    for member in three.members:  # users survive, on every member
        member.kill()
    for member in three.members:
        member.start()

    async def root_may() -> bool:
        return "Authentication Disabled" in await _ctl(three, "--user=root:secret", "auth", "disable")

    for member in three.members:
        await _listening(member.url)
    assert await root_may()
    assert await _ctl(three, "get", "other") == "other\n2\n"


async def _listening(url: str) -> None:
    """Somebody answers there, if only to say that we may not."""

    async def serves() -> bool:
        async with EtcdClient([url], timeout=1.0) as client:
            try:
                return bool((await client.status()).leader)
            except EtcdError:
                return False

    await eventually(f"{url} has a leader", serves)


async def test_a_member_is_added_promoted_moved_and_removed(tmp_path: Path) -> None:
    """The same commands to ours and to a real etcd, with members that come up in between."""
    etcd = real_etcd()
    if etcd is None:
        pytest.skip("needs the executable etcd")
    ctl = etcdctl.binaries()["3.5"]

    async def play(name: str, binary: str | None) -> list[str]:
        folder = tmp_path / name
        folder.mkdir()
        store = ClusterProcesses(folder, 1, ["--log-level=error"], binary)
        client, peer, later_peer = free_ports(3)
        joining = MemberProcess(folder, "late", client, peer, [], binary)
        said: list[str] = []

        async def run(line: str) -> etcdctl.Answer:
            answer = await etcdctl.run(ctl, store, line)
            said.append(etcdctl.masked(str(answer)))
            return answer

        async def until(line: str) -> None:
            """Repeat a command that is refused until the cluster is ready for it."""

            async def works() -> bool:
                return (await etcdctl.run(ctl, store, line)).code == 0

            await eventually(line, works)

        store.start()
        try:
            await answers(store.members[0])
            await run("put before 1")
            added = await run(f"member add late --learner --peer-urls={joining.peer_url}")
            id = re.findall(r"Member +([0-9a-f]+) added", added.out)[0]
            await run(f"member promote {id}")
            cluster = f"{store.initial[0]},late={joining.peer_url}"
            joining.flags = ["--log-level=error", f"--initial-cluster={cluster}", "--initial-cluster-state=existing"]
            joining.start()
            await until(f"member promote {id}")
            await run(f"member promote {id}")
            late = ClusterProcesses(folder, 0)
            late.members = [joining]
            await answers(joining)
            said.append((await etcdctl.run(ctl, late, "get before")).out)
            said.append(str(len((await etcdctl.run(ctl, store, "member list")).out.splitlines())))
            await until(f"move-leader {id}")
            store.members.append(joining)
            await until("endpoint health --cluster")
            for member in store.members:
                one = ClusterProcesses(folder, 0)
                one.members = [member]
                said.append(etcdctl.masked(str(await etcdctl.run(ctl, one, "endpoint status -w=fields"))))
            await run(f"member update {id} --peer-urls=http://127.0.0.1:{later_peer}")
            await run(f"member update {id} --peer-urls={joining.peer_url}")
            store.members.pop()
            await until(f"member remove {id}")
            await until("put after 2")
            await run(f"member remove {id}")
            await run("member list")
            await run("get after")
        finally:
            joining.kill()
            store.close()
        return said

    ours, theirs = await asyncio.gather(play("ours", None), play("etcd", etcd))
    assert [sorted(re.split(r"[,\n]", text)) for text in ours] == [sorted(re.split(r"[,\n]", text)) for text in theirs]
