"""What the server serves, as documents: legacy (``/api``, ``/apis``, one a version) and aggregated discovery (v2, v2beta1)."""

import hashlib
from typing import Any

import orjson

from apimachinery.resources import RESOURCES, Resource, subresource

Object = dict[str, Any]
AGGREGATED_GROUP = "apidiscovery.k8s.io"
#: Upstream's order of groups: what a client sees first for a kind that several groups have.
_GROUP_ORDER = (
    "apps", "events.k8s.io", "authentication.k8s.io", "authorization.k8s.io", "autoscaling", "batch",
    "certificates.k8s.io", "networking.k8s.io", "policy", "rbac.authorization.k8s.io", "storage.k8s.io",
    "admissionregistration.k8s.io", "apiextensions.k8s.io", "scheduling.k8s.io", "coordination.k8s.io", "node.k8s.io",
    "discovery.k8s.io", "flowcontrol.apiserver.k8s.io",
)  # fmt: skip


def served(group: str, version: str) -> list[Resource]:
    found = [r for r in RESOURCES if r.group == group and r.version == version]
    return sorted(found, key=lambda r: r.plural)


def versions(group: str) -> list[str]:
    """The preferred version first: a later one before an earlier one."""
    return sorted({r.version for r in RESOURCES if r.group == group}, reverse=True)


def groups() -> list[str]:
    """All named groups, in upstream's order."""
    names = {r.group for r in RESOURCES if r.group}
    return sorted(names, key=lambda g: (_GROUP_ORDER.index(g) if g in _GROUP_ORDER else len(_GROUP_ORDER), g))


def api_versions(address: str) -> Object:
    cidr = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": cidr}


def api_group(group: str) -> Object:
    served_versions = [{"groupVersion": f"{group}/{v}", "version": v} for v in versions(group)]
    return {"name": group, "versions": served_versions, "preferredVersion": served_versions[0]}


def api_group_list() -> Object:
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [api_group(g) for g in groups()]}


def api_resource_list(group: str, version: str) -> Object:
    """Raises KeyError for a group or version that is not served."""
    resources = served(group, version)
    if not resources:
        raise KeyError(f"{group}/{version}")
    entries: list[Object] = []
    for resource in resources:
        entries.append(_legacy(resource))
        entries += [_legacy_subresource(resource, name) for name in sorted(resource.subresources)]
    api_version = f"{group}/{version}" if group else version
    document = {"kind": "APIResourceList", "groupVersion": api_version, "resources": entries}
    return {"kind": document.pop("kind"), "apiVersion": "v1", **document} if group else document


def _legacy(resource: Resource) -> Object:
    entry: Object = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if resource.storage_version_hash:
        entry["storageVersionHash"] = resource.storage_version_hash
    return entry


def _legacy_subresource(resource: Resource, name: str) -> Object:
    sub = subresource(resource, name)
    assert sub is not None, "the row itself names the subresource"
    entry: Object = {"name": f"{resource.plural}/{name}", "singularName": "", "namespaced": resource.namespaced}
    if sub.version:
        entry |= {"group": sub.group, "version": sub.version}
    return entry | {"kind": sub.kind, "verbs": list(sub.verbs)}


def aggregated(group_names: list[str], version: str) -> Object:
    """``APIGroupDiscoveryList`` of the groups; ``version`` is the discovery API's own (v2 or v2beta1)."""
    items = [_discovered_group(group) for group in group_names]
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"{AGGREGATED_GROUP}/{version}",
        "metadata": {},
        "items": items,
    }


def _discovered_group(group: str) -> Object:
    metadata: Object = {"creationTimestamp": None}
    if group:
        metadata = {"name": group, **metadata}
    return {"metadata": metadata, "versions": [_discovered_version(group, v) for v in versions(group)]}


def _discovered_version(group: str, version: str) -> Object:
    resources = [_discovered(r) for r in served(group, version)]
    return {"version": version, "resources": resources, "freshness": "Current"}


def _discovered(resource: Resource) -> Object:
    scope = "Namespaced" if resource.namespaced else "Cluster"
    entry: Object = {
        "resource": resource.plural,
        "responseKind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
        "scope": scope,
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    subresources = []
    for name in sorted(resource.subresources):
        sub = subresource(resource, name)
        assert sub is not None, "the row itself names the subresource"
        kind = {
            "group": sub.group if sub.version else resource.group,
            "version": sub.version or resource.version,
            "kind": sub.kind,
        }
        subresources.append({"subresource": name, "responseKind": kind, "verbs": list(sub.verbs)})
    if subresources:
        entry["subresources"] = subresources
    return entry


def etag(document: bytes) -> str:
    return f'"{hashlib.sha512(document).hexdigest().upper()}"'


def encode(document: Object) -> bytes:
    return orjson.dumps(document)
