"""The plan of a Deployment, and whole rollouts played against a world that does what ReplicaSets do."""

import copy
import random
from typing import Any

import pytest

from apimachinery import meta
from controllers.deployment import revision, status, strategy, template
from controllers.deployment.plan import Plan, reconcile
from controllers.deployment.strategy import replicas_of
from tests.controllers.objects import NOW, deployment, metadata, stamp
from tests.controllers.objects import template as pod_template

Object = dict[str, Any]


class World:
    """A Deployment and its ReplicaSets; ``step`` carries out one plan, ``settle`` lets the pods follow."""

    def __init__(self, deployment: Object) -> None:
        self.deployment = deployment
        self.sets: dict[str, Object] = {}
        self.now = NOW
        self.events: list[str] = []
        self.broken: set[str] = set()

    def step(self, *, old_pods_running: bool = False) -> Plan:
        plan = reconcile(
            copy.deepcopy(self.deployment),
            [copy.deepcopy(rs) for rs in self.sets.values()],
            old_pods_running=old_pods_running,
            now=self.now,
        )
        if plan.create is not None:
            about = metadata(meta.name(plan.create), creationTimestamp=meta.format_time(self.now))
            created = {**plan.create, "metadata": {**about, **plan.create["metadata"]}, "status": {}}
            assert meta.name(created) not in self.sets
            self.sets[meta.name(created)] = created
        self.sets.update(plan.update)
        for rs in plan.delete:
            del self.sets[meta.name(rs)]
        self.deployment = plan.deployment
        self.events += [message for _, _, message in plan.events.values()]
        return plan

    def settle(self, most: int = 1000) -> int:
        """At most so many pods come or go; how many did."""
        moved = 0
        for rs in self.sets.values():
            now, wanted = rs["status"].get("replicas", 0), replicas_of(rs)
            change = max(-most, min(most, wanted - now))
            moved += abs(change)
            most -= abs(change)
            count = now + change
            image = rs["spec"]["template"]["spec"]["containers"][0]["image"]
            works = 0 if image in self.broken else count
            rs["status"] = {"replicas": count, "readyReplicas": works, "availableReplicas": works}
            rs["status"]["observedGeneration"] = 1
        return moved

    def roll(self, steps: int = 60) -> None:
        for _ in range(steps):
            self.now += 1
            self.step()
            self.settle()

    def set_image(self, image: str) -> None:
        self.deployment["spec"]["template"] = pod_template(image)
        self.deployment["metadata"]["generation"] += 1

    def total(self, field: str) -> int:
        return sum(rs["status"].get(field, 0) for rs in self.sets.values())

    def sizes(self) -> dict[str, int]:
        return {_image(rs): replicas_of(rs) for rs in self.sets.values()}


def _image(rs: Object) -> str:
    return str(rs["spec"]["template"]["spec"]["containers"][0]["image"])


def test_the_first_step_creates_a_replica_set_of_full_size() -> None:
    world = World(deployment())
    plan = world.step()
    assert plan.create is not None
    assert replicas_of(plan.create) == 3
    suffix = meta.labels(plan.create)["pod-template-hash"]
    assert meta.name(plan.create) == f"web-{suffix}"
    assert plan.create["spec"]["selector"]["matchLabels"] == {"app": "web", "pod-template-hash": suffix}
    assert plan.create["spec"]["template"]["metadata"]["labels"]["pod-template-hash"] == suffix
    assert meta.annotations(plan.create) == {
        "deployment.kubernetes.io/revision": "1",
        "deployment.kubernetes.io/desired-replicas": "3",
        "deployment.kubernetes.io/max-replicas": "4",
    }
    assert world.events == [f"Scaled up replica set web-{suffix} from 0 to 3"]


def test_a_finished_rollout_says_so_and_then_rests() -> None:
    world = World(deployment())
    world.roll()
    state = world.deployment["status"]
    assert state["observedGeneration"] == 1
    assert (state["replicas"], state["updatedReplicas"], state["availableReplicas"]) == (3, 3, 3)
    conditions = {c["type"]: (c["status"], c["reason"], c["message"]) for c in state["conditions"]}
    assert conditions == {
        "Available": ("True", "MinimumReplicasAvailable", "Deployment has minimum availability."),
        "Progressing": (
            "True",
            "NewReplicaSetAvailable",
            f'ReplicaSet "{next(iter(world.sets))}" has successfully progressed.',
        ),
    }
    before = copy.deepcopy((world.deployment, world.sets))
    plan = world.step()
    assert not plan.update
    assert plan.deployment == before[0]
    assert world.sets == before[1]


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable"), [(3, "25%", "25%"), (10, 3, 0), (10, 0, 2), (1, 0, "25%")]
)
def test_a_rollout_keeps_within_surge_and_availability_at_every_step(
    replicas: int, surge: int | str, unavailable: int | str
) -> None:
    random.seed(replicas)
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    world = World(deployment(replicas=replicas, strategy={"type": "RollingUpdate", "rollingUpdate": rolling}))
    world.roll(10)
    world.set_image("img:2")
    most = replicas + strategy.max_surge(world.deployment)
    least = replicas - strategy.max_unavailable(world.deployment)
    for _ in range(200):
        world.step()
        world.settle(random.choice([1, 2, 100]))
        assert world.total("replicas") <= most
        assert world.total("availableReplicas") >= least
    assert world.sizes() == {"img:1": 0, "img:2": replicas}
    assert status.progressing(world.deployment["status"])["reason"] == "NewReplicaSetAvailable"  # type: ignore[index]


def test_a_version_that_never_gets_ready_stops_the_rollout_and_misses_the_deadline() -> None:
    world = World(deployment(replicas=4))
    world.roll()
    world.broken.add("img:2")
    world.set_image("img:2")
    world.roll()
    assert world.sizes() == {"img:1": 3, "img:2": 2}
    plan = world.step()
    assert plan.recheck_after is not None
    world.now += plan.recheck_after
    world.step()
    condition = status.progressing(world.deployment["status"])
    assert condition is not None
    assert (condition["status"], condition["reason"]) == ("False", "ProgressDeadlineExceeded")


def test_old_pods_that_fall_ill_stay_while_the_new_ones_are_not_available() -> None:
    rolling = {"maxSurge": 3, "maxUnavailable": 2}
    world = World(deployment(replicas=10, strategy={"type": "RollingUpdate", "rollingUpdate": rolling}))
    world.roll()
    world.broken.add("img:2")
    world.set_image("img:2")
    world.roll()
    old = next(rs for rs in world.sets.values() if _image(rs) == "img:1")
    old["status"].update(readyReplicas=5, availableReplicas=5)
    world.step()
    assert world.sizes() == {"img:1": 8, "img:2": 5}, "they may recover sooner than the new version"


def test_undo_raises_the_revision_of_the_old_replica_set_and_remembers_the_former() -> None:
    world = World(deployment())
    world.roll()
    world.set_image("img:2")
    world.roll()
    assert meta.annotations(world.deployment)[revision.REVISION] == "2"
    world.set_image("img:1")
    world.roll()
    assert len(world.sets) == 2
    by_image = {_image(rs): meta.annotations(rs) for rs in world.sets.values()}
    assert by_image["img:1"][revision.REVISION] == "3"
    assert by_image["img:1"][revision.HISTORY] == "1"
    assert by_image["img:2"][revision.REVISION] == "2"
    assert world.sizes() == {"img:1": 3, "img:2": 0}


def test_old_replica_sets_beyond_the_history_limit_are_forgotten() -> None:
    world = World(deployment(revisionHistoryLimit=2))
    for number in range(1, 7):
        world.set_image(f"img:{number}")
        world.roll()
    assert set(world.sizes()) == {"img:4", "img:5", "img:6"}


def test_a_paused_deployment_scales_but_does_not_roll() -> None:
    world = World(deployment())
    world.roll()
    world.deployment["spec"]["paused"] = True
    world.set_image("img:2")
    world.deployment["spec"]["replicas"] = 5
    world.roll(5)
    assert world.sizes() == {"img:1": 5}
    assert status.progressing(world.deployment["status"])["reason"] == "DeploymentPaused"  # type: ignore[index]
    world.deployment["spec"]["paused"] = False
    world.roll()
    assert world.sizes() == {"img:1": 0, "img:2": 5}


def test_scaling_in_mid_rollout_is_shared_in_proportion() -> None:
    rolling = {"maxSurge": 3, "maxUnavailable": 2}
    world = World(deployment(replicas=10, strategy={"type": "RollingUpdate", "rollingUpdate": rolling}))
    world.roll()
    world.broken.add("img:2")
    world.set_image("img:2")
    world.roll()
    assert world.sizes() == {"img:1": 8, "img:2": 5}
    world.deployment["spec"]["replicas"] = 15
    world.step()
    # Upstream documents this very case: three more for the bigger, two for the smaller.
    assert world.sizes() == {"img:1": 11, "img:2": 7}


def test_recreate_waits_until_the_last_old_pod_has_ended() -> None:
    world = World(deployment(strategy={"type": "Recreate"}))
    world.roll()
    world.set_image("img:2")
    world.step()
    assert world.sizes() == {"img:1": 0}
    world.settle()
    world.step(old_pods_running=True)
    assert world.sizes() == {"img:1": 0}
    world.step()
    assert world.sizes() == {"img:1": 0, "img:2": 3}


def test_scaling_to_zero_and_back_works_without_a_rollout() -> None:
    world = World(deployment())
    world.roll()
    for size in (0, 4):
        world.deployment["spec"]["replicas"] = size
        world.roll(5)
        assert world.sizes() == {"img:1": size}
    assert len(world.sets) == 1


def test_the_new_replica_set_inherits_annotations_but_not_bookkeeping() -> None:
    wanted = deployment()
    wanted["metadata"]["annotations"] = {
        "kubernetes.io/change-cause": "first",
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
    }
    world = World(wanted)
    world.step()
    (rs,) = world.sets.values()
    assert meta.annotations(rs)["kubernetes.io/change-cause"] == "first"
    assert "kubectl.kubernetes.io/last-applied-configuration" not in meta.annotations(rs)


def test_a_failure_of_the_replica_set_shows_on_the_deployment() -> None:
    world = World(deployment())
    world.step()
    (rs,) = world.sets.values()
    rs["status"] = {
        "conditions": [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "no"}]
    }
    world.step()
    failure = meta.get_condition(world.deployment, "ReplicaFailure")
    assert failure is not None
    assert failure["reason"] == "FailedCreate"


def test_a_deleted_deployment_only_reports() -> None:
    world = World(deployment())
    world.roll()
    world.deployment["metadata"]["deletionTimestamp"] = stamp()
    world.set_image("img:2")
    plan = world.step()
    assert plan.create is None
    assert not plan.update


def test_templates_are_equal_whatever_is_left_empty_in_one_of_them() -> None:
    a, b = pod_template(), pod_template()
    b["metadata"]["creationTimestamp"] = None
    b["spec"]["containers"][0]["env"] = []
    b["metadata"]["labels"]["pod-template-hash"] = "abc"
    assert template.equal(a, b)
    b["spec"]["containers"][0]["env"] = [{"name": "A", "value": "1"}]
    assert not template.equal(a, b)


def test_hashes_differ_by_template_and_by_collision_and_are_safe_names() -> None:
    hashes = {template.compute_hash(pod_template(f"img:{n}"), None) for n in range(200)}
    assert len(hashes) == 200
    assert template.compute_hash(pod_template(), 1) != template.compute_hash(pod_template(), None)
    assert all(set(h) <= set("bcdfghjklmnpqrstvwxz2456789") for h in hashes)


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"),
    [(10, "25%", "25%", (3, 2)), (1, "25%", "25%", (1, 0)), (4, 0, "10%", (0, 1)), (5, "100%", "100%", (5, 5))],
)
def test_surge_rounds_up_and_unavailability_down(
    replicas: int, surge: int | str, unavailable: int | str, expected: tuple[int, int]
) -> None:
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    found = deployment(replicas=replicas, strategy={"type": "RollingUpdate", "rollingUpdate": rolling})
    assert (strategy.max_surge(found), strategy.max_unavailable(found)) == expected
