"""POST, GET and PUT of one full object of each kind: nothing sent is lost, and writing what was read changes nothing."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from apimachinery.resources import RESOURCES, by_kind
from tests.apiserver.conftest import Api
from tests.apiserver.registry.made import Object
from tests.apiserver.registry.test_certificate_rules import request as certificate_request

FOLDER = Path(__file__).parent / "full"
OBJECTS: list[Object] = [
    *(o for file in ("workloads", "others") for o in yaml.safe_load((FOLDER / f"{file}.yaml").read_text())),
    {**certificate_request(expirationSeconds=3600), "metadata": {"name": "full"}},
    {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "ServiceCIDR",
        "metadata": {"name": "full"},
        "spec": {"cidrs": ["10.200.0.0/24"]},
    },
    {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IPAddress",
        "metadata": {"name": "10.200.1.1"},
        "spec": {"parentRef": {"resource": "services", "namespace": "nowhere", "name": "x"}},
    },
]
#: Lists to which admission adds: the usual tolerations, and the taints of a node that is not ready.
GROWN = {"Pod": {".spec.tolerations"}, "Node": {".spec.taints"}}


def test_every_kind_is_here() -> None:
    here = {(o["apiVersion"], o["kind"]) for o in OBJECTS}
    assert {(r.api_version, r.kind) for r in RESOURCES if r.stored} == here


def lost(sent: Any, found: Any, path: str = "") -> list[str]:
    """The paths of what is gone or different."""
    if isinstance(sent, dict) and isinstance(found, dict):
        return [e for k, v in sent.items() for e in lost(v, found.get(k), f"{path}.{k}")]
    if isinstance(sent, list) and isinstance(found, list) and len(sent) == len(found):
        return [e for i, v in enumerate(sent) for e in lost(v, found[i], f"{path}[{i}]")]
    return [] if sent == found else [path]


@pytest.mark.parametrize("obj", OBJECTS, ids=lambda o: f"{o['apiVersion']}-{o['kind']}")
async def test_what_is_read_can_be_written_back(api: Api, namespace: str, obj: Object) -> None:
    resource = by_kind(obj["apiVersion"], obj["kind"])
    assert resource is not None
    root = f"/apis/{resource.api_version}" if resource.group else "/api/v1"
    obj, path = copy.deepcopy(obj), f"{root}/{resource.plural}"
    if resource.namespaced:
        path = f"{root}/namespaces/{namespace}/{resource.plural}"
        for field in ("involvedObject", "regarding"):
            if field in obj:
                obj[field]["namespace"] = namespace
    created = await api.create(path, obj, fieldValidation="Strict")
    one = f"{path}/{obj['metadata']['name']}"
    try:
        assert set(lost(obj, created)) == GROWN.get(obj["kind"], set())
        read = await api.get(one)
        assert read == created
        assert await api.call("PUT", one, read, 200, params={"fieldValidation": "Strict"}) == read
    finally:
        await api.patch(one, {"metadata": {"finalizers": None}})
        await api.http.delete(one)
