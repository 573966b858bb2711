"""What a Job's pods are made of, and what is read from them."""

from typing import Any

from apimachinery import meta
from controllers import pods

Object = dict[str, Any]

FINALIZER = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"


def is_indexed(job: Object) -> bool:
    return job["spec"].get("completionMode") == "Indexed"


def index_of(pod: Object) -> int | None:
    text = meta.annotations(pod).get(INDEX, "")
    return int(text) if text.isdigit() else None


def only_replaces_failed(job: Object) -> bool:
    """A terminating pod is replaced when it has really ended, not before."""
    return job["spec"].get("podReplacementPolicy") == "Failed"


def has_succeeded(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") == "Succeeded"


def has_failed(job: Object, pod: Object) -> bool:
    """Pods that somebody deletes count too: they may never reach an end that could be seen."""
    if (pod.get("status") or {}).get("phase") == "Failed":
        return True
    if only_replaces_failed(job):
        return False
    return meta.is_deleting(pod) and not has_succeeded(pod)


def finished_at(pod: Object) -> float | None:
    status = pod.get("status") or {}
    times = [
        ended["finishedAt"]
        for c in status.get("containerStatuses") or ()
        if (ended := (c.get("state") or {}).get("terminated")) and ended.get("finishedAt")
    ]
    if times:
        return meta.parse_time(max(times))
    ready = meta.get_condition(pod, "Ready")
    if ready is not None and ready.get("lastTransitionTime"):
        return meta.parse_time(ready["lastTransitionTime"])
    return None


def make(job: Object, index: int | None) -> Object:
    pod = pods.from_template(job["spec"]["template"], job)
    metadata = pod["metadata"]
    metadata["finalizers"] = [*metadata.get("finalizers", []), FINALIZER]
    if index is None:
        return pod
    metadata["generateName"] = f"{meta.name(job)}-{index}-"
    metadata["annotations"] = {**metadata.get("annotations", {}), INDEX: str(index)}
    metadata["labels"] = {**metadata.get("labels", {}), INDEX: str(index)}
    spec = {**pod["spec"], "hostname": f"{meta.name(job)}-{index}"}
    source = {"fieldRef": {"apiVersion": "v1", "fieldPath": f"metadata.labels['{INDEX}']"}}
    for field in ("containers", "initContainers"):
        if spec.get(field):
            spec[field] = [_with_index(container, source) for container in spec[field]]
    pod["spec"] = spec
    return pod


def _with_index(container: Object, source: Object) -> Object:
    env = container.get("env") or []
    if any(e["name"] == "JOB_COMPLETION_INDEX" for e in env):
        return container
    return {**container, "env": [*env, {"name": "JOB_COMPLETION_INDEX", "valueFrom": source}]}
