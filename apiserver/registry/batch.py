"""Jobs and CronJobs."""

import re
from typing import Any

from apimachinery import duration, meta, names
from apimachinery.errors import FieldError, invalid_value, not_supported, required
from apimachinery.selectors import SelectorError, from_label_selector, validate_label_selector
from apimachinery.table import Column
from apiserver.registry import cron, objectmeta
from apiserver.registry.job_rules import validate_job_spec
from apiserver.registry.objectmeta import IMMUTABLE
from apiserver.registry.pod_defaults import default_template
from apiserver.registry.strategy import AGE, NAME, Object
from apiserver.registry.templated import (
    CONTAINERS,
    IMAGES,
    MISMATCH,
    SELECTOR,
    container_cells,
    go_selector,
    non_negative,
    selector_cell,
)
from apiserver.registry.workloads import Workload

_UID_LABEL, _NAME_LABEL = "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"
_LEGACY_UID_LABEL, _LEGACY_NAME_LABEL = "controller-uid", "job-name"
_POLICIES = ("Allow", "Forbid", "Replace")


class JobStrategy(Workload):
    selectable = ("status.successful",)
    columns = (
        NAME,
        Column("Status", description="Status of the job."),
        Column("Completions", description="The number of pods which reached phase Succeeded."),
        Column("Duration", description="Time required to complete the job."),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    )

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        if "completions" not in spec and "parallelism" not in spec:
            spec["completions"] = 1
        spec.setdefault("parallelism", 1)
        spec.setdefault("backoffLimit", 2147483647 if "backoffLimitPerIndex" in spec else 6)
        default_job_spec(spec)
        labels = (spec["template"].get("metadata") or {}).get("labels")
        if labels and not obj["metadata"].get("labels"):
            obj["metadata"]["labels"] = dict(labels)

    def prepare_for_create(self, obj: Object) -> None:
        super().prepare_for_create(obj)
        if not obj["spec"].get("manualSelector"):
            _generate_selector(obj)

    def rules(self, obj: Object) -> list[FieldError]:
        spec = obj["spec"]
        found = validate_job_spec(spec, "spec")
        selector = spec.get("selector")
        if selector is None:
            return [*found, required("spec.selector")]
        found += validate_label_selector(selector, "spec.selector")
        labels = (spec["template"].get("metadata") or {}).get("labels") or {}
        try:
            matches = from_label_selector(selector).matches(labels)
        except SelectorError:
            matches = True  # the selector itself has been complained about
        return found if matches else [*found, invalid_value("spec.template.metadata.labels", labels, MISMATCH)]

    def validate(self, obj: Object) -> list[FieldError]:
        """The pods of an indexed job have their index at the end of their host name."""
        found, spec, name = super().validate(obj), obj["spec"], obj["metadata"].get("name", "")
        if spec.get("completionMode") == "Indexed" and (spec.get("completions") or 0) > 0:
            longest = f"{name}-{spec['completions'] - 1}"
            if names.dns1123_label(longest):
                detail = f"will not able to create pod with invalid DNS label: {longest}"
                found.append(invalid_value("metadata.name", name, detail))
        return found

    def update_rules(self, new: Object, old: Object) -> list[FieldError]:
        spec, before = new["spec"], old["spec"]
        found = _completions(spec, before)
        if spec.get("selector") != before.get("selector"):
            found.append(invalid_value("spec.selector", go_selector(spec.get("selector")), IMMUTABLE))
        template = before["template"]
        if before.get("suspend") and not (old.get("status") or {}).get("startTime"):
            template = _steered(template, spec["template"])
        if spec["template"] != template:
            found.append(invalid_value("spec.template", spec["template"], IMMUTABLE))
        fields = ("completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy")
        return found + [
            invalid_value(f"spec.{f}", spec.get(f), IMMUTABLE) for f in fields if spec.get(f) != before.get(f)
        ]

    def selectable_fields(self, obj: Object) -> dict[str, str]:
        succeeded = (obj.get("status") or {}).get("succeeded", 0)
        return {**super().selectable_fields(obj), "status.successful": str(succeeded)}

    def cells(self, obj: Object, now: float) -> list[Any]:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        succeeded, parallel = status.get("succeeded", 0), spec.get("parallelism", 0)
        if "completions" in spec:
            completions = f"{succeeded}/{spec['completions']}"
        else:
            completions = f"{succeeded}/1 of {parallel}" if parallel > 1 else f"{succeeded}/1"
        return [
            obj["metadata"]["name"],
            _job_status(obj),
            completions,
            _job_duration(status, now),
            self.age(obj, now),
            *container_cells(spec.get("template") or {}),
            selector_cell(spec.get("selector")),
        ]


def _completions(spec: Object, before: Object) -> list[FieldError]:
    """An indexed job can grow and shrink, when its parallelism does the same."""
    wanted = spec.get("completions")
    if wanted == before.get("completions"):
        return []
    if spec.get("completionMode") != "Indexed":
        return [invalid_value("spec.completions", wanted, IMMUTABLE)]
    if wanted is None or wanted == spec.get("parallelism"):
        return []
    return [invalid_value("spec.completions", wanted, "can only be modified in tandem with spec.parallelism")]


_STEERING = ("nodeSelector", "tolerations", "schedulingGates")


def _steered(template: Object, new: Object) -> Object:
    """The template of a job that has not started yet: where its pods go may still be changed."""
    spec, wanted = {**template["spec"]}, new.get("spec") or {}
    for field in _STEERING:
        spec.pop(field, None)
        spec |= {field: wanted[field]} if field in wanted else {}
    affinity = {k: v for k, v in (spec.pop("affinity", None) or {}).items() if k != "nodeAffinity"}
    if "nodeAffinity" in (wanted.get("affinity") or {}):
        affinity["nodeAffinity"] = wanted["affinity"]["nodeAffinity"]
    if affinity or wanted.get("affinity") == {}:
        spec["affinity"] = affinity
    metadata = {k: v for k, v in (template.get("metadata") or {}).items() if k not in ("labels", "annotations")}
    metadata |= {k: new["metadata"][k] for k in ("labels", "annotations") if k in (new.get("metadata") or {})}
    return {**template, **({"metadata": metadata} if metadata or "metadata" in new else {}), "spec": spec}


def default_job_spec(spec: Object) -> None:
    """What a Job has and the template of a CronJob has too."""
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    spec.setdefault("podReplacementPolicy", "Failed" if "podFailurePolicy" in spec else "TerminatingOrFailed")
    for rule in (spec.get("podFailurePolicy") or {}).get("rules") or ():
        for pattern in rule.get("onPodConditions") or ():
            pattern.setdefault("status", "True")
    default_template(spec.setdefault("template", {}))


def _generate_selector(job: Object) -> None:
    """Jobs own their pods by the job's uid, so that two never fight over one."""
    uid, name = job["metadata"]["uid"], job["metadata"].get("name", "")
    labels = job["spec"]["template"].setdefault("metadata", {}).setdefault("labels", {})
    for key in (_LEGACY_UID_LABEL, _UID_LABEL):
        labels[key] = uid
    for key in (_LEGACY_NAME_LABEL, _NAME_LABEL):
        labels[key] = name
    job["spec"].setdefault("selector", {}).setdefault("matchLabels", {})[_UID_LABEL] = uid


def _job_status(job: Object) -> str:
    for condition in ("Complete", "Failed"):
        if meta.condition_is_true(job, condition):
            return condition
    if job["metadata"].get("deletionTimestamp"):
        return "Terminating"
    for condition in ("Suspended", "FailureTarget", "SuccessCriteriaMet"):
        if meta.condition_is_true(job, condition):
            return condition
    return "Running"


def _job_duration(status: Object, now: float) -> str:
    if not status.get("startTime"):
        return ""
    end = meta.parse_time(status["completionTime"]) if status.get("completionTime") else now
    return duration.human(end - meta.parse_time(status["startTime"]))


# --- CronJob ----------------------------------------------------------------------------------------------------

_ZONE_PART = re.compile(r"[A-Za-z.\-_0-9+]{1,14}")


class CronJobStrategy(Workload):
    columns = (
        NAME,
        Column("Schedule", description="The schedule in Cron format, see https://en.wikipedia.org/wiki/Cron."),
        Column("Timezone", description="The time zone name for the given schedule."),
        Column("Suspend", "boolean", description="This flag tells the controller to suspend subsequent executions."),
        Column("Active", "integer", description="A list of pointers to currently running jobs."),
        Column("Last Schedule", description="Information when was the last time the job was successfully scheduled."),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    )

    def validate(self, obj: Object) -> list[FieldError]:
        """The controller appends eleven characters to name a Job."""
        name = obj["metadata"].get("name", "")
        found = super().validate(obj) + _time_zone(obj["spec"], None)
        return found + ([invalid_value("metadata.name", name, names.max_length(52))] if len(name) > 52 else [])

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        found = objectmeta.validate_update(new["metadata"], old["metadata"])
        return found + _schedule(new["spec"], old["spec"]) + _time_zone(new["spec"], old["spec"]) + self._others(new)

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        if not spec.get("concurrencyPolicy"):
            spec["concurrencyPolicy"] = "Allow"
        spec.setdefault("suspend", False)
        spec.setdefault("successfulJobsHistoryLimit", 3)
        spec.setdefault("failedJobsHistoryLimit", 1)
        template = spec.setdefault("jobTemplate", {}).setdefault("spec", {})
        default_template(template.setdefault("template", {}))

    def rules(self, obj: Object) -> list[FieldError]:
        return _schedule(obj["spec"], None) + self._others(obj)

    def _others(self, obj: Object) -> list[FieldError]:
        spec, path = obj["spec"], "spec.jobTemplate.spec"
        found = non_negative(spec, "spec", "startingDeadlineSeconds")
        if spec["concurrencyPolicy"] not in _POLICIES:
            found.append(not_supported("spec.concurrencyPolicy", spec["concurrencyPolicy"], _POLICIES))
        template = spec["jobTemplate"].get("spec") or {}
        found += validate_job_spec(template, path)
        if "selector" in template:
            shown = go_selector(template["selector"])
            found.append(invalid_value(f"{path}.selector", shown, "`selector` will be auto-generated"))
        if template.get("manualSelector"):
            found.append(not_supported(f"{path}.manualSelector", True, ("nil", "false")))
        return found + non_negative(spec, "spec", "successfulJobsHistoryLimit", "failedJobsHistoryLimit")

    def cells(self, obj: Object, now: float) -> list[Any]:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        job = (spec.get("jobTemplate") or {}).get("spec") or {}
        last = status.get("lastScheduleTime")
        return [
            obj["metadata"]["name"],
            spec.get("schedule", ""),
            spec.get("timeZone") or "<none>",
            "True" if spec.get("suspend") else "False",
            len(status.get("active") or ()),
            duration.age(last, now) if last else "<none>",
            self.age(obj, now),
            *container_cells(job.get("template") or {}),
            selector_cell(job.get("selector")),
        ]


def _schedule(spec: Object, before: Object | None) -> list[FieldError]:
    schedule = spec.get("schedule", "")
    if not schedule:
        return [required("spec.schedule")]
    found: list[FieldError] = []
    if wrong := cron.problem(schedule):
        found.append(invalid_value("spec.schedule", schedule, wrong))
    allowed = before is not None and "TZ" in before.get("schedule", "")  # from before there was a field for it
    if "TZ" in schedule and not allowed:
        detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        found.append(invalid_value("spec.schedule", schedule, detail))
    elif "TZ" in schedule and "timeZone" in spec:
        detail = "cannot use both timeZone field and TZ or CRON_TZ in schedule"
        found.append(invalid_value("spec.schedule", schedule, detail))
    return found


def _time_zone(spec: Object, before: Object | None) -> list[FieldError]:
    zone, path = spec.get("timeZone"), "spec.timeZone"
    if zone is None or (before is not None and before.get("timeZone") == zone):
        return []
    if not zone:
        return [invalid_value(path, zone, "timeZone must be nil or non-empty string")]
    parts = zone.split("/")
    if any(part in (".", "..") or part.startswith("-") or not _ZONE_PART.fullmatch(part) for part in parts):
        return [invalid_value(path, zone, f"unknown time zone {zone}")]
    if zone.lower() == "local":
        detail = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        return [invalid_value(path, zone, detail)]
    from zoneinfo import ZoneInfo  # only for the few that name one

    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        return [invalid_value(path, zone, f"unknown time zone {zone}")]
    return []
