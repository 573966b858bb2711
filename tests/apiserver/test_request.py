"""What a path and a method ask for, and what an Accept header wants."""

import pytest

from apimachinery.errors import StatusError
from apiserver.negotiation import PLAIN, Form, negotiate
from apiserver.request import RequestInfo


def info(method: str, path: str) -> tuple[str, str, str, str, str, str]:
    found = RequestInfo(method, path)
    return found.verb, found.group, found.plural, found.namespace, found.name, found.subresource


@pytest.mark.parametrize(
    ("method", "path", "wanted"),
    [
        ("GET", "/api/v1/pods", ("list", "", "pods", "", "", "")),
        ("GET", "/api/v1/namespaces/a/pods", ("list", "", "pods", "a", "", "")),
        ("HEAD", "/api/v1/namespaces/a/pods/p", ("get", "", "pods", "a", "p", "")),
        ("PUT", "/api/v1/namespaces/a/pods/p/status", ("update", "", "pods", "a", "p", "status")),
        ("DELETE", "/apis/apps/v1/namespaces/a/deployments", ("deletecollection", "apps", "deployments", "a", "", "")),
        ("PATCH", "/apis/apps/v1/namespaces/a/deployments/d", ("patch", "apps", "deployments", "a", "d", "")),
        ("GET", "/api/v1/namespaces", ("list", "", "namespaces", "", "", "")),
        ("GET", "/api/v1/namespaces/a", ("get", "", "namespaces", "a", "a", "")),
        ("PUT", "/api/v1/namespaces/a/finalize", ("update", "", "namespaces", "a", "a", "finalize")),
        ("GET", "/api/v1/nodes/n/", ("get", "", "nodes", "", "n", "")),
        ("POST", "/api/v1/nodes", ("create", "", "nodes", "", "", "")),
        ("GET", "/api/v1/watch/pods", ("watch", "", "pods", "", "", "")),
        ("GET", "/apis/apps/v1/watch/namespaces/a/deployments/d", ("watch", "apps", "deployments", "a", "d", "")),
        ("GET", "/api/v1/watch/namespaces/a", ("watch", "", "namespaces", "a", "a", "")),
    ],
)
def test_paths_are_understood(method: str, path: str, wanted: tuple[str, ...]) -> None:
    assert info(method, path) == wanted


@pytest.mark.parametrize("path", ["/version", "/api", "/api/v1", "/apis/apps/v1", "/", "", "//", "/healthz/etcd"])
def test_other_paths_are_no_resources(path: str) -> None:
    assert not RequestInfo("GET", path).is_resource


def test_the_rest_of_a_proxied_path_is_kept() -> None:
    assert RequestInfo("GET", "/api/v1/namespaces/a/pods/p/proxy/x/y").rest == "x/y"


def test_the_first_form_that_is_served_wins() -> None:
    table = "application/json;as=Table;v=v1;g=meta.k8s.io"
    assert negotiate("", collection=True) == PLAIN
    assert negotiate("*/*", collection=False) == PLAIN
    assert negotiate(f"application/json;as=Table;v=v7;g=meta.k8s.io,{table},application/json", collection=True) == Form(
        "Table", "v1"
    )
    assert negotiate(f"application/json;q=0.5,{table}", collection=False) == Form("Table", "v1")
    assert negotiate("application/vnd.kubernetes.protobuf, */*;q=0.1", collection=False) == PLAIN
    with pytest.raises(StatusError):
        negotiate("application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", collection=True)
    with pytest.raises(StatusError):
        negotiate("application/json;q=0", collection=False)
