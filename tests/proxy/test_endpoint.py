from typing import Any

from proxy.endpoint import Endpoint, categorize, merged, slice_endpoints
from proxy.service import ServicePort
from tests.proxy.objects import endpoint_slice

CLUSTER = ServicePort("default/web", "", "tcp", "10.96.0.10", 80)
INTERNAL_LOCAL = ServicePort("default/web", "", "tcp", "10.96.0.10", 80, internal_local=True)
EXTERNAL_LOCAL = ServicePort("default/web", "", "tcp", "10.96.0.10", 80, node_port=30080, external_local=True)


def endpoint(ip: str, *, local: bool = False, ready: bool = True, leaving: bool = False, **more: Any) -> Endpoint:
    return Endpoint(ip, 80, local, ready and not leaving, ready or leaving, leaving, **more)


def ips(endpoints: list[Endpoint]) -> list[str]:
    return [e.ip for e in endpoints]


def test_conditions_that_are_not_told_mean_ready() -> None:
    found = slice_endpoints(endpoint_slice("web", {"": 80}, ["10.0.0.1"]), "node")
    assert found == {("", "tcp"): [Endpoint("10.0.0.1", 80, False, True, True, False)]}


def test_an_endpoint_is_local_when_it_is_on_our_node() -> None:
    entries = [{"addresses": ["10.0.0.1"], "nodeName": "node"}, {"addresses": ["10.0.0.2"], "nodeName": "other"}]
    found = slice_endpoints(endpoint_slice("web", {"": 80}, entries), "node")
    assert [e.local for e in found["", "tcp"]] == [True, False]


def test_slices_of_other_address_families_are_left_alone() -> None:
    six = endpoint_slice("web", {"": 80}, ["fd00::1"]) | {"addressType": "IPv6"}
    assert slice_endpoints(six, "node") == {}


def test_an_endpoint_in_two_slices_counts_once_and_ready_wins() -> None:
    both = merged([[endpoint("10.0.0.2", ready=False), endpoint("10.0.0.10")], [endpoint("10.0.0.2")]])
    assert [(e.ip, e.ready) for e in both] == [("10.0.0.2", True), ("10.0.0.10", True)]


def test_only_ready_endpoints_serve_while_there_are_any() -> None:
    found = categorize([endpoint("a"), endpoint("b", ready=False), endpoint("c", leaving=True)], CLUSTER)
    assert (ips(found.cluster), found.local, found.any) == (["a"], [], True)


def test_endpoints_that_end_serve_when_there_is_no_other() -> None:
    found = categorize([endpoint("b", ready=False), endpoint("c", leaving=True)], CLUSTER)
    assert (ips(found.cluster), found.any) == (["c"], True)


def test_internal_policy_local_knows_that_there_are_endpoints_elsewhere() -> None:
    found = categorize([endpoint("a")], INTERNAL_LOCAL)
    assert (found.cluster, found.local, found.any) == ([], [], True)
    assert not categorize([endpoint("a", ready=False)], INTERNAL_LOCAL).any


def test_external_policy_local_prefers_ready_local_endpoints_and_falls_back_to_those_that_end() -> None:
    ready, leaving = endpoint("a", local=True), endpoint("b", local=True, leaving=True)
    assert ips(categorize([ready, leaving], EXTERNAL_LOCAL).local) == ["a"]
    found = categorize([leaving, endpoint("c")], EXTERNAL_LOCAL)
    assert (ips(found.local), ips(found.cluster), ips(found.reachable)) == (["b"], ["c"], ["c", "b"])


def test_zone_hints_count_only_when_every_endpoint_has_them_and_one_is_for_us() -> None:
    here, there = endpoint("a", zones=frozenset({"z1"})), endpoint("b", zones=frozenset({"z2"}))
    assert ips(categorize([here, there], CLUSTER, "z1").cluster) == ["a"]
    assert ips(categorize([here, there], CLUSTER, "z3").cluster) == ["a", "b"]
    assert ips(categorize([here, endpoint("c")], CLUSTER, "z1").cluster) == ["a", "c"]
    assert ips(categorize([here, there], CLUSTER).cluster) == ["a", "b"]
