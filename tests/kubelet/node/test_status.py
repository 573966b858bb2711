from typing import Any

from kubelet.cri.api import Image
from kubelet.node import status
from kubelet.node.machine import Machine, Room, inspect, room

MACHINE = Machine("m", "u", "b", "6.1", "Debian", "amd64", 4, 8 << 30, 100 << 30)


def made_room(**available: int) -> Room:
    names = {"memory": "memory.available", "disk": "nodefs.available", "pids": "pid.available"}
    return Room({names[k]: v for k, v in available.items()}, {names[k]: 1000 for k in available})


def test_capacity_is_what_the_machine_has_and_allocatable_a_little_less() -> None:
    capacity, allocatable = status.capacity(MACHINE, 110), status.allocatable(MACHINE, 110)
    assert capacity["cpu"] == allocatable["cpu"] == "4"
    assert capacity["memory"] == f"{8 << 20}Ki"
    assert allocatable["memory"] == f"{(8 << 20) - (100 << 10)}Ki"
    assert allocatable["ephemeral-storage"] == str((100 << 30) * 9 // 10)
    assert capacity["pods"] == "110"


def test_pressure_begins_below_the_threshold() -> None:
    thresholds = {"memory.available": "500", "nodefs.available": "10%", "pid.available": "5%"}

    def pressed(room_: Room) -> list[str]:
        return [c["type"] for c in status.pressures(room_, thresholds) if c["status"] == "True"]

    assert pressed(made_room(memory=500, disk=100, pids=50)) == []
    assert pressed(made_room(memory=499, disk=100, pids=50)) == ["MemoryPressure"]
    assert pressed(made_room(memory=500, disk=99, pids=49)) == ["DiskPressure", "PIDPressure"]


def test_a_node_is_ready_when_nothing_speaks_against_it() -> None:
    assert status.ready([])["reason"] == "KubeletReady"
    one = status.ready(["container runtime is down"])
    assert (one["status"], one["reason"], one["message"]) == ("False", "KubeletNotReady", "container runtime is down")
    assert status.ready(["a", "b"])["message"] == "[a, b]"


def test_heartbeats_move_and_transitions_only_with_the_status() -> None:
    first = status.with_conditions([], [status.ready(["x"])], "t1")
    second = status.with_conditions(first, [status.ready(["y"])], "t2")
    third = status.with_conditions(second, [status.ready([])], "t3")
    times = [(c[0]["lastHeartbeatTime"], c[0]["lastTransitionTime"]) for c in (first, second, third)]
    assert times == [("t1", "t1"), ("t2", "t1"), ("t3", "t3")]


def test_conditions_of_others_are_kept() -> None:
    other = {"type": "NetworkUnavailable", "status": "False"}
    assert other in status.with_conditions([other], [status.ready([])], "t")


def test_a_heartbeat_alone_is_no_change() -> None:
    def of(**fields: Any) -> dict[str, Any]:
        return {"conditions": [{"type": "Ready", "status": "True", **fields}]}

    assert not status.changed(of(lastHeartbeatTime="t1"), of(lastHeartbeatTime="t2"))
    assert status.changed(of(reason="a"), of(reason="b"))


def test_the_largest_images_are_named() -> None:
    found = status.images([Image("1", ["small:1"], [], 1), Image("2", ["big:1"], ["big@x"], 9), Image("3", [], [], 99)])
    assert found == [{"names": ["big@x", "big:1"], "sizeBytes": 9}, {"names": ["small:1"], "sizeBytes": 1}]


def test_this_machine_can_be_inspected(tmp_path: Any) -> None:
    machine = inspect(tmp_path)
    assert machine.cpus > 0
    assert machine.memory > 1 << 20
    assert machine.kernel
    left = room(tmp_path)
    assert 0 < left.available["memory.available"] <= left.capacity["memory.available"] == machine.memory
    assert left.available["pid.available"] > 0
