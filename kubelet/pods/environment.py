"""A container's environment: Services, envFrom, env - in this order, the later wins - with ``$(VAR)`` expanded.

A pure function of the pod and of the ConfigMaps, Secrets and Services that it refers to. What is missing raises
:class:`kubelet.pods.failures.ContainerFailure` with upstream's words.
"""

import base64
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from apimachinery import names, quantity
from kubelet.pods import spec
from kubelet.pods.expansion import expand
from kubelet.pods.failures import config_error
from kubelet.pods.resources import limits, requests

Object = dict[str, Any]
Lookup = Callable[[str, str], Object | None]  # (kind, name) in the pod's namespace


def service_variables(services: Iterable[Object]) -> dict[str, str]:
    """Docker-links style, as upstream still makes them: ``REDIS_SERVICE_HOST``, ``REDIS_PORT_6379_TCP_ADDR``..."""
    found: dict[str, str] = {}
    for service in services:
        ip = service["spec"].get("clusterIP")
        ports = service["spec"].get("ports") or []
        if not ip or ip == "None" or not ports:
            continue
        prefix = service["metadata"]["name"].upper().replace("-", "_")
        found[f"{prefix}_SERVICE_HOST"] = ip
        found[f"{prefix}_SERVICE_PORT"] = str(ports[0]["port"])
        for port in ports:
            if port.get("name"):
                found[f"{prefix}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(port["port"])
        for i, port in enumerate(ports):
            protocol, number = port.get("protocol") or "TCP", port["port"]
            url = f"{protocol.lower()}://{f'[{ip}]' if ':' in ip else ip}:{number}"
            if i == 0:
                found[f"{prefix}_PORT"] = url
            base = f"{prefix}_PORT_{number}_{protocol}"
            found[base] = url
            found[f"{base}_PROTO"] = protocol.lower()
            found[f"{base}_PORT"] = str(number)
            found[f"{base}_ADDR"] = ip
    return found


def visible_services(pod: Object, services: Iterable[Object]) -> list[Object]:
    """The API server's Service always; those of the pod's namespace unless enableServiceLinks is false."""
    links = pod["spec"].get("enableServiceLinks", True)
    namespace = pod["metadata"]["namespace"]
    found: dict[str, Object] = {}
    for service in services:
        meta = service["metadata"]
        if meta["namespace"] == "default" and meta["name"] == "kubernetes":
            found.setdefault("kubernetes", service)
        if links and meta["namespace"] == namespace:
            found[meta["name"]] = service
    return [found[name] for name in sorted(found)]


def environment(
    pod: Object,
    container: Object,
    *,
    services: Iterable[Object],
    lookup: Lookup,
    pod_ips: list[str],
    host_ip: str,
    allocatable: dict[str, str],
    skipped: Callable[[str, list[str]], None] = lambda source, keys: None,
) -> dict[str, str]:
    """``skipped(source, keys)`` hears of the keys of an envFrom that cannot be variable names."""
    from_services = service_variables(visible_services(pod, services))
    result: dict[str, str] = {}
    for source in container.get("envFrom") or []:
        _add_source(source, result, lookup, skipped)
    # $(VAR) sees what came before it, the Services' variables included.
    for entry in container.get("env") or []:
        name = entry["name"]
        if entry.get("valueFrom"):
            value = _value_from(pod, container, entry["valueFrom"], lookup, pod_ips, host_ip, allocatable)
            if value is not None:
                result[name] = value
        else:
            result[name] = expand(entry.get("value") or "", {**from_services, **result})
    return {**from_services, **result}


def _add_source(
    source: Object, result: dict[str, str], lookup: Lookup, skipped: Callable[[str, list[str]], None]
) -> None:
    prefix = source.get("prefix") or ""
    for field, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
        reference = source.get(field)
        if reference is None:
            continue
        obj = lookup(kind, reference["name"])
        if obj is None:
            if reference.get("optional"):
                continue
            raise config_error(f'{kind.lower()} "{reference["name"]}" not found')
        invalid = []
        for key, value in _data(obj).items():
            if names.env_var_name(prefix + key):
                invalid.append(prefix + key)
            else:
                result[prefix + key] = value
        if invalid:
            skipped(f"{kind.lower()}/{reference['name']}", sorted(invalid))


def _data(obj: Object) -> dict[str, str]:
    if obj["kind"] == "Secret":
        return {k: base64.b64decode(v).decode(errors="surrogateescape") for k, v in (obj.get("data") or {}).items()}
    return dict(obj.get("data") or {})


def _value_from(
    pod: Object,
    container: Object,
    source: Object,
    lookup: Lookup,
    pod_ips: list[str],
    host_ip: str,
    allocatable: dict[str, str],
) -> str | None:
    if "fieldRef" in source:
        return field_value(pod, source["fieldRef"]["fieldPath"], pod_ips, host_ip)
    if "resourceFieldRef" in source:
        return resource_value(pod, container, source["resourceFieldRef"], allocatable)
    for field, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
        reference = source.get(field)
        if reference is None:
            continue
        name, key = reference["name"], reference["key"]
        obj = lookup(kind, name)
        if obj is None:
            if reference.get("optional"):
                return None
            raise config_error(f'{kind.lower()} "{name}" not found')
        data = _data(obj)
        if key not in data:
            if reference.get("optional"):
                return None
            what = "ConfigMap" if kind == "ConfigMap" else "Secret"
            raise config_error(f"couldn't find key {key} in {what} {pod['metadata']['namespace']}/{name}")
        return data[key]
    raise config_error(f"environment variable without a source that this kubelet knows: {', '.join(source)}")


def field_value(pod: Object, path: str, pod_ips: Sequence[str] = (), host_ip: str = "") -> str:
    """The downward API: one field of the pod as text."""
    meta, pod_spec = pod["metadata"], pod["spec"]
    simple = {
        "metadata.name": lambda: meta["name"],
        "metadata.namespace": lambda: meta["namespace"],
        "metadata.uid": lambda: meta["uid"],
        "spec.nodeName": lambda: pod_spec.get("nodeName", ""),
        "spec.serviceAccountName": lambda: pod_spec.get("serviceAccountName", ""),
        "status.hostIP": lambda: host_ip,
        "status.hostIPs": lambda: host_ip,
        "status.podIP": lambda: pod_ips[0] if pod_ips else "",
        "status.podIPs": lambda: ",".join(pod_ips),
        "metadata.labels": lambda: _map_text(meta.get("labels") or {}),
        "metadata.annotations": lambda: _map_text(meta.get("annotations") or {}),
    }
    if path in simple:
        return simple[path]()
    for field in ("labels", "annotations"):
        start = f"metadata.{field}['"
        if path.startswith(start) and path.endswith("']"):
            return (meta.get(field) or {}).get(path[len(start) : -2], "")
    raise config_error(f"unsupported fieldPath: {path}")


def _map_text(values: dict[str, str]) -> str:
    """``key="value"`` a line, quoted as Go's %q does it."""
    return "\n".join(f"{key}={_quote(values[key])}" for key in sorted(values))


def _quote(text: str) -> str:
    out = []
    for c in text:
        if c in '"\\':
            out.append("\\" + c)
        elif c in "\n\r\t\a\b\f\v":
            out.append("\\" + {"\n": "n", "\r": "r", "\t": "t", "\a": "a", "\b": "b", "\f": "f", "\v": "v"}[c])
        elif c.isprintable():
            out.append(c)
        else:
            code = ord(c)
            out.append(f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    return '"' + "".join(out) + '"'


def resource_value(pod: Object, container: Object, reference: Object, allocatable: dict[str, str]) -> str:
    """``limits.cpu`` and so on, in units of the divisor, rounded up; without a limit, what the node has."""
    name = reference.get("containerName")
    if name:
        found = spec.container_named(pod, name)
        if found is None:
            raise config_error(f"container {name} not found")
        container = found
    which, _, resource = reference["resource"].partition(".")
    values = limits(container) if which == "limits" else requests(container)
    text = values.get(resource)
    if text is None:
        text = allocatable.get(resource, "0") if which == "limits" else "0"
    divisor = str(reference.get("divisor") or "0")
    if quantity.parse(divisor).sign == 0:
        divisor = "1"
    if resource == "cpu":
        return str(-(-quantity.milli(text) // quantity.milli(divisor)))
    return str(-(-quantity.value(text) // quantity.value(divisor)))
