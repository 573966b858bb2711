"""What a user calls a thing -> which resource it is: ``po``, ``pod``, ``deployments.apps``, ``Deployment``.

Asks the server's aggregated discovery once per invocation; the answer of the server decides, nothing is built in.
"""

from dataclasses import dataclass, field
from typing import Any

from cli.session import CliError
from kubeclient.rest import ApiError, Client, ResourceClient

_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"


@dataclass(frozen=True)
class ApiResource:
    """One served resource; ``subresources`` are names such as ``scale``."""

    group: str
    version: str
    plural: str
    singular: str
    kind: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    subresources: tuple[str, ...] = field(default=())

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def full_name(self) -> str:
        """How kubectl names the type before a slash: ``pod``, ``deployment.apps``."""
        return f"{self.singular}.{self.group}" if self.group else self.singular

    def at(self, client: Client) -> ResourceClient:
        return client.resource(self.api_version, self.plural)

    def in_namespace(self, namespace: str | None) -> str | None:
        return namespace if self.namespaced else None


class Mapper:
    """Resolves names; ``resources`` is in the server's order of preference."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._resources: list[ApiResource] | None = None

    async def resources(self) -> list[ApiResource]:
        if self._resources is None:
            found: list[ApiResource] = []
            for path in ("/api", "/apis"):
                document = await self._client.json("GET", path, headers={"accept": _AGGREGATED})
                if document["kind"] == "APIGroupDiscoveryList":
                    found += _aggregated(document)
                else:
                    found += await self._legacy(path, document)
            self._resources = found
        return self._resources

    async def _legacy(self, path: str, document: dict[str, Any]) -> list[ApiResource]:
        """A server without aggregated discovery: one request a group-version."""
        if path == "/api":
            versions = [("", version) for version in document["versions"]]
        else:
            versions = [(group["name"], v["version"]) for group in document["groups"] for v in group["versions"]]
        found = []
        for group, version in versions:
            where = f"/apis/{group}/{version}" if group else f"/api/{version}"
            listed = (await self._client.json("GET", where))["resources"]
            subresources: dict[str, list[str]] = {}
            for row in listed:
                plural, _, subresource = row["name"].partition("/")
                if subresource:
                    subresources.setdefault(plural, []).append(subresource)
            found += [
                ApiResource(
                    group,
                    version,
                    row["name"],
                    row.get("singularName") or row["kind"].lower(),
                    row["kind"],
                    row["namespaced"],
                    tuple(row.get("shortNames") or ()),
                    tuple(row.get("categories") or ()),
                    tuple(row["verbs"]),
                    tuple(subresources.get(row["name"], ())),
                )
                for row in listed
                if "/" not in row["name"]
            ]
        return found

    async def resolve(self, name: str) -> ApiResource:
        """``pods``, ``po``, ``Pod``, ``deployments.apps``, ``deployments.v1.apps``; CliError when the server has none."""
        wanted, _, suffix = name.lower().partition(".")
        for resource in await self.resources():
            names = (resource.plural, resource.singular, resource.kind.lower(), *resource.short_names)
            if wanted in names and _suffix_fits(resource, suffix):
                return resource
        raise CliError(f'the server doesn\'t have a resource type "{name}"')

    async def category(self, name: str) -> list[ApiResource]:
        """Resources of a category such as ``all``; empty when there is none of that name."""
        return [r for r in await self.resources() if name in r.categories and "list" in r.verbs]

    async def by_kind(self, api_version: str, kind: str) -> ApiResource:
        for resource in await self.resources():
            if resource.kind == kind and resource.api_version == api_version:
                return resource
        raise CliError(f'no matches for kind "{kind}" in version "{api_version}"')


def _suffix_fits(resource: ApiResource, suffix: str) -> bool:
    return not suffix or suffix in (resource.group, f"{resource.version}.{resource.group}".rstrip("."))


def _aggregated(document: dict[str, Any]) -> list[ApiResource]:
    found = []
    for group in document["items"]:
        for version in group["versions"]:
            for row in version.get("resources") or []:
                kind = (row.get("responseKind") or {}).get("kind", "")
                found.append(
                    ApiResource(
                        group["metadata"].get("name") or "",
                        version["version"],
                        row["resource"],
                        row.get("singularResource") or kind.lower(),
                        kind,
                        row["scope"] == "Namespaced",
                        tuple(row.get("shortNames") or ()),
                        tuple(row.get("categories") or ()),
                        tuple(row.get("verbs") or ()),
                        tuple(sub["subresource"] for sub in row.get("subresources") or ()),
                    )
                )
    return found


async def exists(resource: ResourceClient, name: str, namespace: str | None) -> bool:
    try:
        await resource.get(name, namespace)
    except ApiError as error:
        if error.not_found:
            return False
        raise
    return True
