"""Rules of the volumes of a pod."""

import posixpath
from typing import Any

from apimachinery import names
from apimachinery.errors import FieldError, duplicate, forbidden_field, invalid_value, not_supported, required

Object = dict[str, Any]

SOURCES = (
    "hostPath", "emptyDir", "gcePersistentDisk", "awsElasticBlockStore", "gitRepo", "secret", "nfs", "iscsi",
    "glusterfs", "persistentVolumeClaim", "rbd", "flexVolume", "cinder", "cephfs", "flocker", "downwardAPI", "fc",
    "azureFile", "configMap", "vsphereVolume", "quobyte", "azureDisk", "photonPersistentDisk", "projected",
    "portworxVolume", "scaleIO", "storageos", "csi", "ephemeral", "image",
)  # fmt: skip
_HOST_PATH_TYPES = ("", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket")
_FIELDS = (
    "metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid",
)  # fmt: skip
MODE_RANGE = "must be a number between 0 and 0777 (octal), both inclusive"


def validate_volumes(volumes: list[Object], path: str) -> tuple[dict[str, Object], list[FieldError]]:
    """The volumes by name, for the mounts to refer to, and everything wrong with them."""
    by_name: dict[str, Object] = {}
    found: list[FieldError] = []
    for i, volume in enumerate(volumes):
        where = f"{path}[{i}]"
        name = volume.get("name", "")
        found += _source(volume, where)
        problems = names.dns1123_label(name) if name else []
        if not name:
            found.append(required(f"{where}.name"))
        elif problems:
            found += [invalid_value(f"{where}.name", name, p) for p in problems]
        elif name in by_name:
            found.append(duplicate(f"{where}.name", name))
        by_name[name] = volume
    return by_name, found


def _source(volume: Object, path: str) -> list[FieldError]:
    given = [s for s in SOURCES if s in volume]
    if not given:
        return [required(path, "must specify a volume type")]
    found = [forbidden_field(f"{path}.{s}", "may not specify more than 1 volume type") for s in given[1:]]
    rules = _RULES.get(given[0])
    return (rules(volume[given[0]], f"{path}.{given[0]}") if rules else []) + found


def _host_path(source: Object, path: str) -> list[FieldError]:
    where = source.get("path", "")
    if not where:
        return [required(f"{path}.path")]
    found = []
    if ".." in where.split("/"):
        found.append(invalid_value(f"{path}.path", where, "must not contain '..'"))
    if source.get("type", "") not in _HOST_PATH_TYPES:
        found.append(not_supported(f"{path}.type", source["type"], _HOST_PATH_TYPES))
    return found


def _empty_dir(source: Object, path: str) -> list[FieldError]:
    if str(source.get("sizeLimit", "0")).startswith("-"):
        return [forbidden_field(f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity")]
    return []


def _mode(source: Object, field: str, path: str) -> list[FieldError]:
    mode = source.get(field)
    return [] if mode is None or 0 <= mode <= 0o777 else [invalid_value(f"{path}.{field}", mode, MODE_RANGE)]


def local_path(where: str, path: str) -> list[FieldError]:
    """A path inside a volume: relative and not climbing out."""
    found = []
    if posixpath.isabs(where):
        found.append(invalid_value(path, where, "must be a relative path"))
    if ".." in where.split("/"):
        found.append(invalid_value(path, where, "must not contain '..'"))
    return found


def _items(items: list[Object], path: str) -> list[FieldError]:
    found = []
    for i, item in enumerate(items):
        where = f"{path}.items[{i}]"
        if not item.get("key"):
            found.append(required(f"{where}.key"))
        found += _item_path(item, where)
        found += _mode(item, "mode", where)
    return found


def _item_path(item: Object, path: str) -> list[FieldError]:
    if not item.get("path"):
        return [required(f"{path}.path")]
    found = local_path(item["path"], f"{path}.path")
    if not found and item["path"].startswith(".."):
        found.append(invalid_value(f"{path}.path", item["path"], "must not start with '..'"))
    return found


def _secret(source: Object, path: str) -> list[FieldError]:
    found = [] if source.get("secretName") else [required(f"{path}.secretName")]
    return found + _mode(source, "defaultMode", path) + _items(source.get("items") or [], path)


def _config_map(source: Object, path: str) -> list[FieldError]:
    found = [] if source.get("name") else [required(f"{path}.name")]
    return found + _mode(source, "defaultMode", path) + _items(source.get("items") or [], path)


def _downward(source: Object, path: str) -> list[FieldError]:
    found = _mode(source, "defaultMode", path)
    for i, item in enumerate(source.get("items") or []):
        where = f"{path}.items[{i}]"
        found += _item_path(item, where)
        if "fieldRef" in item:
            field = item["fieldRef"].get("fieldPath", "")
            if not field:
                found.append(required(f"{where}.fieldRef.fieldPath"))
            elif field.partition("[")[0] not in _FIELDS:
                found.append(not_supported(f"{where}.fieldRef.fieldPath", field, _FIELDS))
            if "resourceFieldRef" in item:
                detail = "fieldRef and resourceFieldRef can not be specified simultaneously"
                found.append(invalid_value(where, "resource", detail))
        elif "resourceFieldRef" not in item:
            found.append(required(where, "one of fieldRef and resourceFieldRef is required"))
    return found


def _claim(source: Object, path: str) -> list[FieldError]:
    return [] if source.get("claimName") else [required(f"{path}.claimName")]


_PROJECTIONS = ("secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle")


def _projected(source: Object, path: str) -> list[FieldError]:
    found = _mode(source, "defaultMode", path)
    for i, projection in enumerate(source.get("sources") or []):
        where = f"{path}.sources[{i}]"
        given = [p for p in _PROJECTIONS if p in projection]
        found += [forbidden_field(f"{where}.{p}", "may not specify more than 1 volume type") for p in given[1:]]
        for kind in given[:1]:
            inner, at = projection[kind], f"{where}.{kind}"
            if kind in ("secret", "configMap"):
                found += [] if inner.get("name") else [required(f"{at}.name")]
                found += _items(inner.get("items") or [], at)
            elif kind == "downwardAPI":
                found += _downward(inner, at)
            elif kind == "serviceAccountToken":
                found += _token(inner, at)
    return found


def _token(source: Object, path: str) -> list[FieldError]:
    found = []
    seconds = source.get("expirationSeconds", 3600)
    if seconds < 600:
        found.append(
            invalid_value(f"{path}.expirationSeconds", seconds, "may not specify a duration less than 10 minutes")
        )
    elif seconds > 1 << 32:
        found.append(
            invalid_value(f"{path}.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds")
        )
    if not source.get("path"):
        found.append(required(f"{path}.path"))
    else:
        found += local_path(source["path"], f"{path}.path")
    return found


def _nfs(source: Object, path: str) -> list[FieldError]:
    found = [required(f"{path}.{f}") for f in ("server", "path") if not source.get(f)]
    if source.get("path") and not posixpath.isabs(source["path"]):
        found.append(invalid_value(f"{path}.path", source["path"], "must be an absolute path"))
    return found


def _csi(source: Object, path: str) -> list[FieldError]:
    return [] if source.get("driver") else [required(f"{path}.driver")]


def _ephemeral(source: Object, path: str) -> list[FieldError]:
    if "volumeClaimTemplate" not in source:
        return [required(f"{path}.volumeClaimTemplate")]
    from apiserver.registry.storage import validate_claim_spec  # they refer to each other

    return validate_claim_spec(source["volumeClaimTemplate"].get("spec") or {}, f"{path}.volumeClaimTemplate.spec")


_RULES = {
    "hostPath": _host_path,
    "emptyDir": _empty_dir,
    "secret": _secret,
    "configMap": _config_map,
    "downwardAPI": _downward,
    "persistentVolumeClaim": _claim,
    "projected": _projected,
    "nfs": _nfs,
    "csi": _csi,
    "ephemeral": _ephemeral,
}
