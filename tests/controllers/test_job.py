"""Plans of Jobs; whole Jobs are played with crashes between any two writes."""

import copy
import random
from typing import Any

import pytest

from apimachinery import meta
from controllers.job import failure, indexes
from controllers.job.plan import end_of, reconcile
from controllers.job.pod import FINALIZER, INDEX, make
from controllers.ttlafterfinished import expires
from tests.controllers.objects import NOW, metadata, pod, stamp, template

Object = dict[str, Any]


def job(**spec: Any) -> Object:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata("once", creationTimestamp=stamp(60)),
        "spec": {"parallelism": 1, "completions": 1, "template": template(), **spec},
        "status": {},
    }


def own(
    name: str, phase: str, *, index: int | None = None, tracked: bool = True, code: int = 1, ago: float = 500
) -> Object:
    annotations = {INDEX: str(index)} if index is not None else None
    found = pod(name, phase=phase, ready=phase == "Running", annotations=annotations)
    if tracked:
        found["metadata"]["finalizers"] = [FINALIZER]
    if phase in ("Succeeded", "Failed"):
        state = {"terminated": {"exitCode": code if phase == "Failed" else 0, "finishedAt": stamp(ago)}}
        found["status"]["containerStatuses"] = [{"name": "c", "restartCount": 0, "state": state}]
    return found


def test_a_new_job_starts_as_many_pods_as_may_run_at_once() -> None:
    plan = reconcile(job(parallelism=3, completions=10), [], NOW)
    assert plan.create == [None] * 3
    assert plan.status["active"] == 3
    assert plan.status["startTime"] == stamp()


def test_no_more_pods_than_successes_that_are_missing() -> None:
    seen = job(parallelism=5, completions=10)
    seen["status"] = {"succeeded": 8}
    assert len(reconcile(seen, [own("a", "Running")], NOW).create) == 1


def test_failures_in_a_row_delay_the_next_try() -> None:
    plan = reconcile(job(), [own("a", "Failed", tracked=False, ago=4), own("b", "Failed", tracked=False, ago=15)], NOW)
    assert plan.create == []
    assert plan.recheck_after == 16


def test_too_many_failures_end_the_job_when_all_pods_have_ended() -> None:
    seen = job(backoffLimit=0, parallelism=2, completions=2)
    first = reconcile(seen, [own("a", "Failed"), own("b", "Running")], NOW)
    assert meta.get_condition({"status": first.status}, "FailureTarget") is not None
    assert [meta.name(p) for p in first.delete] == ["b"]
    assert end_of({"status": first.status}) is None
    seen["status"] = {**first.status, "uncountedTerminatedPods": {}, "failed": 2}
    last = reconcile(seen, [], NOW)
    failed = meta.get_condition({"status": last.status}, "Failed")
    assert failed is not None
    assert failed["reason"] == "BackoffLimitExceeded"
    assert last.events == [("Warning", "BackoffLimitExceeded", "Job has reached the specified backoff limit")]


def test_a_job_that_takes_too_long_fails() -> None:
    seen = job(activeDeadlineSeconds=30)
    seen["status"] = {"startTime": stamp(20)}
    assert reconcile(seen, [own("a", "Running")], NOW).recheck_after == 10
    seen["status"] = {"startTime": stamp(31)}
    plan = reconcile(seen, [own("a", "Running")], NOW)
    condition = meta.get_condition({"status": plan.status}, "FailureTarget")
    assert condition is not None
    assert condition["reason"] == "DeadlineExceeded"


def test_a_suspended_job_stops_its_pods_without_counting_them() -> None:
    plan = reconcile(job(suspend=True), [own("a", "Running")], NOW)
    assert [meta.name(p) for p in plan.drop] == ["a"]
    assert plan.delete == []
    assert plan.create == []
    assert meta.condition_is_true({"status": plan.status}, "Suspended")


def test_a_work_queue_ends_with_its_first_success_once_the_others_have_ended() -> None:
    seen = job(parallelism=2)
    del seen["spec"]["completions"]
    running = [own("a", "Succeeded"), own("b", "Running")]
    assert reconcile(seen, running, NOW).create == []
    plan = reconcile(seen, [own("a", "Succeeded"), own("b", "Succeeded")], NOW)
    assert meta.condition_is_true({"status": plan.status}, "SuccessCriteriaMet")


def test_an_ended_job_lets_go_of_whatever_is_left() -> None:
    seen = job()
    seen["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    plan = reconcile(seen, [own("a", "Running")], NOW)
    assert [meta.name(p) for p in plan.release] == ["a"]
    assert plan.create == []


def test_an_index_is_told_to_its_pod_in_three_ways() -> None:
    made = make(job(completionMode="Indexed"), 4)
    assert made["metadata"]["generateName"] == "once-4-"
    assert meta.annotations(made)[INDEX] == meta.labels(made)[INDEX] == "4"
    assert made["spec"]["hostname"] == "once-4"
    assert made["spec"]["containers"][0]["env"][0]["name"] == "JOB_COMPLETION_INDEX"
    assert made["metadata"]["finalizers"] == [FINALIZER]


@pytest.mark.parametrize(("given", "text"), [({1, 3, 4, 5, 7, 8}, "1,3-5,7,8"), (set(), ""), ({0}, "0")])
def test_sets_of_indexes_are_written_as_upstream_writes_them(given: set[int], text: str) -> None:
    assert indexes.render(given) == text
    assert indexes.parse(text) == given


def test_the_failure_policy_ends_a_job_or_ignores_a_failure() -> None:
    rules = [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}},
    ]
    seen = job(podFailurePolicy={"rules": rules}, backoffLimit=6)
    fatal = own("a", "Failed", code=42)
    action, why = failure.judge(seen, fatal)
    assert action == failure.FAIL_JOB
    assert why == "Container c for pod shop/a failed with exit code 42 matching FailJob rule at index 1"
    evicted = own("b", "Failed")
    evicted["status"]["conditions"].append({"type": "DisruptionTarget", "status": "True"})
    assert failure.judge(seen, evicted)[0] == failure.IGNORE
    plan = reconcile(seen, [fatal], NOW)
    condition = meta.get_condition({"status": plan.status}, "FailureTarget")
    assert condition is not None
    assert condition["reason"] == "PodFailurePolicy"


def test_a_time_to_live_counts_from_the_end() -> None:
    seen = job(ttlSecondsAfterFinished=100)
    assert expires(seen) is None
    seen["status"] = {"conditions": [{"type": "Failed", "status": "True", "lastTransitionTime": stamp(30)}]}
    assert expires(seen) == NOW + 70


class _Crash(Exception):
    pass


def _play(seen: Object, fails: float, rng: random.Random) -> tuple[Object, int]:
    """Runs a Job to its end; the controller may crash between any two of its writes. Returns the Job and all pods' count."""
    pods: dict[str, Object] = {}
    made = 0

    def write(crash: bool) -> None:
        if crash and rng.random() < 0.3:
            raise _Crash

    for _ in range(3000):
        if end_of(seen) is not None:
            return seen, made
        for found in pods.values():
            if found["status"]["phase"] == "Running" and rng.random() < 0.5:
                failed = rng.random() < fails
                found["status"]["phase"] = "Failed" if failed else "Succeeded"
        gone = [n for n, p in pods.items() if p["status"]["phase"] != "Running" and not meta.finalizers(p)]
        for name in gone:
            if rng.random() < 0.3:
                del pods[name]
        plan = reconcile(copy.deepcopy(seen), [copy.deepcopy(p) for p in pods.values()], NOW)
        try:
            write(True)
            seen["status"] = plan.status
            for one in (*plan.release, *plan.drop):
                write(True)
                pods[meta.name(one)]["metadata"].pop("finalizers", None)
            for one in (*plan.delete, *plan.drop):
                write(True)
                pods.pop(meta.name(one), None)
            for index in plan.create:
                write(True)
                made += 1
                name = f"p{made}"
                pods[name] = own(name, "Running", index=index)
        except _Crash:
            continue
    raise AssertionError("the Job never ended")


@pytest.mark.parametrize("mode", ["NonIndexed", "Indexed"])
def test_every_pod_is_counted_once_whenever_the_controller_crashes(mode: str) -> None:
    for seed in range(100):
        rng = random.Random(seed)
        seen = job(parallelism=3, completions=6, completionMode=mode, backoffLimit=1000)
        ended, made = _play(seen, 0.0, rng)
        status = ended["status"]
        assert end_of(ended)["type"] == "Complete", f"seed {seed}"  # type: ignore[index]
        assert status["succeeded"] == 6, f"seed {seed}: {status}"
        assert made == 6, f"seed {seed}: {made} pods for six successes, none of which failed"
