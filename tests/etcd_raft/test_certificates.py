"""Users by the name in their certificate, as etcd has them; and members that compare their keys before they serve."""

import asyncio
from pathlib import Path

import pytest

from etcd_raft.mvcc.backend import Backend
from etcd_raft.proto.kv_pb2 import KeyValue
from etcd_raft.server.apply import State
from tests.etcd_raft import etcdctl
from tests.etcd_raft.processes import ClusterProcesses, answers, eventually, real_etcd
from tests.etcd_raft.test_tls import Authority

# Whose certificate, and the command.
COMMANDS = [
    ("root", "put app/1 x"), ("root", "put other x"),
    ("root", "user add root --no-password"), ("root", "user add ann --no-password"), ("root", "user grant-role root root"),
    ("root", "role add reader"), ("root", "role grant-permission reader --prefix=true read app/"),
    ("root", "user grant-role ann reader"), ("root", "auth enable"),
    ("root", "get other"), ("root", "user list"), ("ann", "get app/1"), ("ann", "get other"), ("ann", "put app/1 y"),
    ("ann", "user list"), ("ann", "user get ann"), ("ann", "watch other"), ("ann", "endpoint health"), ("ann", "defrag"),
    ("stranger", "get app/1"), ("stranger", "user list"), ("stranger", "member list"), ("stranger", "defrag"),
    ("stranger", "compaction 2"), ("root", "auth disable"), ("stranger", "get app/1"),
]  # fmt: skip


@pytest.mark.binary("etcdctl")
@pytest.mark.binary("etcd")
async def test_a_certificate_says_who_asks(tmp_path: Path) -> None:
    etcd = real_etcd()
    if etcd is None:
        pytest.skip("needs the executable etcd")
    authority = Authority(tmp_path, "ca")
    cert, key = authority.issue("member")
    people = {name: authority.issue(name) for name in ("root", "ann", "stranger")}
    flags = [
        "--log-level=error",
        f"--cert-file={cert}",
        f"--key-file={key}",
        f"--trusted-ca-file={authority.ca}",
        "--client-cert-auth",
    ]
    ctl = etcdctl.binaries()["3.5"]

    async def play(name: str, binary: str | None) -> list[str]:
        folder = tmp_path / name
        folder.mkdir()
        store = ClusterProcesses(folder, 1, flags, binary)
        (member,) = store.members
        member.url = member.url.replace("http:", "https:")
        store.start()

        async def run(person: str, line: str) -> etcdctl.Answer:
            shown = f"--cacert={authority.ca} --cert={people[person][0]} --key={people[person][1]}"
            return await etcdctl.run(ctl, store, f"{shown} {line}")

        async def serves() -> bool:
            return (await run("root", "get x")).code == 0

        try:
            await eventually(f"{name} serves", serves)
            return [f"{who}: {line}\n{etcdctl.masked(str(await run(who, line)))}" for who, line in COMMANDS]
        finally:
            store.close()

    ours, theirs = await asyncio.gather(play("ours", None), play("etcd", etcd))
    assert ours == theirs


async def test_a_member_with_other_keys_than_the_others_does_not_serve(tmp_path: Path) -> None:
    cluster = ClusterProcesses(tmp_path, 3, ["--log-level=info", "--experimental-initial-corrupt-check=true"])
    cluster.start()
    try:
        await cluster.ready()
        async with cluster.client() as client:
            for number in range(10):
                await client.put(b"k%d" % number, b"value")

            async def same() -> bool:
                return len({(await client.get(b"k9", serializable=True)).revision for _ in range(6)}) == 1

            await eventually("all have the keys", same)
        spoilt, healthy = cluster.members[0], cluster.members[1]
        assert spoilt.stop() == 0
        assert healthy.stop() == 0
        _spoil(spoilt.folder / "member" / "snap" / "db")
        healthy.start()
        await answers(healthy)  # else it may be the one that finds the other, and ends as well
        spoilt.start()
        assert spoilt.process is not None
        code = await asyncio.to_thread(spoilt.process.wait, 20)
        spoilt.process = None
        assert code == 1
        assert "found data inconsistency with peers" in spoilt.log.read_text()
        await cluster.ready()
        assert "no member that could be asked has other keys" in healthy.log.read_text()
    finally:
        cluster.close()


def _spoil(db: Path) -> None:
    """Give a key another value, as a bit that has flipped would."""
    state = State(Backend(db, 2 << 30))
    backend = state.backend
    place = state.store.index.get_raw(b"k5")
    assert place is not None
    raw = backend.txn.get(place[:12], db=backend.log)
    good = KeyValue.FromString(raw[13:])
    bad = KeyValue(
        key=good.key, create_revision=good.create_revision, mod_revision=good.mod_revision, version=1, value=b"VALUE"
    )
    assert raw.endswith(good.SerializeToString())
    backend.txn.put(place[:12], raw[:13] + bad.SerializeToString(), db=backend.log)
    state.commit()
    backend.close()
