"""Rules of the volumes of a pod, and of the volume sources that PersistentVolumes have too."""

import posixpath
import re
from collections.abc import Callable
from typing import Any

from apimachinery import names
from apimachinery.errors import (
    FieldError,
    duplicate,
    forbidden_field,
    invalid_value,
    not_supported,
    quote,
    required,
    too_long,
)
from apiserver.registry.claim_rules import validate_claim_template
from apiserver.registry.environment import validate_field_ref, validate_resource_field_ref

Object = dict[str, Any]
Rule = Callable[[Object, str], list[FieldError]]

#: In the order in which upstream looks at them: of several, the first is checked and the others are one too many.
SOURCES = (
    "emptyDir", "hostPath", "gitRepo", "gcePersistentDisk", "awsElasticBlockStore", "secret", "nfs", "iscsi", "glusterfs",
    "flocker", "persistentVolumeClaim", "rbd", "cinder", "cephfs", "quobyte", "downwardAPI", "fc", "flexVolume", "configMap",
    "azureFile", "vsphereVolume", "photonPersistentDisk", "portworxVolume", "azureDisk", "storageos", "projected", "scaleIO",
    "csi", "ephemeral", "image",
)  # fmt: skip
#: Sources whose name in errors is another than in objects, kept for who matches on it.
_SHOWN = {"gcePersistentDisk": "persistentDisk"}
_SHOWN_TWICE = {"cephfs": "cephFS", "downwardAPI": "downwarAPI"}
_HOST_PATH_TYPES = ("", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket")
_FIELDS = ("metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid")
MODE_RANGE = "must be a number between 0 and 0777 (octal), both inclusive"
ONE_TYPE = "may not specify more than 1 volume type"


def validate_volumes(
    volumes: list[Object], path: str, pod_name: str = ""
) -> tuple[dict[str, Object], list[FieldError]]:
    """The volumes by name, for the mounts to refer to, and everything wrong with them."""
    by_name: dict[str, Object] = {}
    found: list[FieldError] = []
    for i, volume in enumerate(volumes):
        where, name = f"{path}[{i}]", volume.get("name", "")
        wrong = _source(volume, where, pod_name)
        if not name:
            wrong.append(required(f"{where}.name"))
        else:
            wrong += [invalid_value(f"{where}.name", name, p) for p in names.dns1123_label(name)]
        if name in by_name:
            wrong.append(duplicate(f"{where}.name", name))
        found += wrong
        by_name.setdefault(name, volume)
    owned = {f"{pod_name}-{v.get('name', '')}" for v in volumes if "ephemeral" in v and pod_name}
    for i, volume in enumerate(volumes):
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName", "")
        if claim in owned:
            detail = "must not reference a PVC that gets created for an ephemeral volume"
            found.append(invalid_value(f"{path}[{i}].persistentVolumeClaim.claimName", claim, detail))
    return by_name, found


def _source(volume: Object, path: str, pod_name: str) -> list[FieldError]:
    given = [s for s in SOURCES if s in volume]
    if not given:
        return [required(path, "must specify a volume type")]
    found = validate_source(given[0], volume[given[0]], path)
    found += [forbidden_field(f"{path}.{_SHOWN_TWICE.get(s, s)}", ONE_TYPE) for s in given[1:]]
    name = volume.get("name", "")
    if given[0] == "ephemeral" and pod_name and name:
        claim = f"{pod_name}-{name}"
        problems = names.dns1123_subdomain(claim)
        found += [invalid_value(f"{path}.name", name, f"PVC name {quote(claim)}: {p}") for p in problems]
    portal = (volume.get("iscsi") or {}).get("targetPortal", "")
    if "initiatorName" in (volume.get("iscsi") or {}) and len(f"{name}:{portal}") > 64:
        detail = (
            "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is "
            "specified."
        )
        found.append(invalid_value(f"{path}.name", name, detail))
    return found


def validate_source(kind: str, source: Object, path: str) -> list[FieldError]:
    """One volume source; ``path`` is that of what holds it."""
    rule = _RULES.get(kind)
    return rule(source, f"{path}.{_SHOWN.get(kind, kind)}") if rule else []


# --- paths and modes --------------------------------------------------------------------------------------------


def has_backsteps(where: str) -> bool:
    return ".." in where.split("/")


def local_path(where: str, path: str) -> list[FieldError]:
    """A path inside a volume: relative and not climbing out."""
    found = []
    if posixpath.isabs(where):
        found.append(invalid_value(path, where, "must be a relative path"))
    return found + no_backsteps(where, path)


def no_backsteps(where: str, path: str) -> list[FieldError]:
    return [invalid_value(path, where, "must not contain '..'")] if has_backsteps(where) else []


def _free_path(where: str, path: str) -> list[FieldError]:
    """A local path that is no hidden one of the kubelet's own."""
    found = local_path(where, path)
    if where.startswith("..") and not where.startswith("../"):
        found.append(invalid_value(path, where, "must not start with '..'"))
    return found


def _mode(source: Object, field: str, path: str) -> list[FieldError]:
    mode = source.get(field)
    return [] if mode is None or 0 <= mode <= 0o777 else [invalid_value(f"{path}.{field}", mode, MODE_RANGE)]


def _require(*fields: str) -> Rule:
    """A rule that only wants some fields to be there."""
    return lambda source, path: [required(f"{path}.{f}") for f in fields if not source.get(f)]


# --- sources of configuration -----------------------------------------------------------------------------------


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
    where = item.get("path", "")
    return _free_path(where, f"{path}.path") if where else [required(f"{path}.path")]


def _secret(source: Object, path: str) -> list[FieldError]:
    found = [] if source.get("secretName") else [required(f"{path}.secretName")]
    return found + _mode(source, "defaultMode", path) + _items(source.get("items") or [], path)


def _config_map(source: Object, path: str) -> list[FieldError]:
    found = [] if source.get("name") else [required(f"{path}.name")]
    return found + _mode(source, "defaultMode", path) + _items(source.get("items") or [], path)


def _downward(source: Object, path: str) -> list[FieldError]:
    """Upstream names the list's owner here, not the entry."""
    found = _mode(source, "defaultMode", path)
    for item in source.get("items") or []:
        found += _downward_file(item, path)
    return found


def _downward_file(item: Object, path: str) -> list[FieldError]:
    found = _item_path(item, path)
    if "fieldRef" in item:
        found += validate_field_ref(item["fieldRef"], _FIELDS, f"{path}.fieldRef")
        if "resourceFieldRef" in item:
            detail = "fieldRef and resourceFieldRef can not be specified simultaneously"
            found.append(invalid_value(path, "resource", detail))
    elif "resourceFieldRef" in item:
        found += validate_resource_field_ref(item["resourceFieldRef"], f"{path}.resourceFieldRef", volume=True)
    else:
        found.append(required(path, "one of fieldRef and resourceFieldRef is required"))
    return found + _mode(item, "mode", path)


_PROJECTIONS = ("secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle")


def _projected(source: Object, path: str) -> list[FieldError]:
    found = _mode(source, "defaultMode", path)
    paths: set[str] = set()
    for i, projection in enumerate(source.get("sources") or []):
        where = f"{path}.sources[{i}]"
        given = [p for p in _PROJECTIONS if p in projection]
        for kind in given:
            inner, at = projection[kind], f"{where}.{kind}"
            if kind in ("secret", "configMap"):
                found += [] if inner.get("name") else [required(f"{at}.name")]
                found += _items(inner.get("items") or [], at)
            elif kind == "downwardAPI":
                for item in inner.get("items") or []:
                    found += _downward_file(item, at)
            elif kind == "serviceAccountToken":
                found += _token(inner, at, path)
            for item in inner.get("items") or ():
                found += _path_is_new(item.get("path", ""), inner.get("name"), paths, path)
        if len(given) > 1:
            found.append(forbidden_field(where, "may not specify more than 1 volume type per source"))
    return found


def _path_is_new(at: str, holder: str | None, paths: set[str], path: str) -> list[FieldError]:
    if not at:
        return []
    taken = at in paths
    paths.add(at)
    return [invalid_value(path, at if holder is None else holder, "conflicting duplicate paths")] if taken else []


def _token(source: Object, path: str, volume: str) -> list[FieldError]:
    found = []
    seconds = source.get("expirationSeconds", 0)
    if seconds < 600:
        detail = "may not specify a duration less than 10 minutes"
        found.append(invalid_value(f"{path}.expirationSeconds", seconds, detail))
    elif seconds > 1 << 32:
        detail = "may not specify a duration larger than 2^32 seconds"
        found.append(invalid_value(f"{path}.expirationSeconds", seconds, detail))
    at = source.get("path", "")
    return found + (_free_path(at, f"{volume}.path") if at else [required(f"{volume}.path")])


# --- storage ----------------------------------------------------------------------------------------------------


def _host_path(source: Object, path: str) -> list[FieldError]:
    where = source.get("path", "")
    if not where:
        return [required(f"{path}.path")]
    found = no_backsteps(where, f"{path}.path")
    if source.get("type", "") not in _HOST_PATH_TYPES:
        found.append(not_supported(f"{path}.type", source["type"], _HOST_PATH_TYPES))
    return found


def _empty_dir(source: Object, path: str) -> list[FieldError]:
    if str(source.get("sizeLimit", "0")).startswith("-"):
        return [forbidden_field(f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity")]
    return []


def _git_repo(source: Object, path: str) -> list[FieldError]:
    found = [] if source.get("repository") else [required(f"{path}.repository")]
    return found + local_path(source.get("directory", ""), f"{path}.directory")


def _nfs(source: Object, path: str) -> list[FieldError]:
    found = [required(f"{path}.{f}") for f in ("server", "path") if not source.get(f)]
    if not posixpath.isabs(source.get("path", "")):
        found.append(invalid_value(f"{path}.path", source.get("path", ""), "must be an absolute path"))
    return found


_ISCSI_NAMES = {
    "iqn": re.compile(r"iqn\.\d{4}-\d{2}\.([A-Za-z0-9\-.]+)(:[^,;*&$|\s]+)$"),
    "eui": re.compile(r"^eui.[A-Za-z0-9]{16}$"),
    "naa": re.compile(r"^naa.[A-Za-z0-9]{32}$"),
}


def _iscsi(source: Object, path: str) -> list[FieldError]:
    found = [] if source.get("targetPortal") else [required(f"{path}.targetPortal")]
    found += _iscsi_name(source["iqn"], f"{path}.iqn") if source.get("iqn") else [required(f"{path}.iqn")]
    lun = source.get("lun", 0)
    if not 0 <= lun <= 255:
        found.append(invalid_value(f"{path}.lun", lun, names.between(0, 255)))
    if (source.get("chapAuthDiscovery") or source.get("chapAuthSession")) and "secretRef" not in source:
        found.append(required(f"{path}.secretRef"))
    if "initiatorName" in source:
        found += _iscsi_name(source["initiatorName"], f"{path}.initiatorname")
    return found


def _iscsi_name(name: str, path: str) -> list[FieldError]:
    pattern = _ISCSI_NAMES.get(name[:3])
    if pattern is None:
        return [invalid_value(path, name, "must be valid format starting with iqn, eui, or naa")]
    return [] if pattern.search(name) else [invalid_value(path, name, "must be valid format")]


def _fc(source: Object, path: str) -> list[FieldError]:
    targets, ids, lun = source.get("targetWWNs") or [], source.get("wwids") or [], source.get("lun")
    found = []
    if not targets and not ids:
        found.append(required(f"{path}.targetWWNs", "must specify either targetWWNs or wwids, but not both"))
    if targets and ids:
        detail = "targetWWNs and wwids can not be specified simultaneously"
        found.append(invalid_value(f"{path}.targetWWNs", targets, detail))
    if targets and lun is None:
        found.append(required(f"{path}.lun", "lun is required if targetWWNs is specified"))
    elif targets and lun is not None and not 0 <= lun <= 255:
        found.append(invalid_value(f"{path}.lun", lun, names.between(0, 255)))
    return found


def _partitioned(field: str) -> Rule:
    def rule(source: Object, path: str) -> list[FieldError]:
        found = [] if source.get(field) else [required(f"{path}.{field}")]
        partition = source.get("partition", 0)
        if not 0 <= partition <= 255:
            found.append(invalid_value(f"{path}.partition", partition, names.between(1, 255)))
        return found

    return rule


def _flex(source: Object, path: str) -> list[FieldError]:
    found = [] if source.get("driver") else [required(f"{path}.driver")]
    for key in source.get("options") or {}:
        domain = "." + key.partition("/")[0].lower()
        if domain.endswith((".kubernetes.io", ".k8s.io")):
            detail = "kubernetes.io and k8s.io namespaces are reserved"
            found.append(invalid_value(f"{path}.options[{key}]", key, detail))
    return found


def _flocker(source: Object, path: str) -> list[FieldError]:
    name, uuid = source.get("datasetName"), source.get("datasetUUID")
    if not name and not uuid:
        return [required(path, "one of datasetName and datasetUUID is required")]
    found = []
    if name and uuid:
        detail = "datasetName and datasetUUID can not be specified simultaneously"
        found.append(invalid_value(path, "resource", detail))
    if name and "/" in name:
        found.append(invalid_value(f"{path}.datasetName", name, "must not contain '/'"))
    return found


def _azure_disk(source: Object, path: str) -> list[FieldError]:
    found = [required(f"{path}.{f}") for f in ("diskName", "diskURI") if not source.get(f)]
    modes, kinds = ("None", "ReadOnly", "ReadWrite"), ("Dedicated", "Managed", "Shared")
    for field, supported in (("cachingMode", modes), ("kind", kinds)):
        if source.get(field) not in (None, *supported):
            found.append(not_supported(f"{path}.{field}", source[field], supported))
    kind, uri = source.get("kind"), source.get("diskURI", "")
    if kind == "Managed" and not uri.startswith("/subscriptions/"):
        form = "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"
        found.append(not_supported(f"{path}.diskURI", uri, (form,)))
    if kind not in (None, "Managed") and not uri.startswith("https://"):
        form = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"
        found.append(not_supported(f"{path}.diskURI", uri, (form,)))
    return found


def csi_driver_name(name: str, path: str) -> list[FieldError]:
    found = [] if name else [required(path)]
    if len(name) > 63:
        found.append(too_long(path, 63))
    return found + [invalid_value(path, name, p) for p in names.dns1123_subdomain(name.lower())]


def _csi(source: Object, path: str) -> list[FieldError]:
    found = csi_driver_name(source.get("driver", ""), f"{path}.driver")
    secret = source.get("nodePublishSecretRef")
    if secret is not None and not secret.get("name"):
        found.append(required(f"{path}.nodePublishSecretRef.name"))
    elif secret is not None:
        found += [invalid_value(f"{path}.name", secret["name"], p) for p in names.dns1123_subdomain(secret["name"])]
    return found


def _ephemeral(source: Object, path: str) -> list[FieldError]:
    if "volumeClaimTemplate" not in source:
        return [required(f"{path}.volumeClaimTemplate")]
    return validate_claim_template(source["volumeClaimTemplate"], f"{path}.volumeClaimTemplate")


def _image(source: Object, path: str) -> list[FieldError]:
    policy = source.get("pullPolicy", "")
    supported = ("Always", "IfNotPresent", "Never")
    if not policy:
        return [required(f"{path}.pullPolicy")]
    return [] if policy in supported else [not_supported(f"{path}.pullPolicy", policy, supported)]


_RULES: dict[str, Rule] = {
    "hostPath": _host_path,
    "emptyDir": _empty_dir,
    "gitRepo": _git_repo,
    "gcePersistentDisk": _partitioned("pdName"),
    "awsElasticBlockStore": _partitioned("volumeID"),
    "secret": _secret,
    "configMap": _config_map,
    "downwardAPI": _downward,
    "persistentVolumeClaim": _require("claimName"),
    "projected": _projected,
    "nfs": _nfs,
    "iscsi": _iscsi,
    "fc": _fc,
    "glusterfs": _require("endpoints", "path"),
    "flocker": _flocker,
    "rbd": _require("monitors", "image"),
    "cinder": _require("volumeID"),
    "cephfs": _require("monitors"),
    "quobyte": _require("registry", "volume"),
    "flexVolume": _flex,
    "azureFile": _require("secretName", "shareName"),
    "azureDisk": _azure_disk,
    "vsphereVolume": _require("volumePath"),
    "photonPersistentDisk": _require("pdID"),
    "portworxVolume": _require("volumeID"),
    "scaleIO": _require("gateway", "system", "volumeName"),
    "storageos": _require("volumeName"),
    "csi": _csi,
    "ephemeral": _ephemeral,
    "image": _image,
}
