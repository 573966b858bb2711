"""The ownership graph and the verdicts, alone and against a model that deletes by the book."""

import random
from typing import Any

from controllers.garbagecollector import verdict
from controllers.garbagecollector.graph import Graph
from controllers.garbagecollector.verdict import judge
from kubeclient.discovery import ApiResource

Object = dict[str, Any]
THINGS = ApiResource("example.com/v1", "Thing", "things", True, frozenset({"get", "list", "watch", "delete"}))


def thing(
    uid: str,
    *owners: str,
    blocks: bool = True,
    finalizers: tuple[str, ...] = (),
    deleting: bool = False,
) -> Object:
    references = [
        {"apiVersion": "example.com/v1", "kind": "Thing", "name": o, "uid": o, "blockOwnerDeletion": blocks}
        for o in owners
    ]
    metadata: Object = {"name": uid, "namespace": "shop", "uid": uid, "resourceVersion": "1"}
    if references:
        metadata["ownerReferences"] = references
    if finalizers:
        metadata["finalizers"] = list(finalizers)
    if deleting:
        metadata["deletionTimestamp"] = "2027-01-01T00:00:00Z"
    return {"metadata": metadata}


def waiting(uid: str, *owners: str) -> Object:
    return thing(uid, *owners, finalizers=("foregroundDeletion",), deleting=True)


def graph(*objects: Object) -> Graph:
    found = Graph()
    for obj in objects:
        found.observe(THINGS, obj)
    return found


def judged(found: Graph, uid: str, absent: set[str] | None = None) -> verdict.Verdict:
    """``absent`` None: nobody has asked the server yet."""
    entry = found.get(uid)
    assert entry is not None
    return judge(entry, found, lambda r: None if absent is None else r["uid"] in absent)


def test_an_owner_that_is_not_in_the_graph_is_asked_for_before_anything_is_deleted() -> None:
    found = graph(thing("child", "lost"))
    assert judged(found, "child").action == verdict.VERIFY
    assert judged(found, "child", absent=set()).action == verdict.KEEP
    gone = judged(found, "child", absent={"lost"})
    assert (gone.action, gone.policy) == (verdict.DELETE, "Background")


def test_one_living_owner_keeps_an_object_which_lets_go_of_the_dead_one() -> None:
    found = graph(thing("alive"), thing("child", "alive", "lost"))
    result = judged(found, "child", absent={"lost"})
    assert result.action == verdict.DROP_OWNERS
    assert [r["uid"] for r in result.owners] == ["lost"]
    assert judged(graph(thing("alive"), thing("child", "alive")), "child").action == verdict.KEEP


def test_the_deletion_of_an_owner_calls_for_its_dependents() -> None:
    found = graph(thing("owner"), thing("child", "owner"), thing("other"))
    assert found.forget("owner") == {"child"}


def test_foreground_deletion_waits_for_those_that_block() -> None:
    found = graph(waiting("owner"), thing("child", "owner"), thing("free", "owner", blocks=False))
    result = judged(found, "owner")
    assert result.action == verdict.KEEP
    assert [e.uid for e in result.others] == ["child"]
    assert judged(found, "child").action == verdict.DELETE
    assert found.forget("child") == {"owner"}
    assert judged(found, "owner").action == verdict.RELEASE


def test_foreground_deletion_goes_down_the_tree() -> None:
    found = graph(waiting("owner"), thing("child", "owner"), thing("grandchild", "child"))
    result = judged(found, "child")
    assert (result.action, result.policy, result.unblock) == (verdict.DELETE, "Foreground", False)


def test_a_circle_of_waiting_owners_is_broken() -> None:
    found = graph(waiting("a", "b"), thing("b", "a"))
    result = judged(found, "b")
    assert result.action == verdict.DELETE
    assert result.unblock


def test_the_start_of_a_foreground_deletion_calls_for_everyone_concerned() -> None:
    found = graph(thing("owner"), thing("child", "owner"))
    assert found.observe(THINGS, waiting("owner")) == {"owner", "child"}


def test_orphaning_takes_the_reference_off_every_dependent() -> None:
    found = graph(thing("owner", finalizers=("orphan",), deleting=True), thing("child", "owner"))
    result = judged(found, "owner")
    assert result.action == verdict.ORPHAN_DEPENDENTS
    assert [e.uid for e in result.others] == ["child"]


def test_an_object_that_is_on_its_way_out_is_left_alone() -> None:
    found = graph(thing("child", "lost", deleting=True))
    assert judged(found, "child", absent={"lost"}).action == verdict.KEEP


def test_a_finalizer_from_an_earlier_request_decides_the_policy() -> None:
    found = graph(thing("child", "lost", finalizers=("orphan",)))
    assert judged(found, "child", absent={"lost"}).policy == "Orphan"


def test_changed_owners_move_an_object_in_the_graph() -> None:
    found = graph(thing("a"), thing("b"), thing("child", "a"))
    found.observe(THINGS, thing("child", "b"))
    assert found.dependents("a") == []
    assert [e.uid for e in found.dependents("b")] == ["child"]


def test_whatever_the_order_of_events_exactly_what_has_a_living_owner_or_none_survives() -> None:
    """Random forests, random deletions, events in random order: the survivors are those the rules name."""
    for seed in range(200):
        rng = random.Random(seed)
        owners: dict[str, list[str]] = {}
        for n in range(30):
            owners[f"u{n}"] = rng.sample(sorted(owners), min(len(owners), rng.choice([0, 0, 1, 1, 2])))
        alive = {uid: thing(uid, *found) for uid, found in owners.items()}
        events = list(alive.values())
        rng.shuffle(events)
        found, queue = Graph(), set()
        for obj in events:
            queue |= found.observe(THINGS, obj)
        for uid in rng.sample(sorted(alive), 5):
            del alive[uid]
            queue |= found.forget(uid)
        while queue:
            uid = queue.pop()
            entry = found.get(uid)
            if entry is None:
                continue
            result = judge(entry, found, lambda r, living=alive: r["uid"] not in living)  # type: ignore[misc]
            if result.action == verdict.DELETE:
                del alive[uid]
                queue |= found.forget(uid)
            elif result.action == verdict.DROP_OWNERS:
                lost = {r["uid"] for r in result.owners}
                alive[uid] = thing(uid, *(r["uid"] for r in entry.owners if r["uid"] not in lost))
                queue |= found.observe(THINGS, alive[uid])
        for uid, obj in alive.items():
            left = [r["uid"] for r in obj["metadata"].get("ownerReferences", [])]
            assert all(o in alive for o in left), f"seed {seed}: {uid} names dead owners {left}"
            assert bool(left) == bool(owners[uid]), f"seed {seed}: {uid} outlived all its owners"
