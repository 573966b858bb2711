"""The same random requests to our store and to a real etcd: the same answers, revisions and errors."""

import asyncio
import difflib
import random
from pathlib import Path
from typing import Any

import pytest

from etcd_raft.client import EtcdClient, EtcdError
from etcd_raft.proto import rpc_pb2 as pb
from tests.etcd_raft.processes import ClusterProcesses, real_etcd

_KEYS = [b"a", b"a/1", b"a/2", b"a/3", b"b", b"b/1", b"c", b"c" * 510, b"c" * 510 + b"x", b"c" * 505]
_ENDS = [b"", b"", b"\0", b"a0", b"b0", b"c", b"d", b"a/2"]
_LEASES = [0, 0, 0, 7, 8, 9]


class Generator:
    """Requests, most of them sensible, drawn from a seed. Knows about how far the revisions are."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.revision = 1

    def request(self) -> tuple[str, Any, Any]:
        roll = self.random.random()
        if roll < 0.30:
            return "KV/Range", self.range(), pb.RangeResponse
        if roll < 0.55:
            return "KV/Put", self.put(), pb.PutResponse
        if roll < 0.65:
            return "KV/DeleteRange", self.delete(), pb.DeleteRangeResponse
        if roll < 0.92:
            return "KV/Txn", self.txn(), pb.TxnResponse
        if roll < 0.94:
            return (
                "KV/Compact",
                pb.CompactionRequest(revision=self.some_revision(), physical=True),
                pb.CompactionResponse,
            )
        if roll < 0.97:
            grant = pb.LeaseGrantRequest(ID=self.random.choice([7, 8, 9]), TTL=self.random.choice([600, 600, 10**10]))
            return "Lease/LeaseGrant", grant, pb.LeaseGrantResponse
        if roll < 0.985:
            return "Lease/LeaseRevoke", pb.LeaseRevokeRequest(ID=self.random.choice([7, 8, 9])), pb.LeaseRevokeResponse
        return "Lease/LeaseLeases", pb.LeaseLeasesRequest(), pb.LeaseLeasesResponse

    def some_revision(self) -> int:
        return max(0, self.revision + self.random.randint(-8, 2))

    def key(self) -> bytes:
        return b"" if self.random.random() < 0.01 else self.random.choice(_KEYS)

    def range(self) -> Any:
        pick = self.random
        request = pb.RangeRequest(key=self.key(), range_end=pick.choice(_ENDS))
        if pick.random() < 0.3:
            request.limit = pick.randint(1, 4)
        if pick.random() < 0.3:
            request.revision = self.some_revision()
        if pick.random() < 0.3:
            # Among equals etcd's order is that of an unstable sort: sort by what differs.
            request.sort_order = pick.choice([0, 1, 2])
            request.sort_target = pick.choice([0, 3])
        request.serializable = pick.random() < 0.2
        request.keys_only = pick.random() < 0.1
        request.count_only = pick.random() < 0.1
        for name in ("min_mod_revision", "max_mod_revision", "min_create_revision", "max_create_revision"):
            if pick.random() < 0.07:
                setattr(request, name, self.some_revision())
        return request

    def put(self) -> Any:
        pick = self.random
        request = pb.PutRequest(key=self.key(), value=b"%d" % pick.randint(0, 3), lease=pick.choice(_LEASES))
        request.prev_kv = pick.random() < 0.3
        if pick.random() < 0.1:
            request.ignore_value = True
            if pick.random() < 0.8:
                request.value = b""
        if pick.random() < 0.1:
            request.ignore_lease = True
            if pick.random() < 0.8:
                request.lease = 0
        return request

    def delete(self) -> Any:
        pick = self.random
        return pb.DeleteRangeRequest(key=self.key(), range_end=pick.choice(_ENDS), prev_kv=pick.random() < 0.5)

    def compare(self) -> Any:
        pick = self.random
        compare = pb.Compare(key=self.key(), result=pick.randint(0, 3), target=pick.randint(0, 4))  # type: ignore[arg-type]
        name = {0: "version", 1: "create_revision", 2: "mod_revision", 4: "lease"}.get(compare.target)
        if name is None:
            compare.value = b"%d" % pick.randint(0, 3)
        else:
            setattr(compare, name, pick.choice([0, 1, 2, 7, self.some_revision()]))
        if pick.random() < 0.15:
            compare.range_end = pick.choice(_ENDS)
        return compare

    def txn(self, depth: int = 0) -> Any:
        pick = self.random
        request = pb.TxnRequest(compare=[self.compare() for _ in range(pick.randint(0, 2))])
        for branch in (request.success, request.failure):
            for _ in range(pick.randint(0, 3)):
                roll = pick.random()
                if roll < 0.35:
                    branch.add().request_put.CopyFrom(self.put())
                elif roll < 0.65:
                    branch.add().request_range.CopyFrom(self.range())
                elif roll < 0.85:
                    branch.add().request_delete_range.CopyFrom(self.delete())
                elif depth < 2:
                    branch.add().request_txn.CopyFrom(self.txn(depth + 1))
        return request


async def _ask(client: EtcdClient, path: str, request: Any, response: Any) -> Any:
    """The answer without what may differ, or the error."""
    try:
        reply = await client.connection.unary(f"/etcdserverpb.{path}", request.SerializeToString(), 10.0)
    except EtcdError as error:
        return (error.code, error.details)
    answer = response.FromString(reply)
    for name in ("cluster_id", "member_id", "raft_term"):
        answer.header.ClearField(name)
    if path == "Lease/LeaseLeases":
        return sorted(lease.ID for lease in answer.leases)
    return answer


@pytest.fixture
def pair(tmp_path: Path) -> Any:
    binary = real_etcd()
    if binary is None:
        pytest.skip("needs the executable etcd")
    ours = ClusterProcesses(tmp_path / "ours", 1, ["--log-level=warn"])
    theirs = ClusterProcesses(tmp_path / "etcd", 1, ["--log-level=warn"], binary)
    for cluster in (ours, theirs):
        cluster.folder.mkdir()
        cluster.start()
    yield ours, theirs
    ours.close()
    theirs.close()


@pytest.mark.parametrize("seed", range(6))
async def test_random_requests_get_the_same_answers(pair: Any, seed: int) -> None:
    ours, theirs = pair
    await asyncio.gather(ours.ready(), theirs.ready())
    generator = Generator(seed)
    async with ours.client() as our_client, theirs.client() as their_client:
        for number in range(700):
            path, request, response = generator.request()
            mine, real = await asyncio.gather(
                _ask(our_client, path, request, response), _ask(their_client, path, request, response)
            )
            if mine != real:
                difference = "\n".join(
                    difflib.unified_diff(str(mine).split("\n"), str(real).split("\n"), "ours", "etcd")
                )
                pytest.fail(f"seed {seed}, request {number}: {path} {{\n{request}}}\n{difference}", pytrace=False)
            if not isinstance(real, (tuple, list)):
                generator.revision = max(generator.revision, real.header.revision)
        everything = pb.RangeRequest(key=b"\0", range_end=b"\0")
        mine, real = await asyncio.gather(
            _ask(our_client, "KV/Range", everything, pb.RangeResponse),
            _ask(their_client, "KV/Range", everything, pb.RangeResponse),
        )
        assert mine == real


async def test_watches_from_any_revision_tell_the_same(pair: Any) -> None:
    ours, theirs = pair
    await asyncio.gather(ours.ready(), theirs.ready())
    generator = Generator(11)
    async with ours.client() as our_client, theirs.client() as their_client:
        for _ in range(150):
            path, request, response = generator.request()
            if path in ("KV/Put", "KV/DeleteRange", "KV/Txn"):
                await asyncio.gather(
                    _ask(our_client, path, request, response), _ask(their_client, path, request, response)
                )
        end = (await our_client.put(b"a/end", b"")).revision
        assert (await their_client.put(b"a/end", b"")).revision == end
        for start in (1, 2, end // 2, end - 1):
            for key, range_end in ((b"a", b"b0"), (b"a/1", None), (b"\0", b"\0")):
                stories = [await _story(c, key, range_end, start, end) for c in (our_client, their_client)]
                assert stories[0] == stories[1], f"watch {key!r} from {start}"


async def _story(client: EtcdClient, key: bytes, range_end: bytes | None, start: int, end: int) -> list[Any]:
    """All events up to the revision ``end``, with what was before."""
    events: list[Any] = []
    async with client.watch(key, range_end, start, prev_kv=True) as watcher, asyncio.timeout(10):
        if range_end is None:
            await client.put(key, b"last")
        async for batch in watcher:
            for event in batch.events:
                if event.kv.value == b"last":
                    await client.delete(key)
                    return events
                events.append((event.type, event.kv, event.prev_kv))
                if event.kv.mod_revision >= end:
                    return events
    return events
