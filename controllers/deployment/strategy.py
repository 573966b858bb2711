"""How many pods too many and too few a rollout may have, and who gets how many of them."""

from collections.abc import Iterable
from typing import Any

from controllers.deployment import revision
from controllers.intorstr import scaled

Object = dict[str, Any]


def replicas_of(obj: Object) -> int:
    """Wanted replicas of a Deployment or ReplicaSet."""
    replicas = obj["spec"].get("replicas")
    return 1 if replicas is None else replicas


def total(replica_sets: Iterable[Object]) -> int:
    return sum(replicas_of(rs) for rs in replica_sets)


def counted(replica_sets: Iterable[Object | None], field: str) -> int:
    """The sum of one number of their statuses."""
    return sum((rs.get("status") or {}).get(field) or 0 for rs in replica_sets if rs is not None)


def is_rolling(deployment: Object) -> bool:
    return (deployment["spec"].get("strategy") or {}).get("type", "RollingUpdate") == "RollingUpdate"


def _fenceposts(deployment: Object) -> tuple[int, int]:
    """``(surge, unavailable)``: surge rounds up, unavailable down, and both zero would never get anywhere."""
    rolling = (deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    wanted = replicas_of(deployment)
    surge = scaled(rolling.get("maxSurge"), wanted, round_up=True, default="25%")
    unavailable = scaled(rolling.get("maxUnavailable"), wanted, round_up=False, default="25%")
    return (surge, unavailable) if surge or unavailable else (0, 1)


def max_surge(deployment: Object) -> int:
    return _fenceposts(deployment)[0] if is_rolling(deployment) else 0


def max_unavailable(deployment: Object) -> int:
    wanted = replicas_of(deployment)
    if not is_rolling(deployment) or wanted == 0:
        return 0
    return min(_fenceposts(deployment)[1], wanted)


def new_size(deployment: Object, new: Object, everyone: Iterable[Object]) -> int:
    """What the new ReplicaSet may grow to now; ``everyone`` includes it."""
    wanted, size = replicas_of(deployment), replicas_of(new)
    if not is_rolling(deployment):
        return wanted
    room = wanted + max_surge(deployment) - total(everyone)
    return size if room <= 0 else size + min(room, wanted - size)


def proportional_sizes(deployment: Object, active: list[Object]) -> dict[str, int]:
    """New sizes by name for a Deployment scaled in mid-rollout: each ReplicaSet keeps its share, rounding goes to the first."""
    wanted = replicas_of(deployment)
    allowed = wanted + max_surge(deployment) if wanted > 0 else 0
    to_add = allowed - total(active)
    if to_add > 0:
        ordered = sorted(active, key=_created, reverse=True)
    else:
        ordered = sorted(active, key=_created)
    ordered.sort(key=replicas_of, reverse=True)
    sizes: dict[str, int] = {}
    added = 0
    for rs in ordered:
        share = _proportion(deployment, rs, to_add, added)
        sizes[rs["metadata"]["name"]] = replicas_of(rs) + share
        added += share
    if ordered and to_add:
        first = ordered[0]["metadata"]["name"]
        sizes[first] = max(0, sizes[first] + to_add - added)
    return sizes


def _created(obj: Object) -> tuple[str, str]:
    return obj["metadata"].get("creationTimestamp") or "", obj["metadata"]["name"]


def _proportion(deployment: Object, rs: Object, to_add: int, added: int) -> int:
    if replicas_of(rs) == 0 or to_add == 0 or to_add == added:
        return 0
    fraction = _fraction(deployment, rs)
    return min(fraction, to_add - added) if to_add > 0 else max(fraction, to_add - added)


def _fraction(deployment: Object, rs: Object) -> int:
    size = replicas_of(rs)
    if replicas_of(deployment) == 0:
        return -size
    before = revision.max_replicas(rs) or (deployment.get("status") or {}).get("replicas") or 0
    if before == 0:
        return 0
    after = size * (replicas_of(deployment) + max_surge(deployment)) / before
    return int(after + 0.5) - size
