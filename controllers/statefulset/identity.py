"""Who the pods of a StatefulSet are: names, labels, host names, and the claims that belong to each."""

import re
from typing import Any

from apimachinery import meta
from controllers.revisions import POD_LABEL

Object = dict[str, Any]

NAME_LABEL = "statefulset.kubernetes.io/pod-name"
INDEX_LABEL = "apps.kubernetes.io/pod-index"
_ORDINAL = re.compile(r"(.*)-(\d+)", re.ASCII | re.DOTALL)


def start_of(owner: Object) -> int:
    return (owner["spec"].get("ordinals") or {}).get("start") or 0


def ordinal_of(owner: Object, pod: Object) -> int | None:
    """None for a pod that is not named as one of the set's."""
    match = _ORDINAL.fullmatch(meta.name(pod))
    return int(match[2]) if match and match[1] == meta.name(owner) else None


def pod_name(owner: Object, ordinal: int) -> str:
    return f"{meta.name(owner)}-{ordinal}"


def claim_name(owner: Object, claim: Object, ordinal: int) -> str:
    return f"{claim['metadata']['name']}-{meta.name(owner)}-{ordinal}"


def make_pod(owner: Object, template: Object, revision: str, ordinal: int) -> Object:
    """``template`` is that of ``revision``; volumes of claim templates replace those of the same name."""
    source = template.get("metadata") or {}
    name = pod_name(owner, ordinal)
    labels = {**(source.get("labels") or {}), NAME_LABEL: name, INDEX_LABEL: str(ordinal), POD_LABEL: revision}
    metadata: Object = {
        "name": name,
        "namespace": meta.namespace(owner),
        "labels": labels,
        "ownerReferences": [meta.controller_reference(owner)],
    }
    for field in ("annotations", "finalizers"):
        if source.get(field):
            metadata[field] = source[field]
    spec = {**template["spec"], "hostname": name}
    if owner["spec"].get("serviceName"):
        spec["subdomain"] = owner["spec"]["serviceName"]
    claims = {
        c["metadata"]["name"]: claim_name(owner, c, ordinal) for c in owner["spec"].get("volumeClaimTemplates") or ()
    }
    if claims:
        others = [v for v in spec.get("volumes") or () if v["name"] not in claims]
        mine = [{"name": n, "persistentVolumeClaim": {"claimName": claim}} for n, claim in claims.items()]
        spec["volumes"] = mine + others
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def make_claims(owner: Object, ordinal: int) -> list[Object]:
    """Labelled by the set's selector; owned by the set only where its retention policy says that they go with it."""
    found = []
    for claim in owner["spec"].get("volumeClaimTemplates") or ():
        labels = {
            **(claim["metadata"].get("labels") or {}),
            **(owner["spec"]["selector"].get("matchLabels") or {}),
        }
        metadata: Object = {
            "name": claim_name(owner, claim, ordinal),
            "namespace": meta.namespace(owner),
            "labels": labels,
        }
        if claim["metadata"].get("annotations"):
            metadata["annotations"] = claim["metadata"]["annotations"]
        policy = owner["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
        if policy.get("whenDeleted") == "Delete":
            reference = meta.controller_reference(owner)
            metadata["ownerReferences"] = [{k: reference[k] for k in ("apiVersion", "kind", "name", "uid")}]
        found.append({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": claim["spec"]})
    return found
