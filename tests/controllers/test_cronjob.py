from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from apimachinery import meta
from controllers.cronjob.plan import SCHEDULED, reconcile
from controllers.cronjob.schedule import Schedule, ScheduleError
from tests.controllers.objects import metadata

Object = dict[str, Any]


def at(text: str, zone: Any = UTC) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def following(schedule: str, when: str) -> str | None:
    found = Schedule(schedule).next_after(at(when))
    return None if found is None else datetime.fromtimestamp(found, UTC).strftime("%Y-%m-%d %H:%M")


@pytest.mark.parametrize(
    ("schedule", "when", "expected"),
    [
        ("* * * * *", "2027-01-31T23:59:30", "2027-02-01 00:00"),
        ("*/15 * * * *", "2027-01-01T00:15:00", "2027-01-01 00:30"),
        ("0 9-17/4 * * mon-fri", "2027-01-01T17:00:00", "2027-01-04 09:00"),
        ("30 6 1,15 * *", "2027-01-01T06:30:00", "2027-01-15 06:30"),
        ("0 0 13 * fri", "2027-01-01T12:00:00", "2027-01-08 00:00"),
        ("0 0 */2 * fri", "2027-01-01T12:00:00", "2027-01-03 00:00"),
        ("0 0 29 2 *", "2027-01-01T00:00:00", "2028-02-29 00:00"),
        ("@hourly", "2027-01-01T05:00:00", "2027-01-01 06:00"),
        ("@weekly", "2027-01-01T05:00:00", "2027-01-03 00:00"),
        ("0 0 31 2 *", "2027-01-01T00:00:00", None),
    ],
)
def test_the_next_time_of_a_schedule(schedule: str, when: str, expected: str | None) -> None:
    assert following(schedule, when) == expected


@pytest.mark.parametrize(
    "text", ["* * * *", "60 * * * *", "* * 0 * *", "* * * foo *", "*/0 * * * *", "5-1 * * * *", "* * * * 7"]
)
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(ScheduleError):
        Schedule(text)


def test_a_schedule_follows_the_clocks_of_its_zone() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    daily = Schedule("30 2 * * *", berlin)
    # On 28 March 2027 the clocks leave out the hour from two to three.
    found = daily.next_after(at("2027-03-27T12:00:00", berlin))
    assert found is not None
    assert datetime.fromtimestamp(found, berlin).isoformat() == "2027-03-29T02:30:00+02:00"


@pytest.mark.parametrize(
    ("schedule", "expected"), [("* * * * *", "10:07"), ("0 * * * *", "10:00"), ("0 3 * * *", "03:00")]
)
def test_of_missed_times_only_the_last_counts(schedule: str, expected: str) -> None:
    found = Schedule(schedule).last_between(at("2026-11-01T00:00:00"), at("2027-01-01T10:07:30"))
    assert found is not None
    assert datetime.fromtimestamp(found, UTC).strftime("%H:%M") == expected


NOW = at("2027-01-01T10:07:30")


def cronjob(**spec: Any) -> Object:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"template": {}}}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": metadata("tick", creationTimestamp="2027-01-01T10:00:00Z"),
        "spec": {"schedule": "* * * * *", "jobTemplate": template, **spec},
    }


def job(name: str, end: str = "", started: str = "2027-01-01T10:00:00Z") -> Object:
    status: Object = {"startTime": started}
    if end:
        status["conditions"] = [{"type": end, "status": "True", "lastTransitionTime": started}]
        if end == "Complete":
            status["completionTime"] = started
    return {"metadata": metadata(name), "status": status, "spec": {}}


def test_a_job_that_is_due_is_named_by_its_time() -> None:
    plan = reconcile(cronjob(), [], Schedule("* * * * *"), NOW)
    assert plan.create is not None
    assert meta.name(plan.create) == f"tick-{int(at('2027-01-01T10:07:00')) // 60}"
    assert meta.annotations(plan.create)[SCHEDULED] == "2027-01-01T10:07:00Z"
    assert plan.status["lastScheduleTime"] == "2027-01-01T10:07:00Z"
    assert plan.wait == pytest.approx(30.1)


def test_nothing_is_started_twice_for_one_time() -> None:
    seen = cronjob()
    seen["status"] = {"lastScheduleTime": "2027-01-01T10:07:00Z"}
    assert reconcile(seen, [], Schedule("* * * * *"), NOW).create is None


@pytest.mark.parametrize(
    ("policy", "created", "deleted"), [("Allow", True, 0), ("Forbid", False, 0), ("Replace", True, 1)]
)
def test_concurrency_policies(policy: str, created: bool, deleted: int) -> None:
    plan = reconcile(cronjob(concurrencyPolicy=policy), [job("before")], Schedule("* * * * *"), NOW)
    assert (plan.create is not None, len(plan.delete)) == (created, deleted)


def test_a_time_that_is_too_long_ago_is_let_go() -> None:
    assert reconcile(cronjob(startingDeadlineSeconds=10), [], Schedule("* * * * *"), NOW).create is None


def test_a_suspended_cronjob_starts_nothing() -> None:
    plan = reconcile(cronjob(suspend=True), [], Schedule("* * * * *"), NOW)
    assert plan.create is None
    assert plan.wait is None


def test_old_jobs_beyond_the_limits_are_deleted_and_ends_are_told() -> None:
    ended = [job(f"ok-{n}", "Complete", f"2027-01-01T10:0{n}:00Z") for n in range(5)]
    failed = [job(f"bad-{n}", "Failed", f"2027-01-01T10:0{n}:00Z") for n in range(2)]
    seen = cronjob(suspend=True)
    seen["status"] = {"active": [{"uid": meta.uid(ended[4])}]}
    plan = reconcile(seen, ended + failed, Schedule("* * * * *"), NOW)
    assert {meta.name(j) for j in plan.delete} == {"ok-0", "ok-1", "bad-0"}
    assert plan.status == {"lastSuccessfulTime": "2027-01-01T10:04:00Z"}
    assert plan.events == [("Normal", "SawCompletedJob", "Saw completed job: ok-4, condition: Complete")]
