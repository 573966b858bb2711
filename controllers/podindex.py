"""All pods of the cluster, found by their controller without a scan.

A set of a thousand pods gets thousands of events while it starts. So what a status counts of a pod (is it active, ready,
since when) is worked out once, when the pod changes, and a sync only sums it up.
"""

from collections.abc import Iterable
from typing import Any

from apimachinery import meta
from controllers import pods
from kubeclient import Informer
from kubeclient.informer import key_of

Object = dict[str, Any]


class Pod:
    """One pod and what is counted of it."""

    __slots__ = ("active", "key", "labels", "object", "ready", "ready_since", "terminating")

    def __init__(self, obj: Object) -> None:
        self.object = obj
        self.key = key_of(obj)
        self.labels: dict[str, str] = meta.labels(obj)
        self.active = pods.is_active(obj)
        self.ready = pods.is_ready(obj)
        self.ready_since = pods.ready_since(obj) if self.ready else 0.0
        self.terminating = meta.is_deleting(obj) and not pods.is_terminal(obj)

    def available(self, min_ready_seconds: int, now: float) -> bool:
        if not self.ready:
            return False
        return min_ready_seconds == 0 or (self.ready_since > 0 and self.ready_since + min_ready_seconds <= now)


def _owner(obj: Object) -> str:
    """The uid of the pod's controller, or for a pod without one its namespace (which no uid looks like)."""
    reference = meta.controller_of(obj)
    return reference["uid"] if reference else f"/{meta.namespace(obj)}"


class PodIndex:
    """Kept up to date by the pod informer; must be built before the handlers that read it are registered."""

    def __init__(self, informer: Informer) -> None:
        self.informer = informer
        self._by_owner: dict[str, dict[str, Pod]] = {}
        informer.on(self._add, self._update, self._delete)
        informer.add_index("node", lambda pod: [pods.node_name(pod)] if pods.node_name(pod) else [])

    def get(self, key: str) -> Object | None:
        return self.informer.get(key)

    def owned_by(self, uid: str) -> Iterable[Pod]:
        return self._by_owner.get(uid, {}).values()

    def count_owned_by(self, uid: str) -> int:
        return len(self._by_owner.get(uid, ()))

    def orphans(self, namespace: str) -> Iterable[Pod]:
        """Pods that no controller manages."""
        return self._by_owner.get(f"/{namespace}", {}).values()

    def on_node(self, node: str) -> list[Object]:
        return self.informer.by_index("node", node)

    def nodes(self) -> set[str]:
        """The names of all nodes that pods are bound to."""
        return self.informer.index_values("node")

    def _add(self, obj: Object) -> None:
        pod = Pod(obj)
        self._by_owner.setdefault(_owner(obj), {})[pod.key] = pod

    def _update(self, old: Object, new: Object) -> None:
        if _owner(old) != _owner(new):
            self._delete(old)
        self._add(new)

    def _delete(self, obj: Object) -> None:
        owner = _owner(obj)
        owned = self._by_owner.get(owner)
        if owned is not None:
            owned.pop(key_of(obj), None)
            if not owned:
                del self._by_owner[owner]
