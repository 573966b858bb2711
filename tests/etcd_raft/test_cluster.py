"""Three real members: what was acknowledged stays, whoever falls."""

import asyncio
from pathlib import Path

import pytest

from etcd_raft.client import EtcdClient, EtcdError
from etcd_raft.proto import rpc_pb2 as pb
from tests.etcd_raft.processes import ClusterProcesses, MemberProcess, answers, eventually, free_ports


async def _write(client: EtcdClient, prefix: bytes, count: int) -> dict[bytes, bytes]:
    """Write keys one after the other; those that were acknowledged."""
    done: dict[bytes, bytes] = {}
    for number in range(count):
        key, value = prefix + b"%04d" % number, b"value-%d" % number
        try:
            await client.put(key, value)
        except EtcdError:
            continue
        done[key] = value
    return done


async def _all_there(client: EtcdClient, expected: dict[bytes, bytes]) -> None:
    got = await client.get(b"\0", range_end=b"\0")
    found = {kv.key: kv.value for kv in got.kvs}
    lost = sorted(set(expected) - set(found))
    assert not lost, f"acknowledged and gone: {lost[:5]}"
    assert all(found[key] == value for key, value in expected.items())


async def test_writes_go_on_after_the_leader_is_killed_and_nothing_acknowledged_is_lost(
    three: ClusterProcesses,
) -> None:
    await three.ready()
    async with three.client() as client:
        expected = await _write(client, b"before/", 50)
        assert len(expected) == 50
        leader = await three.leader()
        leader.kill()
        await client.put(b"after", b"1", timeout=10)
        expected |= {b"after": b"1"}
        expected |= await _write(client, b"without/", 50)
        await _all_there(client, expected)
        leader.start()
        await answers(leader)
        async with three.client(leader) as restarted:
            await _all_there(restarted, expected)


async def test_a_watch_survives_the_death_of_its_member_without_loss_or_repetition(three: ClusterProcesses) -> None:
    await three.ready()
    leader = await three.leader()
    others = [member for member in three.members if member is not leader]
    seen: list[bytes] = []

    async def watch() -> None:
        async with three.client(leader, *others) as watching, watching.watch(b"w/", b"w0") as watcher:
            ready.set()
            async for batch in watcher:
                seen.extend(event.kv.key for event in batch.events)

    ready = asyncio.Event()
    task = asyncio.create_task(watch())
    await asyncio.wait_for(ready.wait(), 10)
    async with three.client(*others) as client:
        first = await _write(client, b"w/a", 30)
        leader.kill()
        second = await _write(client, b"w/b", 30)
        expected = [*first, *second]

        async def all_seen() -> bool:
            return set(expected) <= set(seen)

        await eventually(f"the watch tells all {len(expected)} writes", all_seen)
    task.cancel()
    assert len(seen) == len(set(seen)), "an event was told twice"
    assert [key for key in seen if key in expected] == expected, "events came out of order"


async def test_all_killed_at_once_come_back_with_everything(three: ClusterProcesses) -> None:
    await three.ready()
    async with three.client() as client:
        expected = await _write(client, b"k/", 100)
    for member in three.members:
        member.kill()
    for member in three.members:
        member.start()
    await three.ready()
    async with three.client() as client:
        await _all_there(client, expected)


async def test_without_a_majority_nothing_is_acknowledged(three: ClusterProcesses) -> None:
    await three.ready()
    survivor = await three.leader()
    for member in three.members:
        if member is not survivor:
            member.kill()
    async with three.client(survivor, timeout=2.0) as client:
        with pytest.raises(EtcdError):
            await client.put(b"alone", b"1")
        with pytest.raises(EtcdError):
            await client.get(b"alone")
        await client.get(b"alone", serializable=True)  # stale reads are there for whoever asks for them


async def test_a_member_far_behind_gets_the_leaders_state(tmp_path: Path) -> None:
    flags = [
        "--heartbeat-interval=50",
        "--election-timeout=500",
        "--log-level=info",
        "--snapshot-count=100",
        "--snapshot-catchup-entries=50",
    ]
    cluster = ClusterProcesses(tmp_path, 3, flags)
    cluster.start()
    try:
        await cluster.ready()
        leader = await cluster.leader()
        lagging = next(member for member in cluster.members if member is not leader)
        lagging.kill()
        async with cluster.client(leader) as client:
            expected = await _write(client, b"s/", 400)
        lagging.start()
        await answers(lagging)
        assert "took over the leader's state" in lagging.log.read_text()
        async with cluster.client(lagging) as client:
            await _all_there(client, expected)
            await client.put(b"afterwards", b"1")
        lagging.kill()
        lagging.start()
        await answers(lagging)
        async with cluster.client(lagging) as client:
            await _all_there(client, expected)
    finally:
        cluster.close()


async def test_leases_survive_a_change_of_leaders_and_still_end(three: ClusterProcesses) -> None:
    await three.ready()
    async with three.client() as client:
        long = await client.lease_grant(60)
        short = await client.lease_grant(1)
        await client.put(b"long", b"1", lease=long.id)
        await client.put(b"short", b"1", lease=short.id)
        leader = await three.leader()
        leader.kill()

        async def gone() -> bool:
            return not (await client.get(b"short")).kvs

        await eventually("the short lease ends", gone)
        assert (await client.get(b"long")).kvs
        assert await client.lease_keep_alive(long.id) == 60
        for member in three.members:  # whoever is asked: members pass it on to the leader
            if member.process is not None:
                async with three.client(member) as one:
                    assert (await one.lease_time_to_live(long.id)).ttl > 50


async def test_the_members_have_equal_hashes(three: ClusterProcesses) -> None:
    await three.ready()
    async with three.client() as client:
        await _write(client, b"hash/", 20)
        await client.delete(b"hash/0003")
    hashes = set()
    for member in three.members:
        async with three.client(member) as one:
            await one.get(b"any")
            reply = await one.connection.unary(
                "/etcdserverpb.Maintenance/HashKV", pb.HashKVRequest().SerializeToString(), 5.0
            )
            response = pb.HashKVResponse.FromString(reply)
            hashes.add((response.hash, response.header.revision))
    assert len(hashes) == 1, f"the members differ: {hashes}"


async def test_a_member_is_added_as_a_learner_promoted_and_removed(three: ClusterProcesses, tmp_path: Path) -> None:
    await three.ready()
    client_port, peer_port = free_ports(2)
    peer_url = f"http://127.0.0.1:{peer_port}"
    async with three.client() as client:
        await _write(client, b"before/", 20)

        async def call(method: str, request: object, response: object) -> object:
            reply = await client.connection.unary(
                f"/etcdserverpb.Cluster/{method}",
                request.SerializeToString(),
                10.0,  # type: ignore[attr-defined]
            )
            return response.FromString(reply)  # type: ignore[attr-defined]

        added = await call("MemberAdd", pb.MemberAddRequest(peerURLs=[peer_url], isLearner=True), pb.MemberAddResponse)
        id = added.member.ID  # type: ignore[attr-defined]
        flags = [
            f"--initial-cluster={','.join([*three.initial, f'new={peer_url}'])}",
            "--initial-cluster-state=existing",
            "--heartbeat-interval=50",
            "--election-timeout=500",
            "--log-level=warn",
        ]
        fourth = MemberProcess(tmp_path, "new", client_port, peer_port, flags)
        fourth.start()
        three.members.append(fourth)

        async def promoted() -> bool:
            try:
                await call("MemberPromote", pb.MemberPromoteRequest(ID=id), pb.MemberPromoteResponse)
            except EtcdError as error:
                if "in sync with leader" not in error.details:
                    raise
                return False
            return True

        await eventually("the learner can be promoted", promoted)
        await answers(fourth)

        async def all_named() -> bool:
            return sorted(m.name for m in await client.member_list()) == ["m0", "m1", "m2", "new"]

        await eventually("every member has told its name", all_named)
        await call("MemberRemove", pb.MemberRemoveRequest(ID=id), pb.MemberRemoveResponse)

        async def ended() -> bool:
            assert fourth.process is not None
            return fourth.process.poll() is not None

        await eventually("the removed member ends", ended)
        await client.put(b"after", b"1")
        assert len(await client.member_list()) == 3
