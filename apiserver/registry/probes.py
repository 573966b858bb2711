"""Rules of probes and lifecycle hooks."""

from typing import Any

from apimachinery import names
from apimachinery.errors import FieldError, forbidden_field, invalid_value, not_supported, required
from apiserver.registry.objectmeta import NON_NEGATIVE

Object = dict[str, Any]

_PROBE_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
_HOOK_HANDLERS = ("exec", "httpGet", "tcpSocket", "sleep")
_NUMBERS = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_SIGNAL = "may not be set when `os.name` is empty"


def validate_probes(container: Object, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for kind in PROBES:
        probe = container.get(kind)
        if probe is None:
            continue
        where = f"{path}.{kind}"
        found += _handler(probe, _PROBE_HANDLERS, where, None)
        found += [invalid_value(f"{where}.{n}", probe[n], NON_NEGATIVE) for n in _NUMBERS if probe.get(n, 0) < 0]
        seconds, at = probe.get("terminationGracePeriodSeconds"), f"{where}.terminationGracePeriodSeconds"
        if seconds is not None and seconds <= 0:
            found.append(invalid_value(at, seconds, "must be greater than 0"))
        if kind == "readinessProbe":
            if seconds is not None:
                found.append(invalid_value(at, seconds, "must not be set for readinessProbes"))
        elif probe.get("successThreshold", 0) != 1:
            found.append(invalid_value(f"{where}.successThreshold", probe.get("successThreshold", 0), "must be 1"))
    return found


def validate_lifecycle(container: Object, grace_period: int | None, path: str, system: str) -> list[FieldError]:
    """``system`` is the pod's ``os.name``: without one nobody knows which signals there are."""
    lifecycle = container.get("lifecycle") or {}
    found: list[FieldError] = []
    for hook in ("postStart", "preStop"):
        if hook in lifecycle:
            found += _handler(lifecycle[hook], _HOOK_HANDLERS, f"{path}.lifecycle.{hook}", grace_period)
    if lifecycle.get("stopSignal") and not system:
        found.append(forbidden_field(f"{path}.lifecycle.stopSignal", _SIGNAL))
    return found


def _handler(handler: Object, kinds: tuple[str, ...], path: str, grace_period: int | None) -> list[FieldError]:
    given = [kind for kind in kinds if kind in handler]
    if not given:
        return [required(path, "must specify a handler type")]
    found = _action(given[0], handler[given[0]], f"{path}.{given[0]}", grace_period)
    return found + [forbidden_field(f"{path}.{kind}", "may not specify more than 1 handler type") for kind in given[1:]]


def _action(kind: str, action: Object, path: str, grace_period: int | None) -> list[FieldError]:
    if kind == "exec":
        return [] if action.get("command") else [required(f"{path}.command")]
    if kind == "httpGet":
        return _http_get(action, path)
    if kind in ("tcpSocket", "grpc"):
        return port_or_name(action.get("port", 0), f"{path}.port")
    seconds = action.get("seconds", 0)
    if grace_period is not None and not 0 <= seconds <= grace_period:
        detail = f"must be non-negative and less than terminationGracePeriodSeconds ({grace_period})"
        return [invalid_value(path, seconds, detail)]
    return []


def _http_get(action: Object, path: str) -> list[FieldError]:
    found = [] if action.get("path") else [required(f"{path}.path")]
    found += port_or_name(action.get("port", 0), f"{path}.port")
    scheme = action.get("scheme", "")
    if scheme not in ("HTTP", "HTTPS"):
        found.append(not_supported(f"{path}.scheme", scheme, ("HTTP", "HTTPS")))
    for header in action.get("httpHeaders") or ():
        name = header.get("name", "")
        found += [invalid_value(f"{path}.httpHeaders", name, p) for p in names.http_header_name(name)]
    return found


def port_or_name(port: int | str, path: str) -> list[FieldError]:
    problems = names.port_number(port) if isinstance(port, int) else names.port_name(port)
    return [invalid_value(path, port, p) for p in problems]
