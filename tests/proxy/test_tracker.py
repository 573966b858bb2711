from proxy.tracker import Tracker
from tests.proxy.objects import endpoint_slice, service


def test_changes_are_told_once() -> None:
    tracker = Tracker("node")
    assert tracker.service_changed(service())
    assert tracker.take_changes() == {"default/web"}
    assert not tracker.service_changed(service())
    assert tracker.take_changes() == set()


def test_only_what_matters_to_the_proxy_is_a_change() -> None:
    tracker = Tracker("node")
    tracker.service_changed(service())
    tracker.slice_changed(endpoint_slice("web", {"": 80}, ["10.0.0.1"]))
    tracker.take_changes()
    labelled = service()
    labelled["metadata"]["labels"] = {"new": "label"}
    assert not tracker.service_changed(labelled)
    touched = endpoint_slice("web", {"": 80}, [{"addresses": ["10.0.0.1"], "targetRef": {"name": "pod"}}])
    assert not tracker.slice_changed(touched)
    assert tracker.take_changes() == set()


def test_endpoints_may_come_before_their_service() -> None:
    tracker = Tracker("node")
    assert not tracker.slice_changed(endpoint_slice("web", {"": 8080}, ["10.0.0.1"]))
    tracker.service_changed(service())
    (port,) = tracker.ports("default/web")
    assert [e.address for e in tracker.endpoints("default/web", port)] == ["10.0.0.1:8080"]


def test_slices_of_one_service_are_joined_by_port_name_and_protocol() -> None:
    tracker = Tracker("node")
    tracker.service_changed(
        service(ports=[{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}])
    )
    tracker.slice_changed(endpoint_slice("web", {"http": 8080}, ["10.0.0.1"], name="one"))
    tracker.slice_changed(endpoint_slice("web", {"http": 8080, "dns": (53, "UDP")}, ["10.0.0.2"], name="two"))
    http, dns = tracker.ports("default/web")
    assert [e.address for e in tracker.endpoints("default/web", http)] == ["10.0.0.1:8080", "10.0.0.2:8080"]
    assert [e.address for e in tracker.endpoints("default/web", dns)] == ["10.0.0.2:53"]
    tracker.take_changes()
    assert tracker.slice_deleted(endpoint_slice("web", {}, [], name="one"))
    assert tracker.take_changes() == {"default/web"}
    assert [e.address for e in tracker.endpoints("default/web", http)] == ["10.0.0.2:8080"]


def test_a_service_that_loses_its_address_is_gone() -> None:
    tracker = Tracker("node")
    tracker.service_changed(service())
    tracker.take_changes()
    assert tracker.service_changed(service(cluster_ip="None"))
    assert tracker.take_changes() == {"default/web"}
    assert tracker.services() == set()
    assert not tracker.service_deleted(service())


def test_slices_that_belong_to_no_service_are_ignored() -> None:
    tracker = Tracker("node")
    orphan = endpoint_slice("web", {"": 80}, ["10.0.0.1"])
    orphan["metadata"]["labels"] = {}
    assert not tracker.slice_changed(orphan)
    assert not tracker.slice_deleted(orphan)
