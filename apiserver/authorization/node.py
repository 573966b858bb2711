"""What a kubelet may do: what concerns its own node and the pods bound to it, and little else.

A kubelet is a user ``system:node:NAME`` of the group ``system:nodes``. Secrets, ConfigMaps, service accounts and volumes are
its business when a pod bound to the node refers to them. Upstream leaves what the body of a write says to the admission plugin
NodeRestriction; what the path says is decided here: a node writes its own Node, and the status of its own pods.
"""

from collections.abc import Iterator
from typing import Any

from apiserver.authentication.user import User
from apiserver.authorization.action import Action
from apiserver.authorization.rules import Rule

Object = dict[str, Any]
GROUP, PREFIX = "system:nodes", "system:node:"
LEASE_NAMESPACE = "kube-node-lease"
_READ = frozenset(("get", "list", "watch"))
_LEASE_VERBS = frozenset(("get", "create", "update", "patch", "delete"))
_ALLOWED = (True, "")
#: A decision, and why not.
Decision = tuple[bool, str]
#: What a pod refers to: ``("secrets", name)`` and so on, in the pod's namespace.
References = frozenset[tuple[str, str]]


def node_name(user: User) -> str | None:
    """The node that a user is the kubelet of."""
    if GROUP not in user.groups or not user.name.startswith(PREFIX):
        return None
    return user.name[len(PREFIX) :] or None


class PodGraph:
    """Which pods are bound to which node, and what each refers to. Told of every change of a pod.

    Answers about volumes need claims and volumes: ``claim_volume(namespace, name)`` is the volume a claim is bound to.
    """

    def __init__(self) -> None:
        self._node_of: dict[str, str] = {}
        self._pods: dict[str, dict[str, References | None]] = {}

    def put(self, key: str, node: str) -> None:
        """A pod (``namespace/name``) is bound to a node, or to none when it is empty."""
        if self._node_of.get(key) == node:
            # It may have got an ephemeral container: what it refers to is looked up anew.
            self._pods[node][key] = None
            return
        self.remove(key)
        if node:
            self._node_of[key] = node
            self._pods.setdefault(node, {})[key] = None

    def remove(self, key: str) -> None:
        node = self._node_of.pop(key, "")
        if node:
            del self._pods[node][key]
            if not self._pods[node]:
                del self._pods[node]

    def runs(self, node: str, namespace: str, name: str) -> bool:
        return self._node_of.get(f"{namespace}/{name}") == node

    def references(self, node: str, load: Any) -> Iterator[tuple[str, References]]:
        """Namespace and references of each pod of a node; ``load(key)`` is a pod's object, or None."""
        pods = self._pods.get(node, {})
        for key, found in list(pods.items()):
            if found is None:
                pod = load(key)
                found = pods[key] = references(pod) if pod is not None else frozenset()
            yield key.partition("/")[0], found


def references(pod: Object, *, mirror_too: bool = False) -> References:
    """What a kubelet has to read to run a pod. A mirror pod counts for nothing: its kubelet wrote it."""
    metadata, spec = pod["metadata"], pod.get("spec") or {}
    if not mirror_too and "kubernetes.io/config.mirror" in (metadata.get("annotations") or {}):
        return frozenset()
    found: set[tuple[str, str | None]] = {("serviceaccounts", spec.get("serviceAccountName"))}
    found.update(("secrets", s.get("name")) for s in spec.get("imagePullSecrets") or ())
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(field) or ():
            found.update(_environment(container))
    for volume in spec.get("volumes") or ():
        found.update(_volume(volume))
        if "ephemeral" in volume:
            found.add(("persistentvolumeclaims", f"{metadata['name']}-{volume['name']}"))
    return frozenset((what, name) for what, name in found if name)


def _environment(container: Object) -> Iterator[tuple[str, str | None]]:
    for source in container.get("envFrom") or ():
        yield "secrets", (source.get("secretRef") or {}).get("name")
        yield "configmaps", (source.get("configMapRef") or {}).get("name")
    for variable in container.get("env") or ():
        source = variable.get("valueFrom") or {}
        yield "secrets", (source.get("secretKeyRef") or {}).get("name")
        yield "configmaps", (source.get("configMapKeyRef") or {}).get("name")


def _volume(volume: Object) -> Iterator[tuple[str, str | None]]:
    yield "secrets", (volume.get("secret") or {}).get("secretName")
    yield "configmaps", (volume.get("configMap") or {}).get("name")
    yield "persistentvolumeclaims", (volume.get("persistentVolumeClaim") or {}).get("claimName")
    for source in (volume.get("projected") or {}).get("sources") or ():
        yield "secrets", (source.get("secret") or {}).get("name")
        yield "configmaps", (source.get("configMap") or {}).get("name")
    for source in volume.values():
        if isinstance(source, dict):  # of a CSI driver or a file server
            yield "secrets", ((source.get("nodePublishSecretRef") or source.get("secretRef")) or {}).get("name")


class NodeAuthorizer:
    """``reader`` looks objects up in the watch cache: ``reader(plural, key)`` is an object or None."""

    def __init__(self, graph: PodGraph, reader: Any, rules: tuple[Rule, ...]) -> None:
        self._graph = graph
        self._read = reader
        self._rules = rules
        self._special = {
            ("", "secrets"): self._readable,
            ("", "configmaps"): self._readable,
            ("", "serviceaccounts"): self._token,
            ("", "persistentvolumeclaims"): self._claim,
            ("", "persistentvolumes"): self._volume,
            ("storage.k8s.io", "volumeattachments"): self._attachment,
            ("storage.k8s.io", "csinodes"): self._csi_node,
            ("coordination.k8s.io", "leases"): self._lease,
            ("", "nodes"): self._node,
            ("", "pods"): self._pod,
        }

    def decide(self, user: User, action: Action) -> Decision:
        node = node_name(user)
        if node is None:
            return False, ""
        special = self._special.get((action.group, action.resource))
        if special is not None:
            return special(node, action)
        what = (action.verb, action.group, action.resource, action.subresource, action.name)
        return any(not rule.urls and rule.allows(*what) for rule in self._rules), ""

    # --- what the node's pods refer to

    def _readable(self, node: str, action: Action) -> Decision:
        if action.verb not in _READ:
            return False, "can only read resources of this type"
        if action.subresource:
            return False, "cannot read subresource"
        if not action.namespace:
            return False, "can only read namespaced object of this type"
        return self._related(node, action)

    def _token(self, node: str, action: Action) -> Decision:
        if action.verb == "get" and not action.subresource:
            # Upstream's kubelet never reads the account; image pull secrets and token settings may want to.
            return self._related(node, action)
        if action.verb != "create" or not action.name:
            return False, "can only create tokens for individual service accounts"
        if action.subresource != "token":
            return False, "can only create token subresource of serviceaccount"
        return self._related(node, action)

    def _claim(self, node: str, action: Action) -> Decision:
        if action.subresource == "status":
            if action.verb not in ("update", "patch"):
                return False, "can only get/update/patch this type"
            return self._related(node, action)
        return self._get(node, action)

    def _volume(self, node: str, action: Action) -> Decision:
        refused = _only_get(action)
        if refused:
            return refused
        for namespace, found in self._graph.references(node, self._load_pod):
            for what, name in found:
                if what == "persistentvolumeclaims":
                    claim = self._read("persistentvolumeclaims", f"{namespace}/{name}")
                    if claim is not None and (claim.get("spec") or {}).get("volumeName") == action.name:
                        return _ALLOWED
        return _unrelated(node)

    def _attachment(self, node: str, action: Action) -> Decision:
        refused = _only_get(action)
        if refused:
            return refused
        attachment = self._read("volumeattachments", action.name)
        if attachment is not None and attachment["spec"].get("nodeName") == node:
            return _ALLOWED
        return _unrelated(node)

    def _get(self, node: str, action: Action) -> Decision:
        return _only_get(action) or self._related(node, action)

    def _related(self, node: str, action: Action) -> Decision:
        if not action.name:
            return False, "No Object name found"
        wanted = (action.resource, action.name)
        for namespace, found in self._graph.references(node, self._load_pod):
            if namespace == action.namespace and wanted in found:
                return _ALLOWED
        return _unrelated(node)

    def _load_pod(self, key: str) -> Any:
        return self._read("pods", key)

    # --- the node's own objects

    def _lease(self, node: str, action: Action) -> Decision:
        if action.verb not in _LEASE_VERBS:
            return False, "can only get, create, update, patch, or delete a node lease"
        if action.namespace != LEASE_NAMESPACE:
            return False, f'can only access leases in the "{LEASE_NAMESPACE}" system namespace'
        if action.verb != "create" and action.name != node:
            return False, "can only access node lease with the same name as the requesting node"
        return _ALLOWED

    def _csi_node(self, node: str, action: Action) -> Decision:
        if action.verb not in _LEASE_VERBS:
            return False, "can only get, create, update, patch, or delete a CSINode"
        if action.subresource:
            return False, "cannot authorize CSINode subresources"
        if action.verb != "create" and action.name != node:
            return False, "can only access CSINode with the same name as the requesting node"
        return _ALLOWED

    def _node(self, node: str, action: Action) -> Decision:
        verb, name, subresource = action.verb, action.name, action.subresource
        if verb in _READ and not subresource:
            if name == node:
                return _ALLOWED
            if not name:
                return False, f"node '{node}' cannot read all nodes, only its own Node object"
            return False, f"node '{node}' cannot read '{name}', only its own Node object"
        if verb == "create" and not subresource:
            return _ALLOWED  # admission sees its name
        if verb in ("update", "patch") and subresource in ("", "status"):
            return (True, "") if name == node else (False, f"node {node} is not allowed to modify node {name}")
        return False, ""

    def _pod(self, node: str, action: Action) -> Decision:
        verb, subresource = action.verb, action.subresource
        if not subresource and verb in ("list", "watch"):
            if action.selects("spec.nodeName") == node:
                return _ALLOWED
            if action.name:
                return self._own_pod(node, action)
            return False, "can only list/watch pods with spec.nodeName field selector"
        if not subresource and verb == "create":
            return _ALLOWED  # a mirror pod: admission sees what is in it
        if (
            (not subresource and verb in ("get", "delete"))
            or (subresource == "status" and verb in ("update", "patch"))
            or (subresource == "eviction" and verb == "create")
        ):
            return self._own_pod(node, action)
        return False, ""

    def _own_pod(self, node: str, action: Action) -> Decision:
        if self._graph.runs(node, action.namespace, action.name):
            return _ALLOWED
        if action.verb != "get" and self._load_pod(f"{action.namespace}/{action.name}") is None:
            return _ALLOWED  # a write to what is gone: 404 tells the kubelet so, 403 would not
        return _unrelated(node)


def _only_get(action: Action) -> Decision | None:
    if action.verb != "get":
        return False, "can only get individual resources of this type"
    if action.subresource:
        return False, "cannot get subresource"
    return None


def _unrelated(node: str) -> Decision:
    return False, f"no relationship found between node '{node}' and this object"
