"""Nodes."""

from typing import Any

from apimachinery import meta
from apimachinery.errors import FieldError, Literal, duplicate, forbidden_field, invalid_value, quote
from apimachinery.table import Column
from apiserver.registry.amounts import validate_amount
from apiserver.registry.pod_defaults import round_resources
from apiserver.registry.scheduling_rules import validate_taints
from apiserver.registry.service_rules import validate_cidr
from apiserver.registry.strategy import AGE, NAME, Object, Strategy

_ROLE_PREFIX = "node-role.kubernetes.io/"
_ROLE_LABEL = "kubernetes.io/role"


class NodeStrategy(Strategy):
    has_status = True
    selectable = ("spec.unschedulable",)
    columns = (
        NAME,
        Column("Status", description="The status of the node"),
        Column("Roles", description="The roles of the node"),
        AGE,
        Column("Version", description="Kubelet Version reported by the node."),
        Column("Internal-IP", description="List of addresses reachable to the node.", priority=1),
        Column("External-IP", description="List of addresses reachable to the node.", priority=1),
        Column(
            "OS-Image",
            description="OS Image reported by the node from /etc/os-release (e.g. Debian GNU/Linux 7 (wheezy)).",
            priority=1,
        ),
        Column(
            "Kernel-Version",
            description="Kernel Version reported by the node from 'uname -r' (e.g. 3.16.0-0.bpo.4-amd64).",
            priority=1,
        ),
        Column(
            "Container-Runtime",
            description="ContainerRuntime Version reported by the node through runtime remote API (e.g. containerd://1.4.2).",
            priority=1,
        ),
    )

    def default(self, obj: Object) -> None:
        spec, status = obj.setdefault("spec", {}), obj.get("status") or {}
        # One value under two names, as with a Service's addresses.
        if spec.get("podCIDR") and not spec.get("podCIDRs"):
            spec["podCIDRs"] = [spec["podCIDR"]]
        elif spec.get("podCIDRs") and not spec.get("podCIDR"):
            spec["podCIDR"] = spec["podCIDRs"][0]
        for field in ("capacity", "allocatable"):
            if amounts := status.get(field):
                round_resources(amounts)
        if status.get("capacity") and not status.get("allocatable"):
            status["allocatable"] = dict(status["capacity"])

    def prepare_for_create(self, obj: Object) -> None:
        """A kubelet registers itself with its status: it is kept."""
        obj.setdefault("status", {})

    def rules(self, obj: Object) -> list[FieldError]:
        spec = obj.get("spec") or {}
        return _taints(spec) + _amounts(obj) + _pod_cidrs(spec)

    def update_rules(self, new: Object, old: Object) -> list[FieldError]:
        spec, before = new.get("spec") or {}, old.get("spec") or {}
        # Upstream's rules of an update repeat some of those of the object.
        found = _amounts(new) + _addresses(new.get("status") or {})
        if before.get("podCIDRs") and spec.get("podCIDRs") != before["podCIDRs"]:
            detail = 'node updates may not change podCIDR except from "" to valid'
            found.append(forbidden_field("spec.podCIDRs", detail))
        if before.get("providerID") and spec.get("providerID") != before["providerID"]:
            detail = 'node updates may not change providerID except from "" to valid'
            found.append(forbidden_field("spec.providerID", detail))
        return found + _taints(spec)

    def status_rules(self, new: Object, old: Object) -> list[FieldError]:
        return self.update_rules(new, old)

    def selectable_fields(self, obj: Object) -> dict[str, str]:
        unschedulable = "true" if (obj.get("spec") or {}).get("unschedulable") else "false"
        return {**super().selectable_fields(obj), "spec.unschedulable": unschedulable}

    def cells(self, obj: Object, now: float) -> list[Any]:
        info = (obj.get("status") or {}).get("nodeInfo") or {}
        return [
            obj["metadata"]["name"],
            _status(obj),
            ",".join(roles(obj)) or "<none>",
            self.age(obj, now),
            info.get("kubeletVersion", ""),
            _address(obj, "InternalIP"),
            _address(obj, "ExternalIP"),
            info.get("osImage") or "<unknown>",
            info.get("kernelVersion") or "<unknown>",
            info.get("containerRuntimeVersion") or "<unknown>",
        ]


def _taints(spec: Object) -> list[FieldError]:
    """Upstream's path says metadata."""
    return validate_taints(spec.get("taints") or [], "metadata.taints")


def _amounts(node: Object) -> list[FieldError]:
    status = node.get("status") or {}
    return [
        error
        for field in ("capacity", "allocatable")
        for name, amount in (status.get(field) or {}).items()
        for error in validate_amount(name, amount, f"status.{field}.{name}")
    ]


def _pod_cidrs(spec: Object) -> list[FieldError]:
    cidrs = spec.get("podCIDRs") or []
    found = [error for i, cidr in enumerate(cidrs) for error in validate_cidr(cidr, f"spec.podCIDRs[{i}]")]
    if len(cidrs) > 1 and (len(cidrs) > 2 or len({":" in c for c in cidrs}) < 2):
        detail = "may specify no more than one CIDR for each IP family"
        found.append(invalid_value("spec.podCIDRs", cidrs, detail))
    return found


def _addresses(status: Object) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[tuple[str, str]] = set()
    for i, address in enumerate(status.get("addresses") or ()):
        pair = (address.get("type", ""), address.get("address", ""))
        if pair in seen:
            shown = Literal(f"core.NodeAddress{{Type:{quote(pair[0])}, Address:{quote(pair[1])}}}")
            found.append(duplicate(f"status.addresses[{i}]", shown))
        seen.add(pair)
    return found


def _status(node: Object) -> str:
    ready = meta.get_condition(node, "Ready")
    status = "Unknown" if ready is None else "Ready" if ready.get("status") == "True" else "NotReady"
    return status + (",SchedulingDisabled" if (node.get("spec") or {}).get("unschedulable") else "")


def roles(node: Object) -> list[str]:
    found = set()
    for key, value in meta.labels(node).items():
        if key.startswith(_ROLE_PREFIX):
            found.add(key.removeprefix(_ROLE_PREFIX))
        elif key == _ROLE_LABEL:
            found.add(value)
    return sorted(found - {""})


def _address(node: Object, kind: str) -> str:
    addresses = (node.get("status") or {}).get("addresses") or ()
    return next((a.get("address", "") for a in addresses if a.get("type") == kind), "<none>")
