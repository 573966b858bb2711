"""The pod failure policy: which failures end the Job at once, and which do not count."""

from typing import Any

from apimachinery import meta

Object = dict[str, Any]

FAIL_JOB, IGNORE, COUNT = "FailJob", "Ignore", "Count"


def judge(job: Object, pod: Object) -> tuple[str, str]:
    """The action of the first rule that matches, and for FailJob why; Count when none does."""
    if (pod.get("status") or {}).get("phase") != "Failed":
        return COUNT, ""
    for number, rule in enumerate((job["spec"].get("podFailurePolicy") or {}).get("rules") or ()):
        why = _by_exit_codes(pod, rule.get("onExitCodes")) or _by_conditions(pod, rule.get("onPodConditions"))
        if why:
            action = rule["action"] if rule["action"] in (FAIL_JOB, IGNORE) else COUNT
            return action, f"{why} matching {rule['action']} rule at index {number}"
    return COUNT, ""


def _by_exit_codes(pod: Object, rule: Object | None) -> str:
    if not rule:
        return ""
    status = pod.get("status") or {}
    for state in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]:
        code = ((state.get("state") or {}).get("terminated") or {}).get("exitCode")
        if not code or (rule.get("containerName") and rule["containerName"] != state["name"]):
            continue
        if (code in rule["values"]) == (rule["operator"] == "In"):
            return f"Container {state['name']} for pod {meta.key(pod)} failed with exit code {code}"
    return ""


def _by_conditions(pod: Object, patterns: list[Object] | None) -> str:
    for pattern in patterns or ():
        condition = meta.get_condition(pod, pattern["type"])
        if condition is not None and condition.get("status") == pattern.get("status", "True"):
            return f"Pod {meta.key(pod)} has condition {pattern['type']}"
    return ""
