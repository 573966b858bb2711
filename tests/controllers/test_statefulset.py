"""The plan of a StatefulSet, played against pods that follow it."""

import copy
from typing import Any

from apimachinery import meta
from controllers.revisions import obsolete
from controllers.statefulset import identity
from controllers.statefulset.plan import Plan, reconcile
from tests.controllers.objects import NOW, metadata, pod, template

Object = dict[str, Any]


def stateful_set(replicas: int = 3, **spec: Any) -> Object:
    body = {
        "replicas": replicas,
        "serviceName": "db",
        "selector": {"matchLabels": {"app": "db"}},
        "template": template(labels={"app": "db"}),
        **spec,
    }
    about = metadata("db")
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": about, "spec": body, "status": {}}


class World:
    def __init__(self, owner: Object) -> None:
        self.owner, self.pods = owner, {}  # type: tuple[Object, dict[int, Object]]
        self.current, self.update = "r1", "r1"
        self.history: list[str] = []

    def step(self) -> Plan:
        plan = reconcile(copy.deepcopy(self.owner), list(self.pods.values()), self.current, self.update, NOW)
        for gone in plan.delete:
            ordinal = identity.ordinal_of(self.owner, gone)
            assert ordinal is not None
            del self.pods[ordinal]
            self.history.append(f"-{ordinal}")
        for ordinal, revision in plan.create:
            self.add(ordinal, revision)
            self.history.append(f"+{ordinal}")
        self.current = plan.status["currentRevision"]
        return plan

    def add(self, ordinal: int, revision: str, **facts: Any) -> None:
        labels = {"app": "db", "controller-revision-hash": revision}
        self.pods[ordinal] = pod(f"db-{ordinal}", labels=labels, **facts)

    def run(self, steps: int = 20) -> "World":
        for _ in range(steps):
            self.step()
        return self


def test_pods_come_in_order_and_go_in_reverse() -> None:
    world = World(stateful_set()).run()
    assert world.history == ["+0", "+1", "+2"]
    world.owner["spec"]["replicas"] = 1
    world.run()
    assert world.history[3:] == ["-2", "-1"]


def test_no_pod_is_started_while_an_earlier_one_is_not_ready() -> None:
    world = World(stateful_set())
    world.step()
    world.add(0, "r1", ready=False)
    assert world.step().create == []


def test_parallel_sets_do_not_wait() -> None:
    world = World(stateful_set(podManagementPolicy="Parallel"))
    world.step()
    assert sorted(world.pods) == [0, 1, 2]


def test_an_update_goes_from_the_highest_ordinal_one_by_one() -> None:
    world = World(stateful_set()).run()
    world.history.clear()
    world.update = "r2"
    world.run()
    assert world.history == ["-2", "+2", "-1", "+1", "-0", "+0"]
    assert world.current == "r2"


def test_an_update_stops_at_a_pod_that_does_not_get_ready() -> None:
    world = World(stateful_set()).run()
    world.update = "r2"
    world.step()
    world.step()
    world.add(2, "r2", ready=False)
    world.history.clear()
    world.run(3)
    assert world.history == []


def test_pods_below_the_partition_keep_their_version_even_when_they_are_made_anew() -> None:
    world = World(stateful_set(updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 2}})).run()
    world.update = "r2"
    world.run()
    del world.pods[0]
    world.run()
    assert {o: meta.labels(p)["controller-revision-hash"] for o, p in world.pods.items()} == {0: "r1", 1: "r1", 2: "r2"}
    assert world.current == "r1"


def test_on_delete_updates_only_what_somebody_deletes() -> None:
    world = World(stateful_set(updateStrategy={"type": "OnDelete"})).run()
    world.update = "r2"
    world.history.clear()
    world.run()
    assert world.history == []
    del world.pods[1]
    world.run()
    assert meta.labels(world.pods[1])["controller-revision-hash"] == "r2"


def test_an_ended_pod_is_replaced() -> None:
    world = World(stateful_set()).run()
    world.add(1, "r1", phase="Failed", ready=False)
    world.history.clear()
    world.run(3)
    assert world.history == ["-1", "+1"]


def test_ordinals_may_start_elsewhere() -> None:
    world = World(stateful_set(replicas=2, ordinals={"start": 5})).run()
    assert sorted(world.pods) == [5, 6]


def test_a_pod_knows_its_name_its_place_and_its_claims() -> None:
    claim = {"metadata": {"name": "data"}, "spec": {"resources": {}}}
    owner = stateful_set(volumeClaimTemplates=[claim])
    made = identity.make_pod(owner, owner["spec"]["template"], "r1", 2)
    assert meta.name(made) == "db-2"
    assert (made["spec"]["hostname"], made["spec"]["subdomain"]) == ("db-2", "db")
    assert meta.labels(made) == {
        "app": "db",
        "statefulset.kubernetes.io/pod-name": "db-2",
        "apps.kubernetes.io/pod-index": "2",
        "controller-revision-hash": "r1",
    }
    assert made["spec"]["volumes"] == [{"name": "data", "persistentVolumeClaim": {"claimName": "data-db-2"}}]
    (found,) = identity.make_claims(owner, 2)
    assert meta.name(found) == "data-db-2"
    assert "ownerReferences" not in found["metadata"]
    owner["spec"]["persistentVolumeClaimRetentionPolicy"] = {"whenDeleted": "Delete"}
    (found,) = identity.make_claims(owner, 2)
    assert found["metadata"]["ownerReferences"][0]["uid"] == meta.uid(owner)


def test_only_idle_revisions_are_forgotten_the_oldest_first() -> None:
    history = [{"metadata": {"name": f"r{n}"}, "revision": n} for n in range(5)]
    assert [meta.name(r) for r in obsolete(history, {"r0", "r4"}, 1)] == ["r1", "r2"]
