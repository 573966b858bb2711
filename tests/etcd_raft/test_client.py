"""The client, against our store and a real etcd alike."""

import asyncio

import pytest

from etcd_raft.client import (
    Compacted,
    Compare,
    DeadlineExceeded,
    EtcdClient,
    EtcdError,
    FutureRevision,
    LeaseNotFound,
    RequestTooLarge,
    Unavailable,
    op_delete,
    op_get,
    op_put,
    op_txn,
    prefix_end,
)
from tests.etcd_raft.processes import ClusterProcesses, free_ports


async def test_a_put_is_read_back_with_its_revisions(client: EtcdClient) -> None:
    first = await client.put(b"a", b"1")
    second = await client.put(b"a", b"2", prev_kv=True)
    assert second.revision == first.revision + 1
    assert second.prev_kv is not None
    assert second.prev_kv.value == b"1"
    got = await client.get(b"a")
    kv = got.kvs[0]
    assert (kv.value, kv.create_revision, kv.mod_revision, kv.version) == (b"2", first.revision, second.revision, 2)
    assert got.revision == second.revision


async def test_a_page_says_how_many_there_are_and_whether_there_is_more(client: EtcdClient) -> None:
    for number in range(7):
        await client.put(b"p/%d" % number, b"v")
    page = await client.get(b"p/", range_end=prefix_end(b"p/"), limit=3)
    assert ([kv.key for kv in page.kvs], page.more, page.count) == ([b"p/0", b"p/1", b"p/2"], True, 7)
    rest = await client.get(b"p/2\0", range_end=prefix_end(b"p/"), limit=4, revision=page.revision)
    assert ([kv.key for kv in rest.kvs], rest.more) == ([b"p/3", b"p/4", b"p/5", b"p/6"], False)


async def test_an_old_revision_is_what_it_was(client: EtcdClient) -> None:
    one = await client.put(b"h", b"1")
    await client.put(b"h", b"2")
    await client.delete(b"h")
    old = await client.get(b"h", revision=one.revision)
    assert [kv.value for kv in old.kvs] == [b"1"]
    assert not (await client.get(b"h")).kvs
    with pytest.raises(FutureRevision):
        await client.get(b"h", revision=10**9)


async def test_a_transaction_guarded_by_a_revision_takes_the_branch_that_holds(client: EtcdClient) -> None:
    put = await client.put(b"t", b"1")
    won = await client.txn(
        [Compare.mod_revision(b"t", "=", put.revision)], [op_put(b"t", b"2"), op_get(b"t")], [op_get(b"t")]
    )
    assert won.succeeded
    assert won.responses[1].kvs[0].value == b"2"
    lost = await client.txn([Compare.mod_revision(b"t", "=", put.revision)], [op_put(b"t", b"3")], [op_get(b"t")])
    assert not lost.succeeded
    assert lost.responses[0].kvs[0].mod_revision == won.revision
    assert lost.revision == won.revision


async def test_nested_transactions_and_deletions_answer_in_order(client: EtcdClient) -> None:
    await client.put(b"n/1", b"x")
    result = await client.txn(
        [Compare.version(b"n/1", ">", 0)],
        [
            op_txn([Compare.value(b"n/1", "=", b"x")], [op_put(b"n/2", b"y")], []),
            op_delete(b"n/1", prev_kv=True),
            op_get(b"n/", prefix_end(b"n/")),
        ],
    )
    nested, deleted, got = result.responses
    assert nested.succeeded
    assert (deleted.deleted, deleted.prev_kvs[0].value) == (1, b"x")
    assert [kv.key for kv in got.kvs] == [b"n/2"]


async def test_a_key_with_a_lease_goes_when_the_lease_is_revoked(client: EtcdClient) -> None:
    lease = await client.lease_grant(60)
    await client.put(b"l", b"v", lease=lease.id)
    times = await client.lease_time_to_live(lease.id, keys=True)
    assert (times.granted_ttl, times.keys) == (60, [b"l"])
    assert await client.lease_keep_alive(lease.id) == 60
    assert lease.id in await client.lease_list()
    await client.lease_revoke(lease.id)
    assert not (await client.get(b"l")).kvs
    assert (await client.lease_time_to_live(lease.id)).ttl == -1
    assert await client.lease_keep_alive(lease.id) == 0
    with pytest.raises(LeaseNotFound):
        await client.put(b"l", b"v", lease=lease.id)


async def test_a_watch_tells_the_past_and_then_the_present(client: EtcdClient) -> None:
    start = await client.put(b"w/1", b"1")
    await client.put(b"w/1", b"2")
    async with client.watch(b"w/", prefix_end(b"w/"), start.revision, prev_kv=True) as watcher:
        await client.delete(b"w/1")
        events = await _events(watcher, 3)
    assert [(e.type, e.kv.value) for e in events] == [("PUT", b"1"), ("PUT", b"2"), ("DELETE", b"")]
    assert events[2].prev_kv is not None
    assert events[2].prev_kv.value == b"2"


async def test_filters_leave_out_what_nobody_wants(client: EtcdClient) -> None:
    async with client.watch(b"f", filters=["NOPUT"]) as watcher:
        await client.put(b"f", b"1")
        await client.delete(b"f")
        (event,) = await _events(watcher, 1)
    assert event.type == "DELETE"


async def test_many_watches_on_one_stream_do_not_mix(client: EtcdClient) -> None:
    async with client.watch(b"m/1") as one, client.watch(b"m/2") as two:
        await client.put(b"m/2", b"two")
        await client.put(b"m/1", b"one")
        assert [e.kv.value for e in await _events(one, 1)] == [b"one"]
        assert [e.kv.value for e in await _events(two, 1)] == [b"two"]


async def test_progress_on_request_says_up_to_where_everything_was_told(client: EtcdClient) -> None:
    async with client.watch(b"q") as watcher:
        elsewhere = await client.put(b"other", b"1")

        async def ask() -> None:
            while True:  # a real etcd before 3.5.8 does not answer while a watch is behind
                await watcher.request_progress()
                await asyncio.sleep(0.1)

        asking = asyncio.create_task(ask())
        async with asyncio.timeout(10):
            async for batch in watcher:
                if batch.is_progress and batch.revision >= elsewhere.revision:
                    break
        asking.cancel()


async def test_a_compacted_revision_is_refused_with_what_is_left(client: EtcdClient) -> None:
    first = await client.put(b"c", b"1")
    await client.put(b"c", b"2")
    last = await client.put(b"c", b"3")
    await client.compact(last.revision)
    with pytest.raises(Compacted):
        await client.get(b"c", revision=first.revision)
    with pytest.raises(Compacted) as refusal:
        async with client.watch(b"c", start_revision=first.revision) as watcher:
            await _events(watcher, 1)
    assert refusal.value.compact_revision == last.revision


async def test_a_deletion_at_the_compacted_revision_is_still_told(client: EtcdClient, store: ClusterProcesses) -> None:
    if store.members[0].binary is not None:
        return  # etcd before 3.5.16 loses it: one of the bugs of its robustness track record
    await client.put(b"d", b"1")
    deleted = await client.delete(b"d")
    await client.compact(deleted.revision, physical=True)
    async with client.watch(b"d", start_revision=deleted.revision) as watcher:
        (event,) = await _events(watcher, 1)
    assert (event.type, event.kv.mod_revision) == ("DELETE", deleted.revision)


async def test_a_request_that_is_too_large_is_refused(client: EtcdClient) -> None:
    with pytest.raises(EtcdError) as refusal:
        await client.put(b"big", b"x" * (1536 * 1024 + 1024))
    assert isinstance(refusal.value, RequestTooLarge)


async def test_status_and_members_say_who_is_there(client: EtcdClient, store: ClusterProcesses) -> None:
    status = await client.status(store.urls[0])
    assert status.leader == status.member_id != 0
    assert status.version.startswith("3.")
    (member,) = await client.member_list()
    assert (member.name, member.client_urls, member.is_learner) == ("m0", store.urls, False)


async def test_a_client_goes_to_the_endpoint_that_answers(store: ClusterProcesses) -> None:
    await store.ready()
    (nobody,) = free_ports(1)
    async with EtcdClient([f"http://127.0.0.1:{nobody}", *store.urls]) as client:
        await client.put(b"failover", b"1")
        async with client.watch(b"failover") as watcher:
            await client.put(b"failover", b"2")
            assert [e.kv.value for e in await _events(watcher, 1)] == [b"2"]


async def test_no_endpoint_at_all_is_unavailable_and_surely_not_applied() -> None:
    (nobody,) = free_ports(1)
    async with EtcdClient([f"http://127.0.0.1:{nobody}"], timeout=0.5) as client:
        with pytest.raises((Unavailable, DeadlineExceeded)) as refusal:
            await client.put(b"k", b"v")
        assert not refusal.value.maybe_applied


def test_the_end_of_a_prefix_is_the_next_key_that_does_not_start_with_it() -> None:
    assert prefix_end(b"/a/") == b"/a0"
    assert prefix_end(b"a\xff") == b"b"
    assert prefix_end(b"\xff\xff") == b"\0"


async def _events(watcher: object, count: int) -> list:  # type: ignore[type-arg]
    """The next ``count`` events."""
    events: list = []  # type: ignore[type-arg]
    async with asyncio.timeout(10):
        async for batch in watcher:  # type: ignore[attr-defined]
            events += batch.events
            if len(events) >= count:
                return events
    raise AssertionError("the watch ended")
