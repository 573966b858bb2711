from typing import Any

from kubeclient import Informer
from scheduler.pod import PodInfo
from scheduler.workloads import WorkloadSelectors
from tests.scheduler.objects import info, pod

Object = dict[str, Any]


def informer(*objects: Object) -> Informer:
    """One that has listed these."""
    made = Informer(None)  # type: ignore[arg-type]
    for obj in objects:
        obj["metadata"].setdefault("namespace", "default")
        obj["metadata"]["resourceVersion"] = "1"
        made._apply("ADDED", obj)
    return made


def service(name: str, **selector: str) -> Object:
    return {"metadata": {"name": name, "uid": name}, "spec": {"selector": selector}}


def owned(kind: str, api_version: str, name: str, **labels: str) -> PodInfo:
    made = pod("p", labels=labels)
    reference = {"kind": kind, "apiVersion": api_version, "name": name, "controller": True}
    made["metadata"]["ownerReferences"] = [reference]
    return PodInfo(made)


def test_services_that_select_the_pod_say_who_belongs_with_it() -> None:
    workloads = WorkloadSelectors(informer(service("web", app="web"), service("db", app="db")), {})
    selector = workloads.selector(info("p", labels={"app": "web", "tier": "front"}))
    assert str(selector) == "app=web"
    assert workloads.selector(info("p", labels={"app": "other"})) is None
    assert workloads.selector(info("p", labels={"app": "web"}, namespace="elsewhere")) is None


def test_the_owners_selector_counts_too() -> None:
    sets = informer(
        {"metadata": {"name": "web-1", "uid": "x"}, "spec": {"selector": {"matchLabels": {"app": "web", "hash": "1"}}}}
    )
    workloads = WorkloadSelectors(informer(service("web", app="web")), {("apps", "ReplicaSet"): sets})
    mine = owned("ReplicaSet", "apps/v1", "web-1", app="web", hash="1")
    selector = workloads.selector(mine)
    assert selector is not None
    assert selector.matches({"app": "web", "hash": "1"})
    assert not selector.matches({"app": "web", "hash": "2"})
    assert str(workloads.selector(owned("ReplicaSet", "apps/v1", "gone", app="web"))) == "app=web"


def test_a_replication_controllers_selector_is_a_plain_map() -> None:
    controllers = informer({"metadata": {"name": "rc", "uid": "x"}, "spec": {"selector": {"app": "web"}}})
    workloads = WorkloadSelectors(informer(), {("", "ReplicationController"): controllers})
    assert str(workloads.selector(owned("ReplicationController", "v1", "rc", app="web"))) == "app=web"


def test_owners_that_are_unknown_to_the_scheduler_select_nothing() -> None:
    assert WorkloadSelectors(informer(), {}).selector(owned("Job", "batch/v1", "j", app="web")) is None
