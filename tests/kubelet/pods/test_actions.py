from typing import Any

from kubelet.cri.api import ContainerState
from kubelet.pods.actions import Actions, compute, should_restart
from kubelet.pods.labels import HASH
from kubelet.pods.observed import ObservedPod
from kubelet.probes.results import Kind, Results
from tests.kubelet.making import container, observed, pod, run, sandbox

Object = dict[str, Any]
PROBE = {"exec": {"command": ["true"]}}


def names(containers: list[Object]) -> list[str]:
    return [c["name"] for c in containers]


def decide(of: Object, seen: ObservedPod, probes: Results | None = None) -> Actions:
    return compute(of, seen, probes or Results())


def sidecar(name: str, **fields: Any) -> Object:
    return container(name, restartPolicy="Always", **fields)


def test_a_new_pod_gets_a_sandbox_and_all_its_containers() -> None:
    of = pod("a", "b")
    actions = decide(of, observed(of))
    assert actions.create_sandbox
    assert actions.attempt == 0
    assert names(actions.containers) == ["a", "b"]


def test_a_running_pod_needs_nothing() -> None:
    of = pod("a", "b")
    assert decide(of, observed(of, sandbox(of), run(of, "a"), run(of, "b"))).nothing


def test_an_ended_container_is_restarted_by_policy() -> None:
    for policy, code, restarted in (
        ("Always", 0, True),
        ("Always", 1, True),
        ("OnFailure", 0, False),
        ("OnFailure", 1, True),
        ("Never", 0, False),
        ("Never", 1, False),
    ):
        of = pod("a", "b", restartPolicy=policy)
        actions = decide(of, observed(of, sandbox(of), run(of, "a", exit=code), run(of, "b")))
        assert names(actions.containers) == (["a"] if restarted else []), (policy, code)
        assert not actions.kill_pod


def test_nothing_is_restarted_in_a_pod_that_is_being_deleted() -> None:
    of = pod("a")
    of["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert not should_restart(of["spec"]["containers"][0], of, observed(of, sandbox(of), run(of, "a", exit=1)))


def test_a_pod_whose_containers_are_all_done_is_taken_down() -> None:
    of = pod("a", restartPolicy="Never")
    actions = decide(of, observed(of, sandbox(of), run(of, "a", exit=0)))
    assert actions.kill_pod
    assert not actions.create_sandbox


def test_a_dead_sandbox_is_replaced_and_its_containers_started_anew() -> None:
    of = pod("a")
    actions = decide(of, observed(of, sandbox(of, ready=False), run(of, "a", exit=137)))
    assert actions.kill_pod
    assert actions.create_sandbox
    assert actions.attempt == 1
    assert names(actions.containers) == ["a"]


def test_a_dead_sandbox_is_not_replaced_when_the_pod_ran_and_never_restarts() -> None:
    of = pod("a", restartPolicy="Never")
    seen = observed(of, sandbox(of, ready=False, attempt=0), run(of, "a", exit=137))
    actions = decide(of, seen)
    assert actions.kill_pod
    assert not actions.create_sandbox


def test_a_dead_sandbox_of_a_job_that_is_done_is_not_replaced() -> None:
    of = pod("a", restartPolicy="OnFailure")
    actions = decide(of, observed(of, sandbox(of, ready=False), run(of, "a", exit=0)))
    assert not actions.create_sandbox


def test_two_ready_sandboxes_are_one_too_many() -> None:
    of = pod("a")
    actions = decide(of, observed(of, sandbox(of), sandbox(of, attempt=1), run(of, "a", box=1)))
    assert actions.kill_pod
    assert actions.attempt == 2


def test_a_changed_image_replaces_the_container() -> None:
    of = pod("a")
    old = run(of, "a")
    old.annotations[HASH] = "other"
    actions = decide(of, observed(of, sandbox(of), old))
    assert names(actions.containers) == ["a"]
    assert [k.message for k in actions.kill] == ["Container a definition changed, will be restarted"]


def test_a_failed_liveness_probe_kills_and_restarts_unless_the_policy_is_never() -> None:
    for policy, restarted in (("Always", True), ("Never", False)):
        of = pod(container("a", livenessProbe=PROBE), "b", restartPolicy=policy)
        running, probes = run(of, "a"), Results()
        probes.set(Kind.LIVENESS, running.id, False, "")
        actions = decide(of, observed(of, sandbox(of), running, run(of, "b")), probes)
        assert len(actions.kill) == 1
        assert actions.kill[0].probe is Kind.LIVENESS
        assert ("will be restarted" in actions.kill[0].message) == restarted
        assert names(actions.containers) == (["a"] if restarted else [])


def test_init_containers_run_one_after_the_other() -> None:
    of = pod("a", init=[container("i1"), container("i2")])
    first = decide(of, observed(of))
    assert names(first.init) == ["i1"]
    assert first.containers == []
    assert decide(of, observed(of, sandbox(of), run(of, "i1"))).nothing
    second = decide(of, observed(of, sandbox(of), run(of, "i1", exit=0)))
    assert names(second.init) == ["i2"]
    third = decide(of, observed(of, sandbox(of), run(of, "i1", exit=0), run(of, "i2", exit=0)))
    assert third.init == []
    assert names(third.containers) == ["a"]


def test_the_last_init_container_alone_proves_that_all_are_done() -> None:
    of = pod("a", init=[container("i1"), container("i2")])
    actions = decide(of, observed(of, sandbox(of), run(of, "i2", exit=0)))
    assert names(actions.containers) == ["a"]


def test_a_failed_init_container_is_retried_or_ends_the_pod() -> None:
    for policy in ("Always", "OnFailure", "Never"):
        of = pod("a", init=[container("i1")], restartPolicy=policy)
        actions = decide(of, observed(of, sandbox(of), run(of, "i1", exit=1)))
        assert actions.kill_pod == (policy == "Never")
        assert names(actions.init) == ([] if policy == "Never" else ["i1"])


def test_a_sidecar_lets_the_next_one_start_while_it_runs() -> None:
    of = pod("a", init=[sidecar("s"), container("i")])
    assert names(decide(of, observed(of, sandbox(of), run(of, "s"))).init) == ["i"]
    done = decide(of, observed(of, sandbox(of), run(of, "s"), run(of, "i", exit=0)))
    assert names(done.containers) == ["a"]


def test_a_sidecar_with_a_startup_probe_holds_the_next_one_until_it_has_started() -> None:
    of = pod("a", init=[sidecar("s", startupProbe=PROBE)])
    running, probes = run(of, "s"), Results()
    assert decide(of, observed(of, sandbox(of), running), probes).nothing
    probes.set(Kind.STARTUP, running.id, True, "")
    assert names(decide(of, observed(of, sandbox(of), running), probes).containers) == ["a"]


def test_a_sidecar_that_ends_is_restarted_beside_the_running_containers() -> None:
    of = pod("a", init=[sidecar("s")])
    actions = decide(of, observed(of, sandbox(of), run(of, "s", exit=0), run(of, "a")))
    assert names(actions.init) == ["s"]
    assert not actions.kill_pod


def test_sidecars_end_with_the_containers_that_they_serve() -> None:
    of = pod("a", init=[sidecar("s")], restartPolicy="Never")
    actions = decide(of, observed(of, sandbox(of), run(of, "s"), run(of, "a", exit=0)))
    assert actions.kill_pod
    assert actions.init == []


def test_a_container_left_between_create_and_start_is_started_again() -> None:
    of = pod("a")
    actions = decide(of, observed(of, sandbox(of), run(of, "a", state=ContainerState.CREATED)))
    assert names(actions.containers) == ["a"]


def test_completed_init_containers_do_not_run_again_in_a_running_pod() -> None:
    of = pod("a", init=[container("i")])
    assert decide(of, observed(of, sandbox(of), run(of, "a"))).nothing


def test_an_ephemeral_container_is_started_once() -> None:
    of = pod("a", ephemeralContainers=[container("debug")])
    seen = observed(of, sandbox(of), run(of, "a"))
    assert names(decide(of, seen).ephemeral) == ["debug"]
    ended = observed(of, sandbox(of), run(of, "a"), run(of, "debug", exit=0))
    assert decide(of, ended).ephemeral == []
