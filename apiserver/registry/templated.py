"""What all workloads share: a pod template, a selector that must match it, replicas, and how their rows print."""

from typing import Any

from apimachinery.errors import (
    FieldError,
    Literal,
    forbidden_field,
    invalid_value,
    not_supported,
    quote,
    render_value,
    required,
)
from apimachinery.selectors import SelectorError, from_label_selector, from_set, validate_label_selector
from apimachinery.table import Column
from apiserver.registry.objectmeta import IMMUTABLE, NON_NEGATIVE
from apiserver.registry.pod_rules import validate_template

Object = dict[str, Any]

CONTAINERS = Column("Containers", description="Names of each container in the template.", priority=1)
IMAGES = Column("Images", description="Images referenced by each container in the template.", priority=1)
SELECTOR_DESCRIPTION = (
    "Label selector for pods. Existing ReplicaSets whose pods are selected by this will be the ones affected by this "
    "deployment. It must match the pod template's labels."
)
SELECTOR = Column("Selector", description=SELECTOR_DESCRIPTION, priority=1)

MISMATCH = "`selector` does not match template `labels`"


def container_cells(template: Object) -> list[str]:
    """The CONTAINERS and IMAGES cells."""
    containers = (template.get("spec") or {}).get("containers") or []
    return [",".join(c.get(field, "") for c in containers) for field in ("name", "image")]


def selector_cell(selector: Object | None) -> str:
    """A label selector on one line; none selects nothing, which upstream prints as an error's place-holder."""
    if selector is None:
        return "<none>"
    try:
        return str(from_label_selector(selector)) or "<none>"
    except SelectorError:
        return "<error>"


def labels_cell(labels: dict[str, str] | None) -> str:
    return str(from_set(labels)) if labels else "<none>"


def non_negative(spec: Object, path: str, *fields: str) -> list[FieldError]:
    return [invalid_value(f"{path}.{f}", spec[f], NON_NEGATIVE) for f in fields if (spec.get(f) or 0) < 0]


def validate_selector(spec: Object, path: str, *, what: str) -> list[FieldError]:
    """A workload's selector: present, not empty, well-formed."""
    selector = spec.get("selector")
    if selector is None:
        return [required(f"{path}.selector")]
    found = validate_label_selector(selector, f"{path}.selector")
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        found.append(invalid_value(f"{path}.selector", go_selector(selector), f"empty selector is invalid for {what}"))
    return found


def validate_workload_template(spec: Object, path: str, kind: str) -> list[FieldError]:
    """The template's own rules, its labels against the selector, and what makes no sense in pods that never end."""
    template, selector = spec.get("template") or {}, spec.get("selector")
    labels = (template.get("metadata") or {}).get("labels") or {}
    found: list[FieldError] = []
    try:
        # No selector selects nothing: it does not match either.
        matches = selector is not None and from_label_selector(selector).matches(labels)
    except SelectorError:
        matches = True  # the selector itself has been complained about
    if not matches:
        found.append(mismatch(labels, f"{path}.template.metadata.labels"))
    found += validate_template(template, f"{path}.template")
    return found + validate_endless(template, f"{path}.template.spec", kind)


def mismatch(labels: dict[str, str], path: str) -> FieldError:
    return invalid_value(path, labels or Literal("map[string]string(nil)"), MISMATCH)


def validate_endless(template: Object, path: str, kind: str) -> list[FieldError]:
    """Pods of a workload that is kept up start again for ever."""
    found = validate_restart_policy(template, f"{path}.restartPolicy", ("Always",))
    if "activeDeadlineSeconds" in (template.get("spec") or {}):
        detail = f"activeDeadlineSeconds in {kind} is not Supported"
        found.append(forbidden_field(f"{path}.activeDeadlineSeconds", detail))
    return found


def validate_restart_policy(template: Object, path: str, allowed: tuple[str, ...]) -> list[FieldError]:
    policy = (template.get("spec") or {}).get("restartPolicy", "")
    return [] if policy in allowed else [not_supported(path, policy, allowed)]


def go_selector(selector: Object | None) -> Literal | None:
    """A label selector as Go's ``%#v`` prints it: what upstream shows of a selector that it refuses."""
    if selector is None:
        return None
    labels, expressions = selector.get("matchLabels"), selector.get("matchExpressions") or ()
    shown = [
        f"v1.LabelSelectorRequirement{{Key:{quote(e.get('key', ''))}, Operator:{quote(e.get('operator', ''))}, "
        f"Values:{render_value(e['values']) if e.get('values') else '[]string(nil)'}}}"
        for e in expressions
    ]
    requirements = f"{{{', '.join(shown)}}}" if shown else "(nil)"
    return Literal(
        f"v1.LabelSelector{{MatchLabels:{render_value(labels) if labels else 'map[string]string(nil)'}, "
        f"MatchExpressions:[]v1.LabelSelectorRequirement{requirements}}}"
    )


def selector_is_immutable(new: Object, old: Object) -> list[FieldError]:
    wanted, had = (new.get("spec") or {}).get("selector"), (old.get("spec") or {}).get("selector")
    return [] if wanted == had else [invalid_value("spec.selector", go_selector(wanted), IMMUTABLE)]
