"""A spec, its ports, and the processes that follow from it."""

import socket
from pathlib import Path

import pytest

from cluster import ClusterError, ports
from cluster.home import Home, Reservations, machine_lock, write
from cluster.plan import API, REST, STORE, Plan, plan
from cluster.spec import Spec


def whole(**changes: object) -> Spec:
    spec = Spec("demo", **changes)  # type: ignore[arg-type]
    spec.ports = spec.preferred_ports()
    return spec


def flags_of(planned: Plan, name: str) -> dict[str, str]:
    [process] = [p for p in planned.processes if p.name == name]
    return dict(flag.removeprefix("--").split("=", 1) for flag in process.flags)


def test_a_spec_survives_its_file(tmp_path: Path) -> None:
    home = Home("demo", tmp_path)
    home.create()
    spec = whole(nodes=3, etcd=3)
    spec.save(home)
    assert Spec.load(home) == spec


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    home = Home("demo", tmp_path)
    home.create()
    write(home.spec_file, b"{")
    with pytest.raises(ClusterError, match=r"cluster\.json is damaged"):
        Spec.load(home)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"nodes": 0}, "--nodes 0"),
        ({"etcd": 2}, "--etcd 2: a store has 1, 3, 5 or 7 members"),
        ({"runtime": "podman"}, "--runtime podman"),
        ({"apiservers": 0}, "--apiservers 0"),
    ],
)
def test_nonsense_is_refused_by_the_flag_that_said_it(changes: dict[str, object], complaint: str) -> None:
    with pytest.raises(ClusterError, match=complaint):
        whole(**changes)


@pytest.mark.parametrize("name", ["", "Upper", "-x", "x-", "a/b", "..", "a" * 21, "ä"])
def test_a_name_that_cannot_be_a_folder_and_a_host_name_is_refused(name: str) -> None:
    with pytest.raises(ClusterError, match="cannot name a cluster"):
        Home(name)


def test_names_addresses_and_ports_are_distinct_in_the_largest_cluster() -> None:
    spec = whole(nodes=100, etcd=7, apiservers=9)
    planned = plan(spec, Home("demo", Path("/nowhere")))
    names = [p.name for p in planned.processes]
    assert len(set(names)) == len(names) == 7 + 9 + 2 + 200
    assert len(set(spec.ports.values())) == len(spec.ports)
    assert len({spec.node_address(n) for n in spec.node_names}) == 100
    assert all(len(spec.link(n)) <= 15 for n in spec.node_names)
    host = whole(nodes=100, bridged=False)
    assert len(set(host.ports.values())) == len(host.ports)


def test_every_member_of_the_store_knows_all_others() -> None:
    planned = plan(whole(etcd=3), Home("demo", Path("/nowhere")))
    assert flags_of(planned, "etcd-1")["initial-cluster"] == (
        "etcd-0=https://127.0.0.1:2380,etcd-1=https://127.0.0.1:2480,etcd-2=https://127.0.0.1:2580"
    )
    servers = "https://127.0.0.1:2379,https://127.0.0.1:2479,https://127.0.0.1:2579"
    assert flags_of(planned, "apiserver-0")["etcd-servers"] == servers


def test_nodes_with_a_network_of_their_own_run_inside_it() -> None:
    planned = plan(whole(nodes=2, slot=3), Home("demo", Path("/nowhere")))
    namespaces = {p.name: p.namespace for p in planned.processes}
    assert namespaces["kubelet-node-2"] == namespaces["proxy-node-2"] == "mk8s3-demo-node-2"
    assert namespaces["scheduler"] == ""
    assert flags_of(planned, "kubelet-node-2")["node-ip"] == "10.67.0.12"
    assert flags_of(planned, "proxy-node-2")["proxy-mode"] == "iptables"


def test_without_that_everything_is_on_loopback_and_forwarded_in_userspace() -> None:
    planned = plan(whole(nodes=2, bridged=False), Home("demo", Path("/nowhere")))
    assert not any(p.namespace for p in planned.processes)
    assert flags_of(planned, "proxy-node-2")["proxy-mode"] == "userspace"
    assert flags_of(planned, "kubelet-node-1")["port"] != flags_of(planned, "kubelet-node-2")["port"]


def test_the_store_comes_first_and_its_clients_before_theirs() -> None:
    tiers = {p.name: p.tier for p in plan(whole(), Home("demo", Path("/nowhere"))).processes}
    assert tiers["etcd-0"] == STORE < tiers["apiserver-0"] == API < tiers["kubelet-node-1"] == REST


def test_every_certificate_a_process_names_is_planned() -> None:
    home = Home("demo", Path("/nowhere"))
    planned = plan(whole(nodes=2, etcd=3, apiservers=2), home)
    made = {str(home.pki / r.name) for r in planned.certificates} | {str(home.pki / n) for n in ("ca", "etcd/ca", "sa")}
    for process in planned.processes:
        for flag in process.flags:
            value = flag.partition("=")[2]
            if value.startswith(str(home.pki)):
                assert value.rpartition(".")[0] in made, f"{process.name} {flag}"
    kubeconfigs = {str(home.kubeconfigs / i.file) for i in planned.identities}
    for process in planned.processes:
        for flag in process.flags:
            if flag.startswith("--kubeconfig="):
                assert flag.partition("=")[2] in kubeconfigs


def test_a_port_in_use_is_not_free_and_its_holder_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert not ports.is_free(port)
        assert "python" in ports.holder(port) or "pytest" in ports.holder(port)
        assert ports.choose(port, ()) != port
    assert ports.is_free(port)


def test_a_port_chosen_by_a_living_command_is_reserved_until_it_ends(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with open(tmp_path / "lock", "w+b") as file:
        Reservations(file.fileno()).add({6443})
        assert Reservations(file.fileno()).ports() == set(), "our own are no obstacle to us"
        import os

        monkeypatch.setattr(os, "getpid", lambda: 1)
        assert Reservations(file.fileno()).ports() == {6443}
        monkeypatch.setattr(os.path, "exists", lambda path: False)
        assert Reservations(file.fileno()).ports() == set(), "the command that chose it has ended"


def test_the_machine_lock_can_be_taken_again() -> None:
    for _ in range(2):
        with machine_lock() as reservations:
            assert isinstance(reservations.ports(), set)
