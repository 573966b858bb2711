"""NodeRestriction: what the node authorizer cannot see, because it stands in the body: a kubelet writes what is its own.

Without it a kubelet could bind a pod of any service account to itself, and so read any secret. It is on with the node authorizer.
"""

from typing import Any

from apimachinery import errors
from apimachinery.errors import StatusError, quote
from apimachinery.resources import Resource
from apiserver.admission.chain import Attributes, Plugin
from apiserver.authentication.user import User
from apiserver.authorization.node import LEASE_NAMESPACE, node_name, references

Object = dict[str, Any]
_MIRROR = "kubernetes.io/config.mirror"
_RESTRICTED = "node-restriction.kubernetes.io"
#: Labels in Kubernetes' own domains that a kubelet may set on its Node; all others there are not its to set.
_LABELS = frozenset((
    "kubernetes.io/hostname", "topology.kubernetes.io/zone", "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/region",
    "beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type", "kubernetes.io/os", "kubernetes.io/arch",
    "beta.kubernetes.io/os", "beta.kubernetes.io/arch",
))  # fmt: skip
_LABEL_DOMAINS = ("kubelet.kubernetes.io", "node.kubernetes.io")


class NodeRestriction(Plugin):
    handles = frozenset({"CREATE", "UPDATE", "DELETE"})

    def __init__(self, context: Any) -> None:
        self._context = context

    async def admit(self, attributes: Attributes) -> None:
        node = node_name(attributes.user)
        if node is None:
            return
        what, group = attributes.what, attributes.resource.group
        wrong: str | None = None
        if (group, what) == ("", "pods"):
            wrong = self._pod(node, attributes)
        elif (group, what) == ("", "pods/status"):
            wrong = _pod_status(node, attributes)
        elif group == "" and what in ("nodes", "nodes/status"):
            wrong = _node(node, attributes)
        elif (group, what) == ("coordination.k8s.io", "leases"):
            wrong = _lease(node, attributes)
        elif (group, what) == ("storage.k8s.io", "csinodes"):
            wrong = _csi_node(node, attributes)
        if wrong is not None:
            raise errors.forbidden(attributes.resource, _name(attributes), wrong)

    def _pod(self, node: str, attributes: Attributes) -> str | None:
        if attributes.operation == "DELETE":
            if _bound_to(attributes.old) != node:
                return f"node {quote(node)} can only delete pods with spec.nodeName set to itself"
            return None
        if attributes.operation != "CREATE" or attributes.obj is None:
            return (
                f"unexpected operation {quote(attributes.operation)}, node {quote(node)} can only create and "
                "delete mirror pods"
            )
        return _mirror_pod(node, attributes.obj) or self._owner(node, attributes.obj)

    def _owner(self, node: str, pod: Object) -> str | None:
        """A mirror pod belongs to the Node, so that it goes with it."""
        owners = pod["metadata"].get("ownerReferences") or []
        if len(owners) > 1:
            return f"node {quote(node)} can only create pods with a single owner reference set to itself"
        if not owners or (owners[0].get("apiVersion"), owners[0].get("kind"), owners[0].get("name")) != (
            "v1", "Node", node,
        ):  # fmt: skip
            return f"node {quote(node)} can only create pods with an owner reference set to itself"
        if not owners[0].get("controller"):
            return f"node {quote(node)} can only create pods with a controller owner reference set to itself"
        if owners[0].get("blockOwnerDeletion"):
            return f"node {quote(node)} must not set blockOwnerDeletion on an owner reference"
        endpoint = self._context.endpoint("", "nodes")
        entry = endpoint.cache.get(node)
        if entry is None:
            raise endpoint.not_found(node)
        uid = endpoint.decode_entry(entry)["metadata"]["uid"]
        if owners[0].get("uid") != uid:
            return f"node {node} UID mismatch: expected {owners[0].get('uid')} got {uid}"
        return None


def check_token(user: User, resource: Resource, name: str, reference: Object | None, bound: Object | None) -> None:
    """A kubelet's TokenRequest is for a pod of its own: raises 403 for any other. ``bound`` is what ``reference`` names."""
    node = node_name(user)
    if node is None:
        return
    if not reference or bound is None or bound.get("kind") != "Pod":
        raise _refused(resource, name, "node requested token not bound to a pod")
    if not reference.get("uid"):
        raise _refused(resource, name, "node requested token with a pod binding without a uid")
    if _bound_to(bound) != node:
        raise _refused(resource, name, "node requested token bound to a pod scheduled on a different node")


def _refused(resource: Resource, name: str, why: str) -> StatusError:
    return errors.forbidden(resource, name, why)


def _mirror_pod(node: str, pod: Object) -> str | None:
    if _MIRROR not in (pod["metadata"].get("annotations") or {}):
        return f"pod does not have {quote(_MIRROR)} annotation, node {quote(node)} can only create mirror pods"
    if _bound_to(pod) != node:
        return f"node {quote(node)} can only create pods with spec.nodeName set to itself"
    named = {what for what, _ in references(pod, mirror_too=True)}
    for plural, words in (
        ("serviceaccounts", "a service account"),
        ("secrets", "secrets"),
        ("configmaps", "configmaps"),
        ("persistentvolumeclaims", "persistentvolumeclaims"),
    ):
        if plural in named:
            return f"node {quote(node)} can not create pods that reference {words}"
    return None


def _pod_status(node: str, attributes: Attributes) -> str | None:
    old, new = attributes.old or {}, attributes.obj or {}
    if _bound_to(old) != node:
        return f"node {quote(node)} can only update pod status for pods with spec.nodeName set to itself"
    if (old["metadata"].get("labels") or {}) != (new["metadata"].get("labels") or {}):
        return f"node {quote(node)} cannot update labels through pod status"
    return None


def _node(node: str, attributes: Attributes) -> str | None:
    name = _name(attributes)
    if name != node:
        return f"node {quote(node)} is not allowed to modify node {quote(name)}"
    if attributes.obj is None:
        return None
    old = attributes.old or {}
    if attributes.operation == "UPDATE" and _taints(attributes.obj) != _taints(old):
        return f"node {quote(node)} is not allowed to modify taints"
    labels, before = _labels(attributes.obj), _labels(old)
    changed = sorted(key for key in {*labels, *before} if labels.get(key) != before.get(key) and not _may_set(key))
    if not changed:
        return None
    if attributes.operation == "CREATE":
        return f"node {quote(node)} is not allowed to set the following labels: {', '.join(changed)}"
    return f"is not allowed to modify labels: {', '.join(changed)}"


def _taints(node: Object) -> Any:
    return (node.get("spec") or {}).get("taints") or []


def _labels(node: Object) -> dict[str, str]:
    return (node.get("metadata") or {}).get("labels") or {}


def _may_set(label: str) -> bool:
    domain, slash, _ = label.partition("/")
    if not slash:
        return True
    if _within(domain, _RESTRICTED):
        return False
    if not _within(domain, "kubernetes.io") and not _within(domain, "k8s.io"):
        return True
    return label in _LABELS or any(_within(domain, known) for known in _LABEL_DOMAINS)


def _within(domain: str, parent: str) -> bool:
    return domain == parent or domain.endswith("." + parent)


def _lease(node: str, attributes: Attributes) -> str | None:
    if attributes.namespace != LEASE_NAMESPACE:
        return f'can only access leases in the "{LEASE_NAMESPACE}" system namespace'
    if _name(attributes) != node:
        return "can only access node lease with the same name as the requesting node"
    return None


def _csi_node(node: str, attributes: Attributes) -> str | None:
    return None if _name(attributes) == node else "can only access CSINode with the same name as the requesting node"


def _bound_to(pod: Object | None) -> str:
    return ((pod or {}).get("spec") or {}).get("nodeName") or ""


def _name(attributes: Attributes) -> str:
    """The object's name: a creation has it in the body only."""
    if attributes.name or attributes.obj is None:
        return attributes.name
    return str(attributes.obj["metadata"].get("name") or "")
