"""LimitRanger: a namespace's LimitRanges give containers their default requests and limits, and bound what may be asked for."""

from typing import Any

from apimachinery import errors, quantity
from apimachinery.podresources import pod_limits, pod_requests
from apimachinery.quantity import Quantity
from apiserver.admission.chain import Attributes, Plugin
from apiserver.admission.lister import Lister

Object = dict[str, Any]
Amounts = dict[str, str]
ANNOTATION = "kubernetes.io/limit-ranger"


class LimitRanger(Plugin):
    handles = frozenset({"CREATE", "UPDATE"})

    def __init__(self, limit_ranges: Lister) -> None:
        self._limit_ranges = limit_ranges

    async def admit(self, attributes: Attributes) -> None:
        if not _concerned(attributes) or attributes.resource.plural != "pods":
            return
        for limit_range in self._limit_ranges.list(attributes.namespace):
            assert attributes.obj is not None, "an object is created or updated"
            apply_defaults(attributes.obj, limit_range)

    async def validate(self, attributes: Attributes) -> None:
        if not _concerned(attributes):
            return
        for limit_range in self._limit_ranges.list(attributes.namespace):
            assert attributes.obj is not None, "an object is created or updated"
            judge = violations_of_pod if attributes.resource.plural == "pods" else violations_of_claim
            found = judge(attributes.obj, limit_range)
            if found:
                raise attributes.forbidden(errors.aggregate(found))


def _concerned(attributes: Attributes) -> bool:
    """Containers cannot change after their creation, except by a resize; a claim may grow."""
    resource, operation = attributes.resource, attributes.operation
    if resource.group:
        return False
    if resource.plural == "pods":
        return (operation == "CREATE" and not attributes.subresource) or attributes.what == "pods/resize"
    return resource.plural == "persistentvolumeclaims" and not attributes.subresource


# --- defaults ---------------------------------------------------------------------------------------------------


def apply_defaults(pod: Object, limit_range: Object) -> None:
    """Fills in what containers do not say, and notes it in the annotation."""
    limits: Amounts = {}
    requests: Amounts = {}
    for item in _items(limit_range):
        if item.get("type") == "Container":
            requests.update(item.get("defaultRequest") or {})
            limits.update(item.get("default") or {})
    notes: list[str] = []
    for field, kind in (("containers", "container"), ("initContainers", "init container")):
        for container in pod["spec"].get(field) or ():
            for amounts, which in ((requests, "requests"), (limits, "limits")):
                added = _fill(container, which, amounts)
                if added:
                    notes.append(f"{', '.join(sorted(added))} {which[:-1]} for {kind} {container.get('name', '')}")
    if notes:
        annotations = pod["metadata"].setdefault("annotations", {})
        annotations[ANNOTATION] = "LimitRanger plugin set: " + "; ".join(notes)


def _fill(container: Object, which: str, amounts: Amounts) -> list[str]:
    if not amounts:
        return []
    given = container.setdefault("resources", {}).setdefault(which, {})
    added = [name for name in amounts if name not in given]
    for name in added:
        given[name] = amounts[name]
    return added


# --- bounds -----------------------------------------------------------------------------------------------------


def violations_of_pod(pod: Object, limit_range: Object) -> list[str]:
    """Everything that a pod asks for beyond the range."""
    spec = pod["spec"]
    found: list[str] = []
    for item in _items(limit_range):
        if item.get("type") == "Container":
            for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
                resources = container.get("resources") or {}
                found += _bounds(item, _parsed(resources.get("requests")), _parsed(resources.get("limits")))
        elif item.get("type") == "Pod":
            found += _bounds(item, pod_requests(pod), pod_limits(pod))
    return found


def violations_of_claim(claim: Object, limit_range: Object) -> list[str]:
    requests = _parsed(((claim.get("spec") or {}).get("resources") or {}).get("requests"))
    found: list[str | None] = []
    for item in _items(limit_range):
        if item.get("type") == "PersistentVolumeClaim":
            found += [_minimum(item, name, Quantities(requests, {})) for name in item.get("min") or ()]
            found += [_maximum_request(item, name, requests) for name in item.get("max") or ()]
    return [text for text in found if text]


class Quantities:
    """What is asked for, as (requests, limits)."""

    __slots__ = ("limits", "requests")

    def __init__(self, requests: dict[str, Quantity], limits: dict[str, Quantity]) -> None:
        self.requests = requests
        self.limits = limits


def _items(limit_range: Object) -> list[Object]:
    return (limit_range.get("spec") or {}).get("limits") or []


def _parsed(amounts: Amounts | None) -> dict[str, Quantity]:
    return {name: quantity.parse(amount) for name, amount in (amounts or {}).items()}


def _bounds(item: Object, requests: dict[str, Quantity], limits: dict[str, Quantity]) -> list[str]:
    asked = Quantities(requests, limits)
    found = [_minimum(item, name, asked) for name in item.get("min") or ()]
    found += [_maximum(item, name, asked) for name in item.get("max") or ()]
    found += [_ratio(item, name, asked) for name in item.get("maxLimitRequestRatio") or ()]
    return [text for text in found if text]


def _minimum(item: Object, name: str, asked: Quantities) -> str | None:
    enforced = quantity.parse(item["min"][name])
    rule = f"minimum {name} usage per {item['type']} is {enforced}"
    request, limit = asked.requests.get(name), asked.limits.get(name)
    if request is None:
        return f"{rule}.  No request is specified"
    if request < enforced:
        return f"{rule}, but request is {request}"
    if limit is not None and limit < enforced:
        return f"{rule}, but limit is {limit}"
    return None


def _maximum(item: Object, name: str, asked: Quantities) -> str | None:
    enforced = quantity.parse(item["max"][name])
    rule = f"maximum {name} usage per {item['type']} is {enforced}"
    request, limit = asked.requests.get(name), asked.limits.get(name)
    if limit is None:
        return f"{rule}.  No limit is specified"
    if limit > enforced:
        return f"{rule}, but limit is {limit}"
    if request is not None and request > enforced:
        return f"{rule}, but request is {request}"
    return None


def _maximum_request(item: Object, name: str, requests: dict[str, Quantity]) -> str | None:
    """Claims have no limits."""
    enforced = quantity.parse(item["max"][name])
    rule = f"maximum {name} usage per {item['type']} is {enforced}"
    request = requests.get(name)
    if request is None:
        return f"{rule}.  No request is specified"
    return f"{rule}, but request is {request}" if request > enforced else None


def _ratio(item: Object, name: str, asked: Quantities) -> str | None:
    enforced = quantity.parse(item["maxLimitRequestRatio"][name])
    rule = f"{name} max limit to request ratio per {item['type']} is {enforced}"
    request, limit = asked.requests.get(name), asked.limits.get(name)
    if request is None or not request.unscaled:
        return f"{rule}, but no request is specified or request is 0"
    if limit is None or not limit.unscaled:
        return f"{rule}, but no limit is specified or limit is 0"
    observed = limit.milli_value / request.milli_value
    return f"{rule}, but provided ratio is {observed:f}" if observed * 1000 > enforced.milli_value else None
