"""The resource table against what a real API server publishes."""

import pytest

from apimachinery.resources import RESOURCES, by_kind, lookup, subresource


def test_no_two_rows_serve_one_path_or_one_kind() -> None:
    assert len({(r.group, r.version, r.plural) for r in RESOURCES}) == len(RESOURCES)
    assert len({(r.api_version, r.kind) for r in RESOURCES}) == len(RESOURCES)


def test_no_two_kinds_share_a_place_in_the_store_unless_they_share_their_objects() -> None:
    by_prefix: dict[str, set[str]] = {}
    for r in RESOURCES:
        if r.stored:
            by_prefix.setdefault(r.storage_prefix, set()).add(f"{r.stored_api_version}/{r.kind}")
    assert all(len(kinds) == 1 for kinds in by_prefix.values()), by_prefix


def test_no_storage_prefix_is_a_folder_of_another() -> None:
    prefixes = {r.storage_prefix for r in RESOURCES if r.stored}
    assert not [(a, b) for a in prefixes for b in prefixes if b.startswith(a + "/")]


@pytest.mark.parametrize(
    ("group", "plural", "published"),
    [
        ("", "configmaps", "qFsyl6wFWjQ="),
        ("", "pods", "xPOwRZ+Yhw8="),
        ("", "nodes", "XwShjMxG9Fs="),
        ("", "services", "0/CO1lhkEBI="),
        ("", "endpoints", "fWeeMqaN/OA="),
        ("", "events", "r2yiGXH7wu8="),
        ("apps", "deployments", "8aSe+NMegvE="),
        ("apps", "replicasets", "P1RzHs8/mWQ="),
        ("networking.k8s.io", "ingresses", "39NQlfNR+bo="),
        ("storage.k8s.io", "storageclasses", "K+m6uJwbjGY="),
    ],
)
def test_storage_version_hash_is_what_a_real_server_publishes(group: str, plural: str, published: str) -> None:
    row = lookup(group, "v1", plural)
    assert row is not None
    assert row.storage_version_hash == published


def test_paths_name_group_namespace_object_and_subresource() -> None:
    deployments, nodes = lookup("apps", "v1", "deployments"), lookup("", "v1", "nodes")
    assert deployments is not None
    assert nodes is not None
    assert deployments.path("shop", "web", "scale") == "/apis/apps/v1/namespaces/shop/deployments/web/scale"
    assert deployments.path() == "/apis/apps/v1/deployments"
    assert nodes.path(None, "n1") == "/api/v1/nodes/n1"
    assert nodes.storage_key(None, "n1") == "minions/n1"
    assert deployments.storage_key("shop") == "deployments/shop/"


def test_kinds_are_found_by_api_version_and_kind() -> None:
    assert by_kind("v1", "Pod") is lookup("", "v1", "pods")
    assert by_kind("apps/v1", "Pod") is None


def test_subresources_publish_the_kind_they_take() -> None:
    pods, deployments = lookup("", "v1", "pods"), lookup("apps", "v1", "deployments")
    assert pods is not None
    assert deployments is not None
    scale, eviction = subresource(deployments, "scale"), subresource(pods, "eviction")
    assert scale == ("scale", ("get", "patch", "update"), "Scale", "autoscaling", "v1")
    assert eviction == ("eviction", ("create",), "Eviction", "policy", "v1")
    assert subresource(pods, "scale") is None
