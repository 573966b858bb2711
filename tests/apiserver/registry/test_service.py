"""Services: defaults, rules, what stays allocated, and the row."""

# Tables of upstream's messages read best with one on a line.
# ruff: noqa: E501

from typing import Any

import pytest

from apiserver.registry.service_rules import wants_cluster_ip, wants_health_check_port, wants_node_ports
from tests.apiserver.registry.made import create, refusals, row, service, update, update_refusals


def allocated(**spec: Any) -> dict[str, Any]:
    made = create(service(**spec))
    if wants_cluster_ip(made["spec"]):
        made["spec"] |= {"clusterIP": "10.96.0.5", "clusterIPs": ["10.96.0.5"]}
    if wants_node_ports(made["spec"]):
        for i, port in enumerate(made["spec"]["ports"]):
            port.setdefault("nodePort", 30000 + i)
    return made


def test_defaults() -> None:
    assert create(service())["spec"] == {
        "ports": [{"port": 80, "targetPort": 80, "protocol": "TCP"}],
        "selector": {"app": "web"},
        "sessionAffinity": "None",
        "type": "ClusterIP",
        "internalTrafficPolicy": "Cluster",
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
    }
    balanced = create(service(type="LoadBalancer"))["spec"]
    assert (balanced["externalTrafficPolicy"], balanced["allocateLoadBalancerNodePorts"]) == ("Cluster", True)
    sticky = create(service(sessionAffinity="ClientIP"))["spec"]
    assert sticky["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10800}}
    assert create(service())["status"] == {"loadBalancer": {}}


def test_a_headless_service_without_selector_may_have_both_families() -> None:
    headless = service(clusterIP="None")
    assert create(headless)["spec"]["ipFamilies"] == ["IPv4"]
    del headless["spec"]["selector"]
    spec = create(headless)["spec"]
    assert (spec["ipFamilies"], spec["ipFamilyPolicy"]) == (["IPv4", "IPv6"], "RequireDualStack")
    assert spec["clusterIPs"] == ["None"]


@pytest.mark.parametrize(
    ("spec", "address", "node_ports", "health"),
    [
        ({"type": "ClusterIP"}, True, False, False),
        ({"type": "ClusterIP", "clusterIP": "None"}, False, False, False),
        ({"type": "NodePort"}, True, True, False),
        ({"type": "LoadBalancer"}, True, True, False),
        ({"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False}, True, False, False),
        ({"type": "LoadBalancer", "externalTrafficPolicy": "Local"}, True, True, True),
        ({"type": "ExternalName"}, False, False, False),
    ],
)
def test_what_a_service_wants(spec: dict[str, Any], address: bool, node_ports: bool, health: bool) -> None:
    assert wants_cluster_ip(spec) is address
    assert wants_node_ports(spec) is node_ports
    assert wants_health_check_port(spec) is health


TWO = [{"name": "a", "port": 80}, {"name": "b", "port": 81}]


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"ports": []}, "spec.ports: Required value"),
        ({"ports": [{"port": 80}, {"port": 81}]}, "spec.ports[0].name: Required value"),
        ({"ports": [{"name": "a", "port": 80}, {"name": "a", "port": 81}]}, 'spec.ports[1].name: Duplicate value: "a"'),
        ({"ports": [{"port": 0}]}, "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"),
        ({"ports": [{"port": 80, "targetPort": "Bad Port"}]}, 'spec.ports[0].targetPort: Invalid value: "Bad Port": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)'),
        ({"ports": [{"port": 80, "nodePort": 30080}]}, "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"),
        ({"type": "Magic"}, 'spec.type: Unsupported value: "Magic": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"'),
        ({"type": "ExternalName"}, "spec.externalName: Required value"),
        ({"type": "NodePort", "clusterIP": "None"}, "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"),
        ({"sessionAffinity": "Cookie"}, 'spec.sessionAffinity: Unsupported value: "Cookie": supported values: "ClientIP", "None"'),
        ({"clusterIP": "10.0.0.300"}, 'spec.clusterIPs[0]: Invalid value: "10.0.0.300": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'),
        ({"externalTrafficPolicy": "Local"}, 'spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services'),
        ({"externalIPs": ["127.0.0.1"]}, 'spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)'),
        ({"selector": {"a b": "c"}}, None),
    ],
)  # fmt: skip
def test_rules(spec: dict[str, Any], why: str | None) -> None:
    found = refusals(service(**spec))
    assert why in found if why else found[0].startswith('spec.selector: Invalid value: "a b": name part')


def test_names_start_with_a_letter() -> None:
    named = service()
    named["metadata"]["name"] = "1a"
    assert refusals(named)[0].startswith('metadata.name: Invalid value: "1a": a DNS-1035 label must consist of')


def test_the_same_port_twice_is_a_duplicate_but_not_over_another_protocol() -> None:
    create(service(ports=[{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53}]))
    found = refusals(service(ports=[{"name": "a", "port": 53}, {"name": "b", "port": 53}]))
    assert found[0].startswith('spec.ports[1]: Duplicate value: core.ServicePort{Name:"", Protocol:"TCP"')


def test_an_update_that_leaves_out_what_was_allocated_keeps_it() -> None:
    made = allocated(type="NodePort", ports=TWO)
    again = update(made, spec__clusterIP=None, spec__clusterIPs=None, spec__ports=TWO, spec__ipFamilies=None)
    assert again["spec"] == made["spec"]


def test_a_cluster_ip_is_for_life() -> None:
    made = allocated()
    assert update_refusals(made, spec__clusterIP="10.96.0.6", spec__clusterIPs=["10.96.0.6"]) == [
        'spec.clusterIPs[0]: Invalid value: []string{"10.96.0.6"}: may not change once set'
    ]
    # an old client that only knows the single field
    assert update_refusals(made, spec__clusterIP="10.96.0.6") == [
        'spec.clusterIPs[0]: Invalid value: []string{"10.96.0.6"}: may not change once set'
    ]


def test_changing_the_type_clears_what_only_the_old_one_had() -> None:
    spec = update(allocated(type="NodePort"), spec__type="ClusterIP")["spec"]
    assert "nodePort" not in spec["ports"][0]
    assert "externalTrafficPolicy" not in spec
    assert spec["clusterIP"] == "10.96.0.5"
    alias = update(allocated(), spec__type="ExternalName", spec__externalName="example.com")["spec"]
    assert not {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"} & alias.keys()


def test_rows() -> None:
    assert row(allocated()) == ["web", "ClusterIP", "10.96.0.5", "<none>", "80/TCP", "60s", "app=web"]
    node_port = allocated(type="NodePort", ports=TWO)
    assert row(node_port)[4] == "80:30000/TCP,81:30001/TCP"
    assert row(create(service(clusterIP="None")))[2] == "None"
    assert row(create(service(type="ExternalName", externalName="example.com")))[2:5] == [
        "<none>",
        "example.com",
        "80/TCP",
    ]
    balancer = allocated(type="LoadBalancer")
    assert row(balancer)[3] == "<pending>"
    balancer["status"] = {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}
    assert row(balancer)[3] == "1.2.3.4"
