"""Both forms of discovery give the same rows."""

from typing import Any

from kubeclient.discovery import ApiResource, preferred, served

VERBS = ["get", "list", "watch", "delete"]
PODS = ApiResource("v1", "Pod", "pods", True, frozenset(VERBS))
DEPLOYMENTS = ApiResource("apps/v1", "Deployment", "deployments", True, frozenset(VERBS))

AGGREGATED = {
    "/api": {
        "kind": "APIGroupDiscoveryList",
        "items": [
            {
                "metadata": {},
                "versions": [
                    {
                        "version": "v1",
                        "resources": [
                            {
                                "resource": "pods",
                                "responseKind": {"group": "", "version": "v1", "kind": "Pod"},
                                "scope": "Namespaced",
                                "verbs": VERBS,
                                "subresources": [{"subresource": "log", "verbs": ["get"]}],
                            }
                        ],
                    }
                ],
            }
        ],
    },
    "/apis": {
        "kind": "APIGroupDiscoveryList",
        "items": [
            {
                "metadata": {"name": "apps"},
                "versions": [
                    {
                        "version": version,
                        "resources": [
                            {
                                "resource": "deployments",
                                "responseKind": {"kind": "Deployment"},
                                "scope": "Namespaced",
                                "verbs": VERBS,
                            }
                        ],
                    }
                    for version in ("v1", "v1beta1")
                ],
            }
        ],
    },
}


def _rows(plural: str, kind: str) -> dict[str, Any]:
    return {
        "resources": [
            {"name": plural, "kind": kind, "namespaced": True, "verbs": VERBS},
            {"name": f"{plural}/status", "kind": kind, "namespaced": True, "verbs": ["get"]},
        ]
    }


LEGACY = {
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {
        "kind": "APIGroupList",
        "groups": [
            {
                "name": "apps",
                "versions": [
                    {"groupVersion": "apps/v1beta1", "version": "v1beta1"},
                    {"groupVersion": "apps/v1", "version": "v1"},
                ],
                "preferredVersion": {"groupVersion": "apps/v1", "version": "v1"},
            }
        ],
    },
    "/api/v1": _rows("pods", "Pod"),
    "/apis/apps/v1": _rows("deployments", "Deployment"),
    "/apis/apps/v1beta1": _rows("deployments", "Deployment"),
}


class _Server:
    def __init__(self, documents: dict[str, Any]) -> None:
        self.documents = documents

    async def json(self, method: str, path: str, headers: object = None) -> Any:
        assert method == "GET"
        return self.documents[path]


async def test_aggregated_discovery_gives_a_row_per_version() -> None:
    found = await served(_Server(AGGREGATED))  # type: ignore[arg-type]
    assert [r.api_version for r in found] == ["v1", "apps/v1", "apps/v1beta1"]
    assert found[0] == PODS


async def test_legacy_discovery_gives_the_same_rows_preferred_version_first() -> None:
    assert await served(_Server(LEGACY)) == await served(_Server(AGGREGATED))  # type: ignore[arg-type]


async def test_preferred_names_each_resource_once() -> None:
    assert await preferred(_Server(LEGACY)) == [PODS, DEPLOYMENTS]  # type: ignore[arg-type]
