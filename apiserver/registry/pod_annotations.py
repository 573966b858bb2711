"""Annotations of pods that mean something: mirror pods, the cost of a deletion, and profiles that became fields later."""

from typing import Any

from apimachinery.errors import FieldError, forbidden_field, invalid_value, quote
from apiserver.registry.security import containers_with_path
from apiserver.registry.volumes import local_path

Object = dict[str, Any]
Annotations = dict[str, str]

MIRROR = "kubernetes.io/config.mirror"
_DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP = "container.seccomp.security.alpha.kubernetes.io/"
_APPARMOR = "container.apparmor.security.beta.kubernetes.io/"
_PREFIXES = (MIRROR, _DELETION_COST, _SECCOMP_POD, _SECCOMP, _APPARMOR)
_INT32 = range(-(2**31), 2**31)


def validate_annotations(annotations: Annotations, spec: Object, path: str) -> list[FieldError]:
    """Most pods have none of these, and most that have some have one."""
    found: list[FieldError] = []
    for key, value in annotations.items():
        if not key.startswith(_PREFIXES):
            continue
        if key == MIRROR and not spec.get("nodeName"):
            detail = "must set spec.nodeName if mirror pod annotation is set"
            found.append(invalid_value(f"{path}[{key}]", value, detail))
        elif key == _DELETION_COST and not _is_cost(value):
            found.append(invalid_value(f"{path}[{key}]", value, "must be a 32bit integer"))
        elif key == _SECCOMP_POD or key.startswith(_SECCOMP):
            found += _seccomp(value, f"{path}.{key}")
        elif key.startswith(_APPARMOR):
            found += _apparmor(key, value, spec, f"{path}[{key}]")
    return found


def _is_cost(value: str) -> bool:
    """As Go reads an int32: no plus sign, no zero in front."""
    try:
        number = int(value)
    except ValueError:
        return False
    return number in _INT32 and str(number) == value


def _seccomp(profile: str, path: str) -> list[FieldError]:
    if profile in ("runtime/default", "docker/default", "unconfined"):
        return []
    if profile.startswith("localhost/"):
        return local_path(profile.removeprefix("localhost/"), path)
    return [invalid_value(path, profile, "must be a valid seccomp profile")]


def _apparmor(key: str, profile: str, spec: Object, path: str) -> list[FieldError]:
    name = key.removeprefix(_APPARMOR)
    found: list[FieldError] = []
    if all(container.get("name") != name for container, _ in containers_with_path(spec, "")):
        found.append(invalid_value(path, name, "container not found"))
    if profile not in ("", "runtime/default", "unconfined") and not profile.startswith("localhost/"):
        found.append(invalid_value(path, profile, f"invalid AppArmor profile name: {quote(profile)}"))
    return found


def validate_annotations_update(new: Annotations, old: Annotations, path: str) -> list[FieldError]:
    """What a pod is and how it is confined is said once."""
    found: list[FieldError] = []
    for key in (*old, *(k for k in new if k not in old)):
        what = "AppArmor annotations" if key.startswith(_APPARMOR) else "mirror pod annotation"
        if new.get(key) == old.get(key) or not (key == MIRROR or key.startswith(_APPARMOR)):
            continue
        did = "may not remove or update" if key in old else "may not add"
        found.append(forbidden_field(f"{path}[{key}]", f"{did} {what}"))
    return found


# --- annotations and fields -------------------------------------------------------------------------------------


def profiles_agree(annotations: Annotations, spec: Object, path: str) -> list[FieldError]:
    """Who says it twice, as annotation and as field, has to say the same."""
    if not any(key.startswith((_SECCOMP_POD, _SECCOMP, _APPARMOR)) for key in annotations):
        return []
    context = spec.get("securityContext") or {}
    found = _agree(annotations.get(_SECCOMP_POD), context.get("seccompProfile"), "seccomp", f"{path}.securityContext")
    for container, where in containers_with_path(spec, path):
        own = (container.get("securityContext") or {}).get("seccompProfile")
        annotated = annotations.get(_SECCOMP + container.get("name", ""))
        found += _agree(annotated, own, "seccomp", f"{where}.securityContext")
    if (spec.get("os") or {}).get("name") == "windows":
        return found
    for container, where in containers_with_path(spec, path):
        own = (container.get("securityContext") or {}).get("appArmorProfile") or context.get("appArmorProfile")
        annotated = annotations.get(_APPARMOR + container.get("name", ""))
        found += _agree(annotated, own, "apparmor", f"{where}.securityContext")
    return found


_VALUES = {"Unconfined": ("unconfined",), "RuntimeDefault": ("runtime/default", "docker/default")}
_FIELD = {"seccomp": "seccompProfile", "apparmor": "appArmorProfile"}


def _agree(annotation: str | None, profile: Object | None, what: str, path: str) -> list[FieldError]:
    if annotation is None or profile is None:
        return []
    where, kind = f"{path}.{_FIELD[what]}", profile.get("type")
    wrong = [forbidden_field(f"{where}.type", f"{what} type in annotation and field must match")]
    if kind in _VALUES:
        allowed = _VALUES[kind] if what == "seccomp" else _VALUES[kind][:1]
        return [] if annotation in allowed else wrong
    if kind != "Localhost":
        return []
    if not annotation.startswith("localhost/"):
        return wrong
    if annotation.removeprefix("localhost/") == profile.get("localhostProfile"):
        return []
    return [forbidden_field(f"{where}.localhostProfile", f"{what} profile in annotation and field must match")]
