"""Jobs and CronJobs."""

# Tables of upstream's messages read best with one on a line.
# ruff: noqa: E501

from typing import Any

import pytest

from tests.apiserver.registry.made import changed, create, pod, refusals, row, update, update_refusals


def job(**spec: Any) -> dict[str, Any]:
    template = {"spec": {**pod()["spec"], "restartPolicy": "Never"}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "j", "namespace": "default"},
        "spec": {"template": template, **spec},
    }


def cron_job(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "c", "namespace": "default"},
        "spec": {"schedule": "*/5 * * * *", "jobTemplate": {"spec": job()["spec"]}, **spec},
    }


def test_a_job_selects_its_pods_by_its_own_uid() -> None:
    made = create(job())
    uid = made["metadata"]["uid"]
    assert made["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    assert made["spec"]["template"]["metadata"]["labels"] == {
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": "j",
        "controller-uid": uid,
        "job-name": "j",
    }


def test_defaults() -> None:
    spec = create(job())["spec"]
    expected = {
        "completions": 1, "parallelism": 1, "backoffLimit": 6, "completionMode": "NonIndexed", "suspend": False,
        "podReplacementPolicy": "TerminatingOrFailed",
    }  # fmt: skip
    assert {k: v for k, v in spec.items() if k not in ("template", "selector")} == expected
    assert "completions" not in create(job(parallelism=3))["spec"]
    cron = create(cron_job())["spec"]
    assert (cron["concurrencyPolicy"], cron["suspend"]) == ("Allow", False)
    assert (cron["successfulJobsHistoryLimit"], cron["failedJobsHistoryLimit"]) == (3, 1)


@pytest.mark.parametrize(
    ("obj", "why"),
    [
        (changed(job(), "spec/template/spec/restartPolicy", "Always"), 'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"'),
        (job(parallelism=-1), "spec.parallelism: Invalid value: -1: must be greater than or equal to 0"),
        (job(completionMode="Indexed", parallelism=1), "spec.completions: Required value: when completion mode is Indexed"),
        (cron_job(schedule=""), "spec.schedule: Required value"),
        (cron_job(schedule="* * *"), 'spec.schedule: Invalid value: "* * *": expected exactly 5 fields, found 3: [* * *]'),
        (cron_job(concurrencyPolicy="Maybe"), 'spec.concurrencyPolicy: Unsupported value: "Maybe": supported values: "Allow", "Forbid", "Replace"'),
        (changed(cron_job(), "metadata/name", "x" * 53), f'metadata.name: Invalid value: "{"x" * 53}": must be no more than 52 characters'),
    ],
)  # fmt: skip
def test_rules(obj: dict[str, Any], why: str) -> None:
    assert why in refusals(obj)


def test_what_runs_may_not_change_but_its_width() -> None:
    made = create(job())
    assert update(made, spec__parallelism=5)["spec"]["parallelism"] == 5
    (why,) = update_refusals(made, spec__completions=5)
    assert why == "spec.completions: Invalid value: 5: field is immutable"
    (why,) = update_refusals(made, spec__template__spec__containers__0__image="x")
    assert why.startswith("spec.template: Invalid value: ")
    assert why.endswith("field is immutable")
    waiting = create(job(suspend=True))
    update(waiting, spec__template__spec__nodeSelector={"disk": "ssd"})


def test_rows() -> None:
    made = create(job(completions=3))
    made["status"] = {"succeeded": 1, "startTime": "2024-01-01T00:00:10Z"}
    assert row(made)[:5] == ["j", "Running", "1/3", "50s", "60s"]
    made["status"] |= {"completionTime": "2024-01-01T00:00:30Z", "conditions": [{"type": "Complete", "status": "True"}]}
    assert row(made)[1:4] == ["Complete", "1/3", "20s"]
    assert row(create(job(parallelism=2)))[2] == "0/1 of 2"
    cron = create(cron_job(timeZone="UTC"))
    assert row(cron)[:7] == ["c", "*/5 * * * *", "UTC", "False", 0, "<none>", "60s"]
