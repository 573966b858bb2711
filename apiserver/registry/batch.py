"""Jobs and CronJobs."""

import re
from typing import Any

from apimachinery import duration, meta, names
from apimachinery.errors import FieldError, invalid_value, not_supported, required
from apimachinery.selectors import from_label_selector
from apimachinery.table import Column
from apiserver.registry.objectmeta import IMMUTABLE
from apiserver.registry.pod_defaults import default_template
from apiserver.registry.pod_rules import validate_template
from apiserver.registry.strategy import AGE, NAME, Object
from apiserver.registry.templated import CONTAINERS, IMAGES, SELECTOR, container_cells, non_negative, selector_cell
from apiserver.registry.workloads import Workload

_UID_LABEL, _NAME_LABEL = "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"
_LEGACY_UID_LABEL, _LEGACY_NAME_LABEL = "controller-uid", "job-name"
_NUMBERS = ("parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished")
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
        labels = (spec["template"].get("metadata") or {}).get("labels") or {}
        if not found and not from_label_selector(selector).matches(labels):
            detail = "`selector` does not match template `labels`"
            found.append(invalid_value("spec.template.metadata.labels", labels, detail))
        return found

    def update_rules(self, new: Object, old: Object) -> list[FieldError]:
        spec, before = new["spec"], old["spec"]
        fields = ["selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy"]
        if before.get("completionMode") != "Indexed":
            fields.append("completions")
        if not (before.get("suspend") and not (old.get("status") or {}).get("startTime")):
            # What has not started yet may still be steered elsewhere.
            fields.append("template")
        return [invalid_value(f"spec.{f}", spec.get(f), IMMUTABLE) for f in fields if spec.get(f) != before.get(f)]

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


def validate_job_spec(spec: Object, path: str) -> list[FieldError]:
    found = non_negative(spec, path, *_NUMBERS)
    mode = spec.get("completionMode", "NonIndexed")
    if mode not in ("NonIndexed", "Indexed"):
        found.append(not_supported(f"{path}.completionMode", mode, ("Indexed", "NonIndexed")))
    elif mode == "Indexed" and spec.get("completions") is None:
        found.append(required(f"{path}.completions", f"when completion mode is {mode}"))
    found += validate_template(spec.get("template") or {}, f"{path}.template")
    policy = ((spec.get("template") or {}).get("spec") or {}).get("restartPolicy")
    if policy == "Always":
        found.append(required(f"{path}.template.spec.restartPolicy", 'valid values: "OnFailure", "Never"'))
    return found


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

_MACROS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_CRON_FIELD = re.compile(r"[\d*/,?LW#A-Za-z-]+")


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

    def validate_name(self, name: str, prefix: bool) -> list[str]:
        # The controller appends eleven characters to name a Job.
        return super().validate_name(name, prefix) + ([names.max_length(52)] if len(name) > 52 else [])

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
        spec = obj["spec"]
        found = _schedule(spec)
        if spec["concurrencyPolicy"] not in _POLICIES:
            found.append(not_supported("spec.concurrencyPolicy", spec["concurrencyPolicy"], _POLICIES))
        numbers = ("startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit")
        found += non_negative(spec, "spec", *numbers)
        template = spec["jobTemplate"].get("spec") or {}
        if template.get("manualSelector"):
            choices = ("nil", "false")
            found.append(not_supported("spec.jobTemplate.spec.manualSelector", True, choices))
        return found + validate_job_spec(template, "spec.jobTemplate.spec")

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


def _schedule(spec: Object) -> list[FieldError]:
    schedule = spec.get("schedule", "")
    if not schedule:
        return [required("spec.schedule")]
    if "TZ" in schedule:
        detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        return [invalid_value("spec.schedule", schedule, detail)]
    if schedule in _MACROS or schedule.startswith("@every "):
        return []
    fields = schedule.split()
    if len(fields) != 5:
        detail = f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]"
        return [invalid_value("spec.schedule", schedule, detail)]
    wrong = next((f for f in fields if not _CRON_FIELD.fullmatch(f)), None)
    return [invalid_value("spec.schedule", schedule, f"failed to parse int from {wrong}")] if wrong else []
