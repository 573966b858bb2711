import copy
from typing import Any

import pytest

from apimachinery.meta import get_condition
from kubelet.pods.failures import Failure
from kubelet.pods.observed import ObservedPod
from kubelet.pods.status import Inputs, generate
from kubelet.probes.results import Kind, Results
from tests.kubelet.making import container, observed, pod, run, sandbox

Object = dict[str, Any]
PROBE = {"exec": {"command": ["true"]}}
NOW = "2026-01-02T03:04:05Z"


def status(of: Object, seen: ObservedPod, **fields: Any) -> Object:
    inputs = Inputs(now=NOW, host_ips=["192.168.0.1"], runtime="fake", probes=fields.pop("probes", Results()), **fields)
    return generate(of, seen, inputs)


def condition(found: Object, name: str) -> tuple[str, str]:
    entry = get_condition({"status": found}, name)
    assert entry is not None
    return entry["status"], entry.get("reason", "")


def test_a_new_pod_is_pending_with_containers_creating() -> None:
    of = pod("a")
    found = status(of, observed(of))
    assert found["phase"] == "Pending"
    assert found["startTime"] == NOW
    assert found["hostIP"] == "192.168.0.1"
    assert found["containerStatuses"][0]["state"] == {"waiting": {"reason": "ContainerCreating"}}
    assert condition(found, "PodReadyToStartContainers") == ("False", "")
    assert condition(found, "Ready") == ("False", "ContainersNotReady")
    assert "podIP" not in found


def test_a_running_pod_is_ready_with_its_address() -> None:
    of = pod("a")
    found = status(of, observed(of, sandbox(of), run(of, "a")))
    assert found["phase"] == "Running"
    assert found["podIP"] == "10.0.0.5"
    assert found["podIPs"] == [{"ip": "10.0.0.5"}]
    entry = found["containerStatuses"][0]
    assert entry["ready"]
    assert entry["started"]
    assert entry["containerID"] == "fake://a-0"
    for name in ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"):
        assert condition(found, name)[0] == "True"


def test_a_pod_on_the_hosts_network_has_the_nodes_address() -> None:
    of = pod("a", hostNetwork=True)
    assert status(of, observed(of, sandbox(of, ips=()), run(of, "a")))["podIP"] == "192.168.0.1"


def test_readiness_follows_the_probe() -> None:
    of = pod(container("a", readinessProbe=PROBE))
    running, probes = run(of, "a"), Results()
    assert condition(status(of, observed(of, sandbox(of), running), probes=probes), "Ready")[0] == "False"
    probes.set(Kind.READINESS, running.id, True, "")
    assert condition(status(of, observed(of, sandbox(of), running), probes=probes), "Ready")[0] == "True"


def test_nothing_is_ready_before_its_startup_probe_succeeded() -> None:
    of = pod(container("a", startupProbe=PROBE))
    running, probes = run(of, "a"), Results()
    entry = status(of, observed(of, sandbox(of), running), probes=probes)["containerStatuses"][0]
    assert (entry["started"], entry["ready"]) == (False, False)
    probes.set(Kind.STARTUP, running.id, True, "")
    entry = status(of, observed(of, sandbox(of), running), probes=probes)["containerStatuses"][0]
    assert (entry["started"], entry["ready"]) == (True, True)


@pytest.mark.parametrize(
    ("policy", "code", "phase"),
    [
        ("Never", 0, "Succeeded"),
        ("Never", 3, "Failed"),
        ("OnFailure", 0, "Succeeded"),
        ("OnFailure", 3, "Running"),
        ("Always", 0, "Running"),
    ],
)
def test_the_phase_of_an_ended_container_depends_on_the_policy(policy: str, code: int, phase: str) -> None:
    of = pod("a", restartPolicy=policy)
    found = status(of, observed(of, sandbox(of), run(of, "a", exit=code)))
    assert found["phase"] == phase
    terminated = found["containerStatuses"][0]["state"]["terminated"]
    assert terminated["exitCode"] == code
    assert terminated["reason"] == ("Completed" if code == 0 else "Error")


def test_a_terminal_phase_never_changes() -> None:
    of = pod("a", restartPolicy="Never")
    of["status"] = status(of, observed(of, sandbox(of), run(of, "a", exit=0)))
    again = status(of, observed(of, sandbox(of)))
    assert again["phase"] == "Succeeded"
    assert again["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 0


def test_a_completed_pod_is_initialized_and_not_ready() -> None:
    of = pod("a", restartPolicy="Never", init=[container("i")])
    found = status(of, observed(of, sandbox(of), run(of, "i", exit=0), run(of, "a", exit=0)))
    assert condition(found, "Initialized") == ("True", "PodCompleted")
    assert condition(found, "Ready") == ("False", "PodCompleted")


def test_a_crashing_container_waits_and_shows_its_last_end() -> None:
    of = pod("a")
    failure = Failure("CrashLoopBackOff", "back-off 10s", 0.0)
    found = status(of, observed(of, sandbox(of), run(of, "a", exit=7)), failures={"a": failure})
    entry = found["containerStatuses"][0]
    assert entry["state"] == {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
    assert entry["lastState"]["terminated"]["exitCode"] == 7
    assert found["phase"] == "Running"


def test_a_restarted_container_shows_how_it_ended_before() -> None:
    of = pod("a")
    found = status(of, observed(of, sandbox(of), run(of, "a", exit=7), run(of, "a", restarts=1)))
    entry = found["containerStatuses"][0]
    assert "running" in entry["state"]
    assert entry["restartCount"] == 1
    assert entry["lastState"]["terminated"]["exitCode"] == 7


def test_a_pod_that_initializes_is_pending() -> None:
    of = pod("a", init=[container("i")])
    found = status(of, observed(of, sandbox(of), run(of, "i")))
    assert found["phase"] == "Pending"
    assert found["containerStatuses"][0]["state"] == {"waiting": {"reason": "PodInitializing"}}
    entry = get_condition({"status": found}, "Initialized")
    assert entry is not None
    assert entry["message"] == "containers with incomplete status: [i]"


def test_a_failed_init_container_fails_a_pod_that_never_restarts() -> None:
    of = pod("a", init=[container("i")], restartPolicy="Never")
    assert status(of, observed(of, sandbox(of), run(of, "i", exit=1)))["phase"] == "Failed"
    of = pod("a", init=[container("i")])
    assert status(of, observed(of, sandbox(of), run(of, "i", exit=1)))["phase"] == "Pending"


def test_a_sidecar_does_not_keep_the_pod_from_succeeding() -> None:
    of = pod("a", init=[container("s", restartPolicy="Always")], restartPolicy="Never")
    assert status(of, observed(of, sandbox(of), run(of, "s"), run(of, "a", exit=0)))["phase"] == "Succeeded"


def test_a_readiness_gate_holds_back_the_pod_and_not_its_containers() -> None:
    of = pod("a", readinessGates=[{"conditionType": "example.com/lb"}])
    seen = observed(of, sandbox(of), run(of, "a"))
    found = status(of, seen)
    assert condition(found, "ContainersReady")[0] == "True"
    assert condition(found, "Ready") == ("False", "ReadinessGatesNotReady")
    of["status"]["conditions"] = [{"type": "example.com/lb", "status": "True"}]
    assert condition(status(of, seen), "Ready")[0] == "True"


def test_the_same_inputs_give_the_same_status_later() -> None:
    of = pod("a")
    seen = observed(of, sandbox(of), run(of, "a"))
    of["status"] = status(of, seen)
    before = copy.deepcopy(of["status"])
    later = generate(
        of, seen, Inputs(now="2027-01-01T00:00:00Z", host_ips=["192.168.0.1"], runtime="fake", probes=Results())
    )
    assert later == before


def test_transition_times_move_only_with_the_condition() -> None:
    of = pod(container("a", readinessProbe=PROBE))
    running, probes = run(of, "a"), Results()
    of["status"] = status(of, observed(of, sandbox(of), running), probes=probes)
    probes.set(Kind.READINESS, running.id, True, "")
    inputs = Inputs(now="2027-01-01T00:00:00Z", host_ips=["192.168.0.1"], runtime="fake", probes=probes)
    found = generate(of, observed(of, sandbox(of), running), inputs)
    times = {c["type"]: c["lastTransitionTime"] for c in found["conditions"]}
    assert times["Ready"] == "2027-01-01T00:00:00Z"
    assert times["Initialized"] == NOW


def test_a_rejected_pod_fails_with_its_reason_and_without_containers() -> None:
    of = pod("a")
    found = status(of, observed(of), rejected=("OutOfcpu", "Pod was rejected: ..."), terminating=True)
    assert (found["phase"], found["reason"]) == ("Failed", "OutOfcpu")
    assert "containerStatuses" not in found


def test_a_container_that_the_runtime_lost_is_told_of_honestly() -> None:
    of = pod("a", restartPolicy="Never")
    of["status"] = status(of, observed(of, sandbox(of), run(of, "a")))
    found = status(of, observed(of))
    terminated = found["containerStatuses"][0]["state"]["terminated"]
    assert (terminated["reason"], terminated["exitCode"]) == ("ContainerStatusUnknown", 137)
    of["spec"]["restartPolicy"] = "Always"
    entry = status(of, observed(of))["containerStatuses"][0]
    assert entry["state"] == {"waiting": {"reason": "ContainerCreating"}}
    assert entry["lastState"]["terminated"]["reason"] == "ContainerStatusUnknown"
    assert entry["restartCount"] == 1


def test_what_others_wrote_into_the_status_is_kept() -> None:
    of = pod("a")
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"}
    of["status"] = {"phase": "Pending", "qosClass": "Burstable", "conditions": [scheduled]}
    found = status(of, observed(of))
    assert found["qosClass"] == "Burstable"
    assert scheduled in found["conditions"]


def test_a_pod_deleted_while_its_containers_stop_stays_running_until_they_have() -> None:
    of = pod("a", "b")
    seen = observed(of, sandbox(of), run(of, "a", exit=0), run(of, "b"))
    assert status(of, seen, terminating=True)["phase"] == "Running"
    done = observed(of, sandbox(of), run(of, "a", exit=0), run(of, "b", exit=143))
    assert status(of, done, terminating=True)["phase"] == "Failed"
