"""The small kinds of core/v1: Namespace, ConfigMap, Secret, ServiceAccount, Endpoints."""

import base64
import ipaddress
from typing import Any

import orjson

from apimachinery import names
from apimachinery.errors import FieldError, forbidden_field, invalid_value, not_supported, required, too_long
from apimachinery.table import Column
from apiserver.registry.containers import PROTOCOLS
from apiserver.registry.objectmeta import IMMUTABLE
from apiserver.registry.pod_rules import validate_ip
from apiserver.registry.service_rules import validate_external_ip
from apiserver.registry.strategy import AGE, NAME, Object, Strategy

_MAX_DATA = 1024 * 1024


# --- Namespace --------------------------------------------------------------------------------------------------

_NAME_LABEL = "kubernetes.io/metadata.name"
_STANDARD_FINALIZERS = ("kubernetes", "orphan", "foregroundDeletion")


class NamespaceStrategy(Strategy):
    has_status = True
    selectable = ("status.phase", "name")
    columns = (NAME, Column("Status", description="The status of the namespace"), AGE)

    def validate_name(self, name: str, prefix: bool) -> list[str]:
        return names.dns1123_label(names.mask_trailing_dash(name) if prefix else name)

    def default(self, obj: Object) -> None:
        obj.setdefault("spec", {})
        obj.setdefault("status", {}).setdefault("phase", "Active")
        if obj["metadata"].get("name"):
            obj["metadata"].setdefault("labels", {})[_NAME_LABEL] = obj["metadata"]["name"]

    def prepare_for_create(self, obj: Object) -> None:
        obj["status"] = {"phase": "Active"}
        finalizers = obj["spec"].setdefault("finalizers", [])
        if "kubernetes" not in finalizers:
            finalizers.append("kubernetes")
        # The name may have been generated after the defaults were set.
        obj["metadata"].setdefault("labels", {})[_NAME_LABEL] = obj["metadata"].get("name", "")

    def prepare_for_update(self, new: Object, old: Object) -> None:
        new["spec"] = {**new.get("spec", {}), "finalizers": (old.get("spec") or {}).get("finalizers") or []}
        if not new["spec"]["finalizers"]:
            del new["spec"]["finalizers"]
        new["status"] = old.get("status") or {}

    def prepare_for_finalize(self, new: Object, old: Object) -> None:
        """``/finalize`` may change the finalizers of the spec and nothing else of it."""
        new["status"] = old.get("status") or {}

    def rules(self, obj: Object) -> list[FieldError]:
        found: list[FieldError] = []
        # Of a new namespace upstream's path does not say which.
        updated = "resourceVersion" in obj["metadata"]
        for i, finalizer in enumerate((obj.get("spec") or {}).get("finalizers") or ()):
            where = f"spec.finalizers[{i}]" if updated else "spec.finalizers"
            problems = names.qualified_name(finalizer)
            found += [invalid_value(where, finalizer, p) for p in problems]
            if not problems and "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS:
                detail = "name is neither a standard finalizer name nor is it fully qualified"
                found.append(invalid_value(where, finalizer, detail))
        return found

    def status_rules(self, new: Object, old: Object) -> list[FieldError]:
        phase = (new.get("status") or {}).get("phase")
        if new["metadata"].get("deletionTimestamp"):
            if phase != "Terminating":
                detail = "may only be 'Terminating' if `deletionTimestamp` is not empty"
                return [invalid_value("status.Phase", phase, detail)]
        elif phase != "Active":
            detail = "may only be 'Active' if `deletionTimestamp` is empty"
            return [invalid_value("status.Phase", phase, detail)]
        return []

    def check_field_label(self, label: str) -> str:
        return "metadata.name" if label == "name" else super().check_field_label(label)

    def selectable_fields(self, obj: Object) -> dict[str, str]:
        phase = (obj.get("status") or {}).get("phase", "")
        return {**super().selectable_fields(obj), "status.phase": phase}

    def cells(self, obj: Object, now: float) -> list[Any]:
        return [obj["metadata"]["name"], (obj.get("status") or {}).get("phase", ""), self.age(obj, now)]


# --- ConfigMap and Secret ---------------------------------------------------------------------------------------


def _immutable(new: Object, old: Object, *fields: str) -> list[FieldError]:
    """``immutable: true`` is for life, and freezes the data."""
    if not old.get("immutable"):
        return []
    detail = "field is immutable when `immutable` is set"
    changed = [] if new.get("immutable") else ["immutable"]
    changed += [f for f in fields if new.get(f) != old.get(f)]
    return [forbidden_field(f, detail) for f in changed]


class ConfigMapStrategy(Strategy):
    columns = (
        NAME,
        Column("Data", description="Data contains the configuration data."),
        AGE,
    )

    def rules(self, obj: Object) -> list[FieldError]:
        data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
        found: list[FieldError] = []
        size = 0
        for key, value in data.items():
            found += [invalid_value(f"data[{key}]", key, p) for p in names.config_map_key(key)]
            if key in binary:
                detail = "duplicate of key present in binaryData"
                found.append(invalid_value(f"data[{key}]", key, detail))
            size += len(value) if value.isascii() else len(value.encode())
        for key, value in binary.items():
            found += [invalid_value(f"binaryData[{key}]", key, p) for p in names.config_map_key(key)]
            size += len(value) * 3 // 4
        if size > _MAX_DATA:
            found.append(too_long("", _MAX_DATA))
        return found

    def update_rules(self, new: Object, old: Object) -> list[FieldError]:
        return _immutable(new, old, "data", "binaryData")

    def cells(self, obj: Object, now: float) -> list[Any]:
        count = len(obj.get("data") or ()) + len(obj.get("binaryData") or ())
        return [obj["metadata"]["name"], count, self.age(obj, now)]


_SERVICE_ACCOUNT = "kubernetes.io/service-account-token"
_ACCOUNT_NAME = "kubernetes.io/service-account.name"
_REQUIRED_KEYS = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}
_JSON_KEYS = (".dockercfg", ".dockerconfigjson")


class SecretStrategy(Strategy):
    selectable = ("type",)
    columns = (
        NAME,
        Column("Type", description="Used to facilitate programmatic handling of secret data."),
        Column("Data", description="Data contains the secret data."),
        AGE,
    )

    def default(self, obj: Object) -> None:
        if not obj.get("type"):
            obj["type"] = "Opaque"
        # Write-only convenience: plain strings become data, and win.
        for key, text in (obj.pop("stringData", None) or {}).items():
            obj.setdefault("data", {})[key] = base64.b64encode(text.encode()).decode()

    def rules(self, obj: Object) -> list[FieldError]:
        data = obj.get("data") or {}
        found: list[FieldError] = []
        for key in data:
            found += [invalid_value(f"data[{key}]", key, p) for p in names.config_map_key(key)]
        if sum(len(v) * 3 // 4 for v in data.values()) > _MAX_DATA:
            found.append(too_long("data", _MAX_DATA))
        return found + _secret_type(obj, data)

    def update_rules(self, new: Object, old: Object) -> list[FieldError]:
        found = [] if new.get("type") == old.get("type") else [invalid_value("type", new.get("type"), IMMUTABLE)]
        return found + _immutable(new, old, "data")

    def selectable_fields(self, obj: Object) -> dict[str, str]:
        return {**super().selectable_fields(obj), "type": obj.get("type", "")}

    def cells(self, obj: Object, now: float) -> list[Any]:
        return [obj["metadata"]["name"], obj.get("type", ""), len(obj.get("data") or ()), self.age(obj, now)]


def _secret_type(secret: Object, data: dict[str, str]) -> list[FieldError]:
    """Known types promise certain keys."""
    kind = secret.get("type")
    if kind == _SERVICE_ACCOUNT:
        named = (secret["metadata"].get("annotations") or {}).get(_ACCOUNT_NAME)
        return [] if named else [required(f"metadata.annotations[{_ACCOUNT_NAME}]")]
    if kind == "kubernetes.io/basic-auth":
        if "username" in data or "password" in data:
            return []
        return [required("data[username]"), required("data[password]")]
    found: list[FieldError] = []
    for key in _REQUIRED_KEYS.get(kind or "", ()):
        if key not in data:
            found.append(required(f"data[{key}]"))
        elif key in _JSON_KEYS:
            try:
                orjson.loads(base64.b64decode(data[key]))
            except ValueError as e:
                found.append(invalid_value(f"data[{key}]", "<secret contents redacted>", str(e)))
    return found


# --- ServiceAccount ---------------------------------------------------------------------------------------------


class ServiceAccountStrategy(Strategy):
    allow_create_on_update = False
    columns = (
        NAME,
        Column(
            "Secrets",
            description="Secrets is a list of the secrets in the same namespace that pods running using this ServiceAccount "
            "are allowed to use.",
        ),
        AGE,
    )

    def cells(self, obj: Object, now: float) -> list[Any]:
        return [obj["metadata"]["name"], len(obj.get("secrets") or ()), self.age(obj, now)]


# --- Endpoints --------------------------------------------------------------------------------------------------


class EndpointsStrategy(Strategy):
    allow_create_on_update = True
    columns = (
        NAME,
        Column("Endpoints", description="The set of all endpoints is the union of all subsets."),
        AGE,
    )

    def default(self, obj: Object) -> None:
        for subset in obj.get("subsets") or ():
            for port in subset.get("ports") or ():
                port.setdefault("protocol", "TCP")

    def rules(self, obj: Object) -> list[FieldError]:
        found: list[FieldError] = []
        for i, subset in enumerate(obj.get("subsets") or ()):
            found += _subset(subset, f"subsets[{i}]")
        return found

    def cells(self, obj: Object, now: float) -> list[Any]:
        shown: list[str] = []
        for subset in obj.get("subsets") or ():
            addresses, ports = subset.get("addresses") or (), subset.get("ports") or ()
            if ports:
                shown += [_host_port(a.get("ip", ""), p.get("port", 0)) for p in ports for a in addresses]
            else:
                shown += [a.get("ip", "") for a in addresses]
        return [obj["metadata"]["name"], first_few(shown, "<none>"), self.age(obj, now)]


def _subset(subset: Object, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if not subset.get("addresses") and not subset.get("notReadyAddresses"):
        found.append(required(path, "must specify `addresses` or `notReadyAddresses`"))
    for field in ("addresses", "notReadyAddresses"):
        for i, address in enumerate(subset.get(field) or ()):
            where = f"{path}.{field}[{i}]"
            found += _ip(address.get("ip", ""), f"{where}.ip") + _address(address, where)
    ports = subset.get("ports") or []
    for i, port in enumerate(ports):
        where, name = f"{path}.ports[{i}]", port.get("name", "")
        if not name and len(ports) > 1:
            found.append(required(f"{where}.name"))
        found += [invalid_value(f"{where}.name", name, p) for p in names.dns1123_label(name) if name]
        found += [
            invalid_value(f"{where}.port", port.get("port", 0), p) for p in names.port_number(port.get("port", 0))
        ]
        if port.get("protocol") not in PROTOCOLS:
            found.append(not_supported(f"{where}.protocol", port.get("protocol", ""), PROTOCOLS))
    return found


def _ip(address: str, path: str) -> list[FieldError]:
    """As upstream, which takes no loopback address either; but that is where pods and API servers are without root."""
    found = validate_ip(address, path)
    return found or ([] if ipaddress.ip_address(address).is_loopback else validate_external_ip(address, path))


def _address(address: Object, path: str) -> list[FieldError]:
    host, node = address.get("hostname", ""), address.get("nodeName")
    found = [invalid_value(f"{path}.hostname", host, p) for p in names.dns1123_label(host) if host]
    if node is not None:
        found += [invalid_value(f"{path}.nodeName", node, p) for p in names.dns1123_subdomain(node)]
    return found


def _host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def first_few(items: list[str], none: str, limit: int = 3) -> str:
    """``a,b,c + 2 more...``: how upstream shortens a list in a cell."""
    shown = ",".join(items[:limit]) or none
    return f"{shown} + {len(items) - limit} more..." if len(items) > limit else shown
