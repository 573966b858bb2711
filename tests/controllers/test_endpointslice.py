import copy
import random
from typing import Any

from apimachinery import meta
from controllers import endpoints, endpointslice
from controllers.endpointslice import MAX_ENDPOINTS, Changes, desired, reconcile
from tests.controllers.objects import metadata, pod, service

Object = dict[str, Any]


def many(count: int) -> list[Object]:
    return [pod(f"web-{n}", ip=f"10.1.{n // 250}.{n % 250}") for n in range(count)]


def apply(slices: list[Object], changes: Changes) -> list[Object]:
    by_uid = {meta.uid(s): s for s in slices}
    for piece in changes.create:
        about = metadata("made")
        by_uid[about["uid"]] = {**piece, "metadata": {**about, **piece["metadata"], "name": about["uid"]}}
    for piece in changes.update:
        by_uid[meta.uid(piece)] = piece
    for piece in changes.delete:
        del by_uid[meta.uid(piece)]
    return list(by_uid.values())


def addresses(slices: list[Object]) -> list[str]:
    return sorted(e["addresses"][0] for s in slices for e in s["endpoints"])


def test_an_endpoint_tells_where_the_pod_is_and_how_it_does() -> None:
    found = endpointslice.endpoint(pod(), "10.0.0.1", service(), {"node-1": "zone-a"})
    assert found["conditions"] == {"ready": True, "serving": True, "terminating": False}
    assert (found["nodeName"], found["zone"]) == ("node-1", "zone-a")
    assert found["targetRef"]["name"] == "web-1"
    leaving = endpointslice.endpoint(pod(deleting=True), "10.0.0.1", service(), {})
    assert leaving["conditions"] == {"ready": False, "serving": True, "terminating": True}
    unready = pod(ready=False)
    published = endpointslice.endpoint(unready, "10.0.0.1", service(publishNotReadyAddresses=True), {})
    assert published["conditions"] == {"ready": True, "serving": False, "terminating": False}


def test_a_service_without_endpoints_has_one_empty_slice() -> None:
    (piece,) = reconcile(service(), [], desired(service(), [], {})).create
    assert piece["endpoints"] == []
    assert piece["metadata"]["labels"] == {
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }


def test_no_slice_holds_more_than_a_hundred() -> None:
    slices = apply([], reconcile(service(), [], desired(service(), many(250), {})))
    assert sorted(len(s["endpoints"]) for s in slices) == [50, 100, 100]


def test_one_changed_pod_changes_one_slice() -> None:
    owner, members = service(), many(250)
    slices = apply([], reconcile(owner, [], desired(owner, members, {})))
    members[120] = copy.deepcopy(members[120])
    members[120]["status"]["conditions"][0]["status"] = "False"
    changes = reconcile(owner, slices, desired(owner, members, {}))
    assert (len(changes.create), len(changes.update), len(changes.delete)) == (0, 1, 0)
    nothing = reconcile(owner, apply(slices, changes), desired(owner, members, {}))
    assert nothing == Changes()


def test_slices_converge_to_the_pods_through_any_history() -> None:
    random.seed(7)
    owner, everybody = service(), many(400)
    slices: list[Object] = []
    for _ in range(60):
        members = random.sample(everybody, random.choice([0, 1, 40, 150, 390]))
        slices = apply(slices, reconcile(owner, slices, desired(owner, members, {})))
        assert addresses(slices) == sorted(p["status"]["podIP"] for p in members)
        assert all(len(s["endpoints"]) <= MAX_ENDPOINTS for s in slices)
        assert len(slices) >= 1
        assert reconcile(owner, slices, desired(owner, members, {})) == Changes()


def test_pods_with_different_numbers_behind_a_named_port_live_in_different_slices() -> None:
    owner = service(ports=[{"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP"}])

    def offering(name: str, number: int, ip: str) -> Object:
        ports = [{"name": "web", "containerPort": number}]
        return pod(name, ip=ip, spec={"containers": [{"name": "c", "image": "i", "ports": ports}]})

    members = [offering("a", 8080, "10.0.0.1"), offering("b", 9090, "10.0.0.2")]
    slices = apply([], reconcile(owner, [], desired(owner, members, {})))
    assert sorted(s["ports"][0]["port"] for s in slices) == [8080, 9090]


def test_ended_pods_and_pods_without_an_address_are_no_endpoints() -> None:
    members = [pod("ended", phase="Succeeded", ip="10.0.0.1"), pod("new", ip="")]
    assert desired(service(), members, {}) == {("IPv4", ()): {}}


def test_a_dual_stack_service_has_slices_of_both_families() -> None:
    owner = service(ipFamilies=["IPv4", "IPv6"])
    both = pod()
    both["status"]["podIPs"] = [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]
    slices = apply([], reconcile(owner, [], desired(owner, [both], {})))
    assert {s["addressType"]: s["endpoints"][0]["addresses"] for s in slices} == {
        "IPv4": ["10.0.0.1"],
        "IPv6": ["fd00::1"],
    }


def test_a_change_of_the_services_labels_reaches_its_slices() -> None:
    owner = service()
    slices = apply([], reconcile(owner, [], desired(owner, [pod()], {})))
    owner["metadata"]["labels"] = {"team": "shop"}
    (piece,) = reconcile(owner, slices, desired(owner, [pod()], {})).update
    assert piece["metadata"]["labels"]["team"] == "shop"


# --- Endpoints, the older form


def test_subsets_part_ready_from_unready_addresses() -> None:
    members = [pod("b", ip="10.0.0.2"), pod("a", ip="10.0.0.1"), pod("c", ip="10.0.0.3", ready=False)]
    (subset,), truncated = endpoints.subsets(service(), members)
    assert [a["ip"] for a in subset["addresses"]] == ["10.0.0.1", "10.0.0.2"]
    assert [a["ip"] for a in subset["notReadyAddresses"]] == ["10.0.0.3"]
    assert subset["ports"] == [{"port": 8080, "protocol": "TCP"}]
    assert not truncated


def test_endpoints_leave_out_terminating_pods() -> None:
    assert endpoints.subsets(service(), [pod(deleting=True)]) == ([], False)


def test_endpoints_stop_at_a_thousand_addresses_and_say_so() -> None:
    fresh = endpoints.wanted(service(), many(1100), None)
    assert fresh is not None
    assert len(fresh["subsets"][0]["addresses"]) == endpoints.CAPACITY
    assert fresh["metadata"]["annotations"] == {"endpoints.kubernetes.io/over-capacity": "truncated"}


def test_endpoints_that_are_right_are_left_alone() -> None:
    fresh = endpoints.wanted(service(), [pod()], None)
    assert fresh is not None
    same_pod = fresh["subsets"][0]["addresses"][0]["targetRef"]["uid"]
    again = pod()
    again["metadata"]["uid"] = same_pod
    assert endpoints.wanted(service(), [again], fresh) is None


def test_a_headless_service_without_ports_has_endpoints_all_the_same() -> None:
    headless = service(clusterIP="None", ports=[])
    fresh = endpoints.wanted(headless, [pod()], None)
    assert fresh is not None
    assert "ports" not in fresh["subsets"][0]
    assert fresh["metadata"]["labels"]["service.kubernetes.io/headless"] == ""


def test_a_pod_has_a_hostname_below_the_service_that_its_subdomain_names() -> None:
    named = pod(spec={"hostname": "db-0", "subdomain": "db"})
    assert endpoints.shown_hostname(named, service("db")) == "db-0"
    assert endpoints.shown_hostname(named, service("web")) == ""
