"""A kubelet writes what is its own, whatever the body of its request says."""

from types import SimpleNamespace
from typing import Any

import pytest

from apimachinery.errors import StatusError
from apimachinery.resources import Resource, lookup
from apiserver.admission.chain import Attributes
from apiserver.admission.noderestriction import NodeRestriction, check_token
from apiserver.authentication.user import User

Object = dict[str, Any]
KUBELET = User("system:node:n1", ("system:nodes",))
OWNER = {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u1", "controller": True}


def row(plural: str, group: str = "") -> Resource:
    found = lookup(group, "v1", plural)
    assert found is not None
    return found


def plugin() -> NodeRestriction:
    cache = {"n1": object()}
    endpoint = SimpleNamespace(cache=cache, decode_entry=lambda entry: {"metadata": {"uid": "u1"}})
    return NodeRestriction(SimpleNamespace(endpoint=lambda group, plural: endpoint))


async def refusal(
    operation: str, resource: Resource, obj: Object | None, old: Object | None = None, user: User = KUBELET, **more: str
) -> str:
    """Why it is refused; empty when it is not."""
    try:
        await plugin().admit(Attributes(operation, resource, obj, old, user, **more))  # type: ignore[arg-type]
    except StatusError as error:
        return f"{error.code}: " * (error.code != 403) + error.message.partition(" is forbidden: ")[2]
    return ""


def mirror(owner: Object | None = OWNER, node: str = "n1", **spec: Any) -> Object:
    metadata: Object = {"name": "p", "annotations": {"kubernetes.io/config.mirror": "x"}}
    if owner:
        metadata["ownerReferences"] = [owner]
    return {"metadata": metadata, "spec": {"nodeName": node, "containers": [], **spec}}


async def test_a_kubelet_makes_mirror_pods_only() -> None:
    assert await refusal("CREATE", row("pods"), mirror()) == ""
    bare = mirror()
    del bare["metadata"]["annotations"]
    assert "can only create mirror pods" in await refusal("CREATE", row("pods"), bare)
    assert "spec.nodeName set to itself" in await refusal("CREATE", row("pods"), mirror(node="n2"))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (None, "with an owner reference set to itself"),
        ({"name": "n2"}, "with an owner reference set to itself"),
        ({"controller": False}, "with a controller owner reference"),
        ({"blockOwnerDeletion": True}, "must not set blockOwnerDeletion"),
        ({"uid": "u2"}, "UID mismatch: expected u2 got u1"),
    ],
)
async def test_a_mirror_pod_is_owned_by_its_node(change: Object | None, why: str) -> None:
    owner = None if change is None else {**OWNER, **change}
    assert why in await refusal("CREATE", row("pods"), mirror(owner))


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        ({"serviceAccountName": "admin"}, "a service account"),
        ({"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}, "secrets"),
        ({"containers": [{"name": "c", "envFrom": [{"configMapRef": {"name": "m"}}]}]}, "configmaps"),
        ({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "d"}}]}, "persistentvolumeclaims"),
    ],
)
async def test_a_mirror_pod_gets_at_nothing(spec: Object, what: str) -> None:
    wanted = f'node "n1" can not create pods that reference {what}'
    assert await refusal("CREATE", row("pods"), mirror(**spec)) == wanted


async def test_pods_of_others_are_neither_deleted_nor_reported_on() -> None:
    mine, theirs = mirror(), mirror(node="n2")
    assert await refusal("DELETE", row("pods"), None, mine, name="p") == ""
    assert "can only delete pods" in await refusal("DELETE", row("pods"), None, theirs, name="p")
    assert await refusal("UPDATE", row("pods"), mine, mine, subresource="status", name="p") == ""
    assert "can only update pod status" in await refusal(
        "UPDATE", row("pods"), theirs, theirs, subresource="status", name="p"
    )
    labelled = mirror()
    labelled["metadata"]["labels"] = {"app": "web"}
    assert "cannot update labels" in await refusal(
        "UPDATE", row("pods"), labelled, mine, subresource="status", name="p"
    )


def node(name: str = "n1", taints: list[Object] | None = None) -> Object:
    return {"metadata": {"name": name, "labels": {}}, "spec": {"taints": taints or []}}


async def test_a_kubelet_registers_itself_with_labels_that_are_its_to_set() -> None:
    allowed = {"kubernetes.io/hostname": "n1", "disk": "ssd", "example.com/x": "y", "node.kubernetes.io/x": "y"}
    own = node()
    own["metadata"]["labels"] = allowed
    assert await refusal("CREATE", row("nodes"), own) == ""
    assert await refusal("CREATE", row("nodes"), node("n2")) == 'node "n1" is not allowed to modify node "n2"'
    for label in ("node-role.kubernetes.io/x", "node-restriction.kubernetes.io/x", "a.k8s.io/x"):
        own["metadata"]["labels"] = {**allowed, label: ""}
        assert await refusal("CREATE", row("nodes"), own) == (
            f'node "n1" is not allowed to set the following labels: {label}'
        )


async def test_a_kubelet_keeps_its_taints_and_foreign_labels() -> None:
    tainted = node(taints=[{"key": "a", "effect": "NoSchedule"}])
    assert await refusal("UPDATE", row("nodes"), tainted, tainted, name="n1") == ""
    assert "modify taints" in await refusal("UPDATE", row("nodes"), node(), tainted, name="n1")
    restricted = node()
    restricted["metadata"]["labels"] = {"node-restriction.kubernetes.io/fips": "true"}
    why = "is not allowed to modify labels: node-restriction.kubernetes.io/fips"
    assert await refusal("UPDATE", row("nodes"), node(), restricted, name="n1") == why


async def test_a_lease_has_the_name_of_its_node() -> None:
    leases = row("leases", "coordination.k8s.io")
    for name, namespace, refused in (
        ("n1", "kube-node-lease", False), ("n2", "kube-node-lease", True), ("n1", "kube-system", True),
    ):  # fmt: skip
        assert bool(await refusal("CREATE", leases, {"metadata": {"name": name}}, namespace=namespace)) is refused


async def test_nobody_else_is_restricted() -> None:
    assert await refusal("CREATE", row("nodes"), node("n2"), user=User("jane")) == ""


def test_tokens_are_bound_to_pods_of_the_node() -> None:
    accounts, pod = row("serviceaccounts"), {"kind": "Pod", **mirror()}
    check_token(KUBELET, accounts, "a", {"kind": "Pod", "name": "p", "uid": "u"}, pod)
    check_token(User("jane"), accounts, "a", None, None)
    for reference, bound, why in (
        (None, None, "not bound to a pod"),
        ({"kind": "Pod", "name": "p"}, pod, "without a uid"),
        ({"kind": "Secret", "name": "s", "uid": "u"}, {"kind": "Secret", "metadata": {}}, "not bound to a pod"),
        ({"kind": "Pod", "name": "p", "uid": "u"}, {"kind": "Pod", **mirror(node="n2")}, "on a different node"),
    ):
        with pytest.raises(StatusError, match=why):
            check_token(KUBELET, accounts, "a", reference, bound)
