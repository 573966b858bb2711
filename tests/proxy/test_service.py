import pytest

from proxy.service import service_ports
from tests.proxy.objects import Object, service


def test_a_plain_service() -> None:
    (port,) = service_ports(service())
    assert (port.name, port.port_name, port.protocol, port.cluster_ip, port.port) == (
        "default/web",
        "",
        "tcp",
        "10.96.0.10",
        80,
    )


def test_each_port_is_one_of_its_own() -> None:
    ports = [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53}]
    assert [(p.name, p.protocol) for p in service_ports(service(ports=ports))] == [
        ("default/web:dns", "udp"),
        ("default/web:dns-tcp", "tcp"),
    ]


def labelled(key: str) -> Object:
    made = service()
    made["metadata"]["labels"] = {key: ""}
    return made


@pytest.mark.parametrize(
    "obj",
    [
        service(cluster_ip="None"),
        service(cluster_ip=""),
        service(type="ExternalName", externalName="example.com"),
        service(cluster_ip="fd00::10", clusterIPs=["fd00::10"]),
        labelled("service.kubernetes.io/service-proxy-name"),
        labelled("service.kubernetes.io/headless"),
    ],
)
def test_what_has_no_address_for_us_is_not_proxied(obj: Object) -> None:
    assert service_ports(obj) == []


def test_the_ipv4_address_of_a_dual_stack_service_is_proxied() -> None:
    (port,) = service_ports(service(cluster_ip="fd00::10", clusterIPs=["fd00::10", "10.96.0.10"]))
    assert port.cluster_ip == "10.96.0.10"


def test_node_ports_left_over_from_another_type_do_not_count() -> None:
    ports = [{"port": 80, "nodePort": 30080}]
    assert service_ports(service(ports=ports))[0].node_port == 0
    assert service_ports(service(ports=ports, type="NodePort"))[0].node_port == 30080


def test_affinity_lasts_three_hours_unless_told_otherwise() -> None:
    assert service_ports(service(sessionAffinity="ClientIP"))[0].affinity_seconds == 10800
    config = {"clientIP": {"timeoutSeconds": 60}}
    assert service_ports(service(sessionAffinity="ClientIP", sessionAffinityConfig=config))[0].affinity_seconds == 60
    assert service_ports(service(sessionAffinity="None"))[0].affinity_seconds == 0


def test_an_invalid_source_range_is_left_out() -> None:
    obj = service(type="LoadBalancer", loadBalancerSourceRanges=["10.0.0.1/8 ", "nonsense", "fd00::/8"])
    assert service_ports(obj)[0].source_ranges == ("10.0.0.0/8",)
