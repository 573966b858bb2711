"""Rules of how containers use volumes: as mounted files, or as block devices."""

from typing import Any

from apimachinery.errors import FieldError, forbidden_field, invalid_value, not_found_value, not_supported, required
from apiserver.registry.volumes import has_backsteps, local_path

Object = dict[str, Any]
Volumes = dict[str, Object]

_PROPAGATION = ("Bidirectional", "HostToContainer", "None")
_RECURSIVE = ("Disabled", "Enabled", "IfPossible")


def validate_mounts(container: Object, volumes: Volumes, path: str) -> list[FieldError]:
    """Paths of some rules have no index: that is how upstream names them."""
    devices = {d.get("name", ""): d.get("devicePath", "") for d in container.get("volumeDevices") or ()}
    found: list[FieldError] = []
    seen: set[str] = set()
    for i, mount in enumerate(container.get("volumeMounts") or ()):
        where, name, at = f"{path}[{i}]", mount.get("name", ""), mount.get("mountPath", "")
        if not name:
            found.append(required(f"{where}.name"))
        if name not in volumes:
            found.append(not_found_value(f"{where}.name", name))
        if not at:
            found.append(required(f"{where}.mountPath"))
        if at in seen:
            found.append(invalid_value(f"{where}.mountPath", at, "must be unique"))
        seen.add(at)
        if name in devices:
            found.append(invalid_value(f"{where}.name", name, "must not already exist in volumeDevices"))
        if at in devices.values():
            detail = "must not already exist as a path in volumeDevices"
            found.append(invalid_value(f"{where}.mountPath", at, detail))
        found += _sub_paths(mount, volumes.get(name, {}), path, where)
        found += _propagation(mount, container, f"{path}.mountPropagation")
        found += _recursive(mount, f"{path}.recursiveReadOnly")
    return found


def _sub_paths(mount: Object, volume: Object, path: str, where: str) -> list[FieldError]:
    found: list[FieldError] = []
    for field in ("subPath", "subPathExpr"):
        if mount.get(field) and "image" in volume:
            found.append(invalid_value(f"{where}.{field}", mount[field], "not allowed in image volume sources"))
    if mount.get("subPath"):
        found += local_path(mount["subPath"], f"{path}.subPath")
    if mount.get("subPathExpr"):
        if mount.get("subPath"):
            detail = "subPathExpr and subPath are mutually exclusive"
            found.append(invalid_value(f"{where}.subPathExpr", mount["subPathExpr"], detail))
        found += local_path(mount["subPathExpr"], f"{path}.subPathExpr")
    return found


def _propagation(mount: Object, container: Object, path: str) -> list[FieldError]:
    propagation = mount.get("mountPropagation")
    if propagation is None:
        return []
    if propagation not in _PROPAGATION:
        return [not_supported(path, propagation, _PROPAGATION)]
    if propagation == "Bidirectional" and not (container.get("securityContext") or {}).get("privileged"):
        detail = "Bidirectional mount propagation is available only to privileged containers"
        return [forbidden_field(path, detail)]
    return []


def _recursive(mount: Object, path: str) -> list[FieldError]:
    mode = mount.get("recursiveReadOnly")
    if mode in (None, "Disabled"):
        return []
    if mode not in _RECURSIVE:
        return [not_supported(path, mode, _RECURSIVE)]
    found: list[FieldError] = []
    if not mount.get("readOnly"):
        found.append(forbidden_field(path, "may only be specified when readOnly is true"))
    if mount.get("mountPropagation", "None") != "None":
        detail = "may only be specified when mountPropagation is None or not specified"
        found.append(forbidden_field(path, detail))
    return found


def validate_devices(container: Object, volumes: Volumes, path: str) -> list[FieldError]:
    mounts = {m.get("name", ""): m.get("mountPath", "") for m in container.get("volumeMounts") or ()}
    found: list[FieldError] = []
    seen: set[str] = set()
    paths: set[str] = set()
    for i, device in enumerate(container.get("volumeDevices") or ()):
        where, name, at = f"{path}[{i}]", device.get("name", ""), device.get("devicePath", "")
        if not name:
            found.append(required(f"{where}.name"))
        if name in seen:
            found.append(invalid_value(f"{where}.name", name, "must be unique"))
        if name not in volumes:
            found.append(not_found_value(f"{where}.name", name))
        elif not {"persistentVolumeClaim", "ephemeral"} & volumes[name].keys():
            detail = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            found.append(invalid_value(f"{where}.name", name, detail))
        if not at:
            found.append(required(f"{where}.devicePath"))
        if at in paths:
            found.append(invalid_value(f"{where}.devicePath", at, "must be unique"))
        if has_backsteps(at):
            found.append(invalid_value(f"{where}.devicePath", at, "can not contain backsteps ('..')"))
        else:
            paths.add(at)
        if name in mounts:
            found.append(invalid_value(f"{where}.name", name, "must not already exist in volumeMounts"))
        if at in mounts.values():
            detail = "must not already exist as a path in volumeMounts"
            found.append(invalid_value(f"{where}.devicePath", at, detail))
        if name:
            seen.add(name)
    return found
