"""What the files of configMap, secret, downwardAPI and projected volumes hold: a pure function of the objects."""

import base64
from collections.abc import Callable
from typing import Any

from kubelet.pods import spec
from kubelet.pods.environment import field_value, resource_value
from kubelet.volumes.atomic import File

Object = dict[str, Any]
Lookup = Callable[[str, str], Object | None]  # (kind, name) in the pod's namespace
Token = Callable[[Object], str]  # a serviceAccountToken source -> a token

DEFAULT_MODE = 0o644


class VolumeError(Exception):
    """The volume cannot be set up (yet); the text ends up in a FailedMount event."""


def config_map(obj: Object | None, source: Object, name: str, default_mode: int) -> dict[str, File]:
    if obj is None:
        if source.get("optional"):
            return {}
        raise VolumeError(f'configmap "{name}" not found')
    data = {k: v.encode() for k, v in (obj.get("data") or {}).items()}
    data.update({k: base64.b64decode(v) for k, v in (obj.get("binaryData") or {}).items()})
    return _chosen(data, source, default_mode, "configmap", name)


def secret(obj: Object | None, source: Object, name: str, default_mode: int) -> dict[str, File]:
    if obj is None:
        if source.get("optional"):
            return {}
        raise VolumeError(f'secret "{name}" not found')
    data = {k: base64.b64decode(v) for k, v in (obj.get("data") or {}).items()}
    return _chosen(data, source, default_mode, "secret", name)


def _chosen(data: dict[str, bytes], source: Object, default_mode: int, kind: str, name: str) -> dict[str, File]:
    items = source.get("items")
    if not items:
        return {key: File(value, default_mode) for key, value in data.items()}
    files = {}
    for item in items:
        value = data.get(item["key"])
        if value is None:
            if source.get("optional"):
                continue
            raise VolumeError(f"{kind} references non-existent {kind.replace('map', '')} key: {item['key']}")
        files[item["path"]] = File(value, _mode(item, default_mode))
    return files


def _mode(item: Object, default: int) -> int:
    mode = item.get("mode")
    return default if mode is None else mode


def downward_api(pod: Object, source: Object, default_mode: int, allocatable: dict[str, str]) -> dict[str, File]:
    files = {}
    for item in source.get("items") or []:
        if item.get("fieldRef"):
            status = pod.get("status") or {}
            ips = [entry["ip"] for entry in status.get("podIPs") or []]
            text = field_value(pod, item["fieldRef"]["fieldPath"], ips, status.get("hostIP", ""))
        else:
            reference = item["resourceFieldRef"]
            container = spec.container_named(pod, reference.get("containerName", ""))
            if container is None:
                raise VolumeError(f"no container named {reference.get('containerName')!r}")
            text = resource_value(pod, container, reference, allocatable)
        files[item["path"]] = File(text.encode(), _mode(item, default_mode))
    return files


def projected(
    pod: Object, volume: Object, lookup: Lookup, token: Token, allocatable: dict[str, str]
) -> dict[str, File]:
    default_mode = volume.get("defaultMode") or DEFAULT_MODE
    files: dict[str, File] = {}
    for source in volume.get("sources") or []:
        if source.get("configMap") is not None:
            inner = source["configMap"]
            name = inner["name"]
            files.update(config_map(lookup("ConfigMap", name), inner, name, default_mode))
        elif source.get("secret") is not None:
            inner = source["secret"]
            name = inner["name"]
            files.update(secret(lookup("Secret", name), inner, name, default_mode))
        elif source.get("downwardAPI") is not None:
            files.update(downward_api(pod, source["downwardAPI"], default_mode, allocatable))
        elif source.get("serviceAccountToken") is not None:
            inner = source["serviceAccountToken"]
            files[inner["path"]] = File(token(inner).encode(), default_mode)
        else:
            raise VolumeError(f"projected volume source that this kubelet does not know: {', '.join(source)}")
    return files
