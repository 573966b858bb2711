"""The annotations behind ``kubectl rollout history`` and ``undo``, and those that remember the size before a scaling."""

from typing import Any

from apimachinery import meta

Object = dict[str, Any]

REVISION = "deployment.kubernetes.io/revision"
HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAX = "deployment.kubernetes.io/max-replicas"

#: Annotations of a Deployment that its ReplicaSets do not inherit.
_NOT_COPIED = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        REVISION,
        HISTORY,
        DESIRED,
        MAX,
        "deprecated.deployment.rollback.to",
    }
)
_HISTORY_LENGTH = 2000


def of(obj: Object) -> int:
    """0 for an object without a (readable) revision."""
    return _number(meta.annotations(obj).get(REVISION)) or 0


def _number(text: str | None) -> int | None:
    try:
        return int(text) if text else None
    except ValueError:
        return None


def desired_replicas(replica_set: Object) -> int | None:
    """How many replicas the Deployment wanted when it last sized this ReplicaSet."""
    return _number(meta.annotations(replica_set).get(DESIRED))


def max_replicas(replica_set: Object) -> int | None:
    return _number(meta.annotations(replica_set).get(MAX))


def size_annotations(replicas: int, surge: int) -> dict[str, str]:
    return {DESIRED: str(replicas), MAX: str(replicas + surge)}


def inherited(deployment: Object, replica_set: Object, revision: int) -> dict[str, str]:
    """The annotations of the current ReplicaSet: the Deployment's, and its own revision when that has risen.

    A ReplicaSet that becomes current again (an undo) gets a new revision and remembers those it had.
    """
    annotations = dict(meta.annotations(replica_set))
    for name, value in meta.annotations(deployment).items():
        if name not in _NOT_COPIED:
            annotations[name] = value
    before = annotations.get(REVISION)
    if (_number(before) or 0) < revision:
        annotations[REVISION] = str(revision)
        if before:
            annotations[HISTORY] = _remember(annotations.get(HISTORY, ""), before)
    return annotations


def _remember(history: str, revision: str) -> str:
    revisions = [r for r in history.split(",") if r] + [revision]
    while len(revisions) > 1 and len(",".join(revisions)) > _HISTORY_LENGTH:
        del revisions[0]
    return ",".join(revisions)
