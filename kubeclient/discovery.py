"""Which resources the server serves: one aggregated answer where it can, the legacy documents where it cannot."""

import asyncio
from dataclasses import dataclass
from typing import Any

from kubeclient.rest import Client

_AGGREGATED = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)


@dataclass(frozen=True, slots=True)
class ApiResource:
    """One row of ``kubectl api-resources``, in the preferred version of its group."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool
    verbs: frozenset[str]

    @property
    def group(self) -> str:
        return self.api_version.rpartition("/")[0]


async def served(client: Client) -> list[ApiResource]:
    """Every resource (no subresource), each version of each group, a group's preferred version first."""
    core, groups = await asyncio.gather(_document(client, "/api"), _document(client, "/apis"))
    found: list[ApiResource] = []
    for document, root in ((core, "/api"), (groups, "/apis")):
        if document.get("kind") == "APIGroupDiscoveryList":
            found += _aggregated(document)
        else:
            found += await _legacy(client, document, root)
    return found


async def preferred(client: Client) -> list[ApiResource]:
    """Every resource once: in the first version of its group that serves it."""
    seen: dict[tuple[str, str], ApiResource] = {}
    for resource in await served(client):
        seen.setdefault((resource.group, resource.plural), resource)
    return list(seen.values())


async def _document(client: Client, path: str) -> dict[str, Any]:
    return await client.json("GET", path, headers={"accept": _AGGREGATED})


def _aggregated(document: dict[str, Any]) -> list[ApiResource]:
    found = []
    for group in document["items"]:
        name = group["metadata"].get("name", "")
        for version in group.get("versions") or []:
            api_version = f"{name}/{version['version']}" if name else version["version"]
            for resource in version.get("resources") or []:
                found.append(
                    ApiResource(
                        api_version=api_version,
                        kind=(resource.get("responseKind") or {}).get("kind", ""),
                        plural=resource["resource"],
                        namespaced=resource.get("scope") == "Namespaced",
                        verbs=frozenset(resource.get("verbs") or ()),
                    )
                )
    return found


async def _legacy(client: Client, document: dict[str, Any], root: str) -> list[ApiResource]:
    if root == "/api":
        api_versions = list(document.get("versions") or [])
    else:
        api_versions = [
            version["groupVersion"] for group in document.get("groups") or [] for version in _preferred_first(group)
        ]
    lists = await asyncio.gather(*(client.json("GET", f"{root}/{version}") for version in api_versions))
    return [
        ApiResource(api_version, row["kind"], row["name"], bool(row["namespaced"]), frozenset(row.get("verbs") or ()))
        for api_version, listed in zip(api_versions, lists, strict=True)
        for row in listed.get("resources") or []
        if "/" not in row["name"]
    ]


def _preferred_first(group: dict[str, Any]) -> list[dict[str, Any]]:
    return sorted(group["versions"], key=lambda version: version != group.get("preferredVersion"))
