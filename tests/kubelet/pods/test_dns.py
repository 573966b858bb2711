from pathlib import Path

import pytest

from kubelet.pods.dns import ClusterDns, hosts_file, kernel_hostname, pod_dns
from tests.kubelet.making import pod


@pytest.fixture
def cluster(tmp_path: Path) -> ClusterDns:
    host = tmp_path / "resolv.conf"
    host.write_text("# the host's\nnameserver 9.9.9.9\nsearch example.com\noptions edns0\n")
    return ClusterDns(("10.96.0.10",), "cluster.local", str(host))


def test_cluster_first_asks_the_cluster_and_searches_it(cluster: ClusterDns) -> None:
    found = pod_dns(pod(), cluster)
    assert found.servers == ["10.96.0.10"]
    assert found.searches == ["default.svc.cluster.local", "svc.cluster.local", "cluster.local", "example.com"]
    assert found.options == ["ndots:5"]


def test_the_hosts_resolver_serves_default_and_pods_on_the_hosts_network(cluster: ClusterDns) -> None:
    for of in (pod(dnsPolicy="Default"), pod(hostNetwork=True, dnsPolicy="ClusterFirst")):
        found = pod_dns(of, cluster)
        assert (found.servers, found.searches, found.options) == (["9.9.9.9"], ["example.com"], ["edns0"])
    assert pod_dns(pod(hostNetwork=True, dnsPolicy="ClusterFirstWithHostNet"), cluster).servers == ["10.96.0.10"]


def test_without_a_cluster_dns_the_host_is_asked(cluster: ClusterDns) -> None:
    assert pod_dns(pod(), ClusterDns((), "cluster.local", cluster.resolv_conf)).servers == ["9.9.9.9"]


def test_a_dns_config_adds_and_overrides(cluster: ClusterDns) -> None:
    own = {
        "nameservers": ["1.1.1.1"],
        "searches": ["my.dom"],
        "options": [{"name": "ndots", "value": "2"}, {"name": "rotate"}],
    }
    found = pod_dns(pod(dnsConfig=own), cluster)
    assert found.servers == ["10.96.0.10", "1.1.1.1"]
    assert found.searches[-1] == "my.dom"
    assert found.options == ["ndots:2", "rotate"]
    alone = pod_dns(pod(dnsPolicy="None", dnsConfig=own), cluster)
    assert (alone.servers, alone.searches) == (["1.1.1.1"], ["my.dom"])


def test_the_hosts_file_names_the_pod_and_its_aliases() -> None:
    of = pod(hostname="h", subdomain="s", hostAliases=[{"ip": "1.2.3.4", "hostnames": ["a", "b"]}])
    lines = hosts_file(of, ["10.0.0.5"], "cluster.local").splitlines()
    assert lines[0] == "# Kubernetes-managed hosts file."
    assert "10.0.0.5\th.s.default.svc.cluster.local\th" in lines
    assert lines[-1] == "1.2.3.4\ta\tb"


def test_hostnames_are_labels() -> None:
    long = pod(name="x" * 62 + "-y")
    assert kernel_hostname(long, "cluster.local", "n1") == "x" * 62
    assert kernel_hostname(pod(hostNetwork=True), "cluster.local", "n1") == "n1"
    fqdn = pod(hostname="h", subdomain="s", setHostnameAsFQDN=True)
    assert kernel_hostname(fqdn, "cluster.local", "n1") == "h.s.default.svc.cluster.local"
