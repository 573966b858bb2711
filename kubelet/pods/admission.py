"""Whether the node takes a pod: the scheduler's promise, checked where it has to be kept (upstream's predicate admit handler)."""

from collections.abc import Iterable
from typing import Any

from apimachinery import quantity, selectors
from kubelet.pods import spec
from kubelet.pods.resources import pod_requests

Object = dict[str, Any]
Refusal = tuple[str, str]  # reason, message


def refuse(pod: Object, node: Object, others: Iterable[Object]) -> Refusal | None:
    """Why the pod cannot run on the node beside ``others``, or None."""
    others = list(others)
    for predicate in (_affinity, _taints, lambda p, n: _ports(p, others), lambda p, n: _resources(p, n, others)):
        refusal = predicate(pod, node)
        if refusal is not None:
            return refusal
    return None


def _predicate(name: str, why: str) -> Refusal:
    return name, f"Predicate {name} failed: {why}"


def _affinity(pod: Object, node: Object) -> Refusal | None:
    labels = node["metadata"].get("labels") or {}
    selector = pod["spec"].get("nodeSelector") or {}
    required = ((pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    fits = all(labels.get(key) == value for key, value in selector.items())
    if fits and required:
        fits = any(_term_matches(term, labels, node["metadata"]["name"]) for term in required["nodeSelectorTerms"])
    return None if fits else _predicate("NodeAffinity", "node(s) didn't match Pod's node affinity/selector")


def _term_matches(term: Object, labels: dict[str, str], name: str) -> bool:
    expressions, fields = term.get("matchExpressions") or [], term.get("matchFields") or []
    if not expressions and not fields:
        return False
    try:
        return all(selectors.from_expression(e).matches(labels) for e in expressions) and all(
            selectors.from_expression(e).matches({"metadata.name": name}) for e in fields
        )
    except selectors.SelectorError:
        return False


def _taints(pod: Object, node: Object) -> Refusal | None:
    tolerations = pod["spec"].get("tolerations") or []
    for taint in node["spec"].get("taints") or []:
        if taint["effect"] == "NoExecute" and not any(_tolerates(t, taint) for t in tolerations):
            return _predicate("TaintToleration", "node(s) had taints that the pod didn't tolerate")
    return None


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    if (toleration.get("operator") or "Equal") == "Exists":
        return True
    return bool(toleration.get("key")) and (toleration.get("value") or "") == (taint.get("value") or "")


def _host_ports(pod: Object) -> set[tuple[str, str, int]]:
    host_network = spec.is_host_network(pod)
    found = set()
    for container in spec.containers(pod):
        for port in container.get("ports") or []:
            number = port.get("hostPort") or (port["containerPort"] if host_network else 0)
            if number:
                found.add((port.get("hostIP") or "0.0.0.0", port.get("protocol") or "TCP", number))
    return found


def _ports(pod: Object, others: list[Object]) -> Refusal | None:
    wanted = _host_ports(pod)
    for other in others if wanted else ():
        for ip, protocol, number in _host_ports(other):
            for my_ip, my_protocol, my_number in wanted:
                same_ip = "0.0.0.0" in (ip, my_ip) or ip == my_ip
                if number == my_number and protocol == my_protocol and same_ip:
                    return _predicate("NodePorts", "node(s) didn't have free ports for the requested pod ports")
    return None


def _resources(pod: Object, node: Object, others: list[Object]) -> Refusal | None:
    allocatable = (node.get("status") or {}).get("allocatable") or {}
    capacity = quantity.value(allocatable.get("pods", "110"))
    if len(others) + 1 > capacity:
        return _insufficient("pods", 1, len(others), capacity)
    wanted = pod_requests(pod)
    if not any(wanted.values()):
        return None
    used: dict[str, int] = {}
    for other in others:
        for name, amount in pod_requests(other).items():
            used[name] = used.get(name, 0) + amount
    for name, amount in wanted.items():
        if not amount:
            continue
        text = allocatable.get(name, "0")
        available = quantity.milli(text) if name == "cpu" else quantity.value(text)
        if amount + used.get(name, 0) > available:
            return _insufficient(name, amount, used.get(name, 0), available)
    return None


def _insufficient(resource: str, requested: int, used: int, capacity: int) -> Refusal:
    message = (
        f"Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}"
    )
    return f"OutOf{resource}", message
