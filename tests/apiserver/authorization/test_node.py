"""A kubelet sees what its own pods need, and writes what is its own."""

from typing import Any

import pytest

from apiserver.authentication.user import User
from apiserver.authorization.action import Action
from apiserver.authorization.defaults import node_rules
from apiserver.authorization.node import NodeAuthorizer, PodGraph, references

Object = dict[str, Any]
KUBELET = User("system:node:n1", ("system:nodes",))
OBJECTS: dict[tuple[str, str], Object] = {
    ("pods", "a/web"): {
        "metadata": {"name": "web", "namespace": "a"},
        "spec": {
            "nodeName": "n1",
            "serviceAccountName": "robot",
            "imagePullSecrets": [{"name": "pull"}],
            "containers": [
                {
                    "name": "c",
                    "envFrom": [{"configMapRef": {"name": "settings"}}],
                    "env": [{"name": "K", "valueFrom": {"secretKeyRef": {"name": "password", "key": "k"}}}],
                }
            ],
            "volumes": [
                {"name": "s", "secret": {"secretName": "files"}},
                {"name": "p", "projected": {"sources": [{"configMap": {"name": "kube-root-ca.crt"}}]}},
                {"name": "d", "persistentVolumeClaim": {"claimName": "data"}},
                {"name": "e", "ephemeral": {"volumeClaimTemplate": {}}},
            ],
        },
    },
    ("pods", "a/other"): {
        "metadata": {"name": "other", "namespace": "a"},
        "spec": {
            "nodeName": "n2",
            "containers": [],
            "volumes": [{"name": "s", "secret": {"secretName": "theirs"}}],
        },
    },
    ("persistentvolumeclaims", "a/data"): {"spec": {"volumeName": "disk"}},
}


def authorizer() -> NodeAuthorizer:
    graph = PodGraph()
    graph.put("a/web", "n1")
    graph.put("a/other", "n2")
    return NodeAuthorizer(graph, lambda plural, key: OBJECTS.get((plural, key)), node_rules())


def decide(verb: str, resource: str, name: str = "", namespace: str = "a", **more: str) -> bool:
    allowed, _ = authorizer().decide(KUBELET, Action(verb, resource=resource, namespace=namespace, name=name, **more))
    return allowed


def test_a_pod_refers_to_all_that_it_needs() -> None:
    assert references(OBJECTS["pods", "a/web"]) == {
        ("serviceaccounts", "robot"), ("secrets", "pull"), ("secrets", "password"), ("secrets", "files"),
        ("configmaps", "settings"), ("configmaps", "kube-root-ca.crt"), ("persistentvolumeclaims", "data"),
        ("persistentvolumeclaims", "web-e"),
    }  # fmt: skip


@pytest.mark.parametrize("verb", ["get", "list", "watch"])
def test_secrets_and_config_maps_are_read_one_by_one_for_the_nodes_own_pods(verb: str) -> None:
    assert decide(verb, "secrets", "password")
    assert decide(verb, "configmaps", "settings")
    assert not decide(verb, "secrets", "theirs")
    assert not decide(verb, "secrets", "password", "b")
    assert not decide(verb, "secrets")
    assert not decide(verb, "configmaps", "password")


def test_nobody_writes_secrets() -> None:
    assert not decide("update", "secrets", "password")
    assert not decide("create", "secrets")


def test_volumes_are_found_through_claims() -> None:
    assert decide("get", "persistentvolumeclaims", "data")
    assert decide("get", "persistentvolumes", "disk", "")
    assert not decide("get", "persistentvolumes", "another", "")
    assert not decide("list", "persistentvolumes", "", "")


def test_tokens_are_made_for_accounts_of_the_nodes_pods() -> None:
    assert decide("create", "serviceaccounts", "robot", subresource="token")
    assert not decide("create", "serviceaccounts", "default", subresource="token")
    assert not decide("create", "serviceaccounts", subresource="token")


def test_a_node_is_its_own() -> None:
    assert decide("create", "nodes", "", "")
    for verb in ("get", "list", "watch", "update", "patch"):
        assert decide(verb, "nodes", "n1", "")
        assert not decide(verb, "nodes", "n2", "")
    assert decide("patch", "nodes", "n1", "", subresource="status")
    assert not decide("patch", "nodes", "n2", "", subresource="status")
    assert not decide("list", "nodes", "", "")
    assert not decide("delete", "nodes", "n1", "")


def test_a_lease_is_the_nodes_own() -> None:
    lease = {"group": "coordination.k8s.io"}
    assert decide("create", "leases", "", "kube-node-lease", **lease)
    assert decide("update", "leases", "n1", "kube-node-lease", **lease)
    assert not decide("update", "leases", "n2", "kube-node-lease", **lease)
    assert not decide("update", "leases", "n1", "kube-system", **lease)
    assert not decide("list", "leases", "", "kube-node-lease", **lease)


def test_pods_are_listed_by_their_node() -> None:
    assert decide("list", "pods", "", "", field_selector="spec.nodeName=n1")
    assert not decide("list", "pods", "", "", field_selector="spec.nodeName=n2")
    assert not decide("list", "pods", "", "", field_selector="spec.nodeName!=n2")
    assert not decide("list", "pods", "", "")
    assert not decide("list", "pods", "", "", field_selector="((")


def test_pods_of_other_nodes_are_not_touched() -> None:
    for more in ({"verb": "get"}, {"verb": "delete"}, {"verb": "patch", "subresource": "status"}):
        assert decide(resource="pods", name="web", **more)
        assert not decide(resource="pods", name="other", **more)
    assert decide("create", "pods", "web", subresource="eviction")
    assert not decide("create", "pods", "other", subresource="eviction")
    assert not decide("patch", "pods", "web")
    assert not decide("create", "pods", "web", subresource="binding")
    assert decide("delete", "pods", "gone")
    assert not decide("get", "pods", "gone")


def test_everything_else_follows_the_nodes_rules() -> None:
    assert decide("list", "services", "", "")
    assert decide("create", "events")
    assert not decide("delete", "events")
    assert not decide("list", "deployments", group="apps")


def test_only_a_named_kubelet_is_a_node() -> None:
    action = Action("list", resource="services")
    for user in (User("system:node:n1"), User("n1", ("system:nodes",)), User("system:node:", ("system:nodes",))):
        assert authorizer().decide(user, action) == (False, "")


def test_a_pod_that_left_takes_its_secrets_along() -> None:
    graph = PodGraph()
    reader = NodeAuthorizer(graph, lambda plural, key: OBJECTS.get((plural, key)), node_rules())
    wanted = Action("get", resource="secrets", namespace="a", name="files")
    assert not reader.decide(KUBELET, wanted)[0]
    graph.put("a/web", "")
    assert not reader.decide(KUBELET, wanted)[0]
    graph.put("a/web", "n1")
    assert reader.decide(KUBELET, wanted)[0]
    graph.put("a/web", "n1")
    assert reader.decide(KUBELET, wanted)[0]
    graph.remove("a/web")
    assert not reader.decide(KUBELET, wanted)[0]
