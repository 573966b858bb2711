"""Pod templates: when are two the same, and what is a ReplicaSet for one called."""

from typing import Any

import orjson

from apimachinery import meta

Object = dict[str, Any]

HASH_LABEL = "pod-template-hash"

# Upstream's alphabet: without vowels and look-alikes no hash spells a word.
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def safe_encode(text: str) -> str:
    return "".join(_ALPHABET[ord(c) % len(_ALPHABET)] for c in text)


def _fnv32a(data: bytes) -> int:
    value = 0x811C9DC5
    for byte in data:
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def compute_hash(template: Object, collisions: int | None) -> str:
    """The same for equal templates; ``collisions`` leads past a name that something else has taken."""
    value = _fnv32a(orjson.dumps(template, option=orjson.OPT_SORT_KEYS))
    if collisions is not None:
        value = _fnv32a(value.to_bytes(4, "little") + collisions.to_bytes(8, "little"))
    return safe_encode(str(value))


def _significant(value: Any) -> Any:
    """Without what is written in one object and left out in another, though both mean nothing: null, {} and []."""
    if isinstance(value, dict):
        return {k: s for k, v in value.items() if (s := _significant(v)) not in (None, {}, [])}
    if isinstance(value, list):
        return [_significant(v) for v in value]
    return value


def _without_hash(template: Object) -> Object:
    metadata = dict(template.get("metadata") or {})
    labels = {k: v for k, v in (metadata.get("labels") or {}).items() if k != HASH_LABEL}
    return {**template, "metadata": {**metadata, "labels": labels}}


def equal(a: Object, b: Object) -> bool:
    """Whether they make the same pods; the hash label that tells their pods apart does not count."""
    a, b = _without_hash(a), _without_hash(b)
    return a == b or _significant(a) == _significant(b)


def replica_set(deployment: Object) -> Object:
    """The ReplicaSet for the Deployment's present template, without replicas as yet."""
    spec = deployment["spec"]
    template = spec["template"]
    suffix = compute_hash(template, (deployment.get("status") or {}).get("collisionCount"))
    labels = {**((template.get("metadata") or {}).get("labels") or {}), HASH_LABEL: suffix}
    selector = dict(spec["selector"])
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH_LABEL: suffix}
    body: Object = {
        "replicas": 0,
        "selector": selector,
        "template": {**template, "metadata": {**(template.get("metadata") or {}), "labels": labels}},
    }
    if spec.get("minReadySeconds"):
        body["minReadySeconds"] = spec["minReadySeconds"]
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{meta.name(deployment)}-{suffix}",
            "namespace": meta.namespace(deployment),
            "labels": labels,
            "annotations": {},
            "ownerReferences": [meta.controller_reference(deployment)],
        },
        "spec": body,
    }
