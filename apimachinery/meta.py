"""Metadata of objects: times, identities, owners, finalizers and conditions.

Pure functions on plain dicts, shared by the API server, controllers and kubelets, so that all of them stamp, own and
report in one way.
"""

import os
import time
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

Object = dict[str, Any]

# Upstream leaves out vowels and look-alikes, so that no generated name spells a word.
_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX_LENGTH = 5
_MAX_GENERATED_PREFIX = 63 - _SUFFIX_LENGTH

FOREGROUND_FINALIZER = "foregroundDeletion"
ORPHAN_FINALIZER = "orphan"


# --- time -------------------------------------------------------------------------------------------------------


def now_rfc3339() -> str:
    """``metav1.Time``: seconds precision, UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def now_micro() -> str:
    """``metav1.MicroTime``: always six digits, as leases and events carry it."""
    return format_micro(time.time())


def format_time(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def format_micro(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 time, with or without a fraction."""
    return datetime.fromisoformat(text.replace("Z", "+00:00") if text.endswith("Z") else text).timestamp()


# --- identity ---------------------------------------------------------------------------------------------------


def new_uid() -> str:
    return str(uuid.uuid4())


def random_suffix(length: int = _SUFFIX_LENGTH) -> str:
    # Straight from the kernel: the secrets module would load OpenSSL into every process.
    number = int.from_bytes(os.urandom(length + 8))
    letters = []
    for _ in range(length):
        number, index = divmod(number, len(_SUFFIX_ALPHABET))
        letters.append(_SUFFIX_ALPHABET[index])
    return "".join(letters)


def generate_name(prefix: str) -> str:
    """A name from ``metadata.generateName``: the prefix, cut so that the result is a DNS label, and five letters."""
    return prefix[:_MAX_GENERATED_PREFIX] + random_suffix()


def key(obj: Object) -> str:
    """``namespace/name``, or ``name`` for what has no namespace: how caches and work queues call an object."""
    metadata = obj["metadata"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else metadata["name"]


def split_key(key: str) -> tuple[str, str]:
    namespace, _, name = key.rpartition("/")
    return namespace, name


def name(obj: Object) -> str:
    return obj["metadata"]["name"]


def namespace(obj: Object) -> str:
    return obj["metadata"].get("namespace") or ""


def uid(obj: Object) -> str:
    return obj["metadata"].get("uid") or ""


def labels(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}


def annotations(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("annotations") or {}


def is_deleting(obj: Object) -> bool:
    return bool(obj["metadata"].get("deletionTimestamp"))


# --- owners -----------------------------------------------------------------------------------------------------


def owner_references(obj: Object) -> list[dict[str, Any]]:
    return obj["metadata"].get("ownerReferences") or []


def controller_of(obj: Object) -> dict[str, Any] | None:
    """The owner reference of the controller that manages the object, if one does."""
    return next((r for r in owner_references(obj) if r.get("controller")), None)


def is_controlled_by(obj: Object, owner: Object) -> bool:
    reference = controller_of(obj)
    return reference is not None and reference["uid"] == owner["metadata"]["uid"]


def controller_reference(owner: Object) -> dict[str, Any]:
    """The reference that a controller puts on what it creates; deleting the owner in the foreground waits for it."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


# --- finalizers -------------------------------------------------------------------------------------------------


def finalizers(obj: Object) -> list[str]:
    return obj["metadata"].get("finalizers") or []


def has_finalizer(obj: Object, finalizer: str) -> bool:
    return finalizer in finalizers(obj)


def add_finalizer(obj: Object, finalizer: str) -> bool:
    """Whether it was missing."""
    if has_finalizer(obj, finalizer):
        return False
    obj["metadata"].setdefault("finalizers", []).append(finalizer)
    return True


def remove_finalizer(obj: Object, finalizer: str) -> bool:
    """Whether it was there."""
    if not has_finalizer(obj, finalizer):
        return False
    left = [f for f in finalizers(obj) if f != finalizer]
    if left:
        obj["metadata"]["finalizers"] = left
    else:
        del obj["metadata"]["finalizers"]
    return True


# --- conditions -------------------------------------------------------------------------------------------------


def get_condition(obj: Object, condition_type: str) -> dict[str, Any] | None:
    conditions: Iterable[dict[str, Any]] = (obj.get("status") or {}).get("conditions") or ()
    return next((c for c in conditions if c.get("type") == condition_type), None)


def condition_is_true(obj: Object, condition_type: str) -> bool:
    condition = get_condition(obj, condition_type)
    return condition is not None and condition.get("status") == "True"


def set_condition(status: dict[str, Any], condition: dict[str, Any], now: str | None = None) -> bool:
    """Adds or replaces a condition in ``status.conditions``; tells whether anything but a time changed.

    ``lastTransitionTime`` moves only when the condition's status does; that is what people read from it.
    """
    conditions: list[dict[str, Any]] = status.setdefault("conditions", [])
    i = next((i for i, c in enumerate(conditions) if c.get("type") == condition["type"]), None)
    if i is None:
        conditions.append(
            {**condition, "lastTransitionTime": condition.get("lastTransitionTime") or now or now_rfc3339()}
        )
        return True
    old, new = conditions[i], dict(condition)
    if old.get("status") == new.get("status"):
        if "lastTransitionTime" in old:
            new["lastTransitionTime"] = old["lastTransitionTime"]
    else:
        new["lastTransitionTime"] = condition.get("lastTransitionTime") or now or now_rfc3339()
    changed = any(old.get(k) != new.get(k) for k in ("status", "reason", "message", "observedGeneration"))
    conditions[i] = new
    return changed


def remove_condition(status: dict[str, Any], condition_type: str) -> bool:
    conditions = status.get("conditions") or []
    left = [c for c in conditions if c.get("type") != condition_type]
    if len(left) == len(conditions):
        return False
    status["conditions"] = left
    return True
