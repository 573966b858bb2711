"""Where a DaemonSet's pods belong, and how a pod is bound to its Node."""

import copy
from typing import Any

from apimachinery import meta
from controllers.nodehealth import tolerates
from controllers.nodematch import matches
from controllers.revisions import HASH_LABEL, POD_LABEL, template_of

Object = dict[str, Any]

_TOLERATED = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)


def tolerations(pod_spec: Object) -> list[Object]:
    """The template's, and those that let a daemon run on a Node in trouble."""
    found = list(pod_spec.get("tolerations") or ())
    extra = list(_TOLERATED)
    if pod_spec.get("hostNetwork"):
        extra.append(("node.kubernetes.io/network-unavailable", "NoSchedule"))
    for key, effect in extra:
        toleration = {"key": key, "operator": "Exists", "effect": effect}
        if toleration not in found:
            found.append(toleration)
    return found


def should_run(owner: Object, node: Object) -> tuple[bool, bool]:
    """``(a pod should be started there, one that runs there may stay)``."""
    spec = owner["spec"]["template"]["spec"]
    if spec.get("nodeName") and spec["nodeName"] != meta.name(node):
        return False, False
    if not matches(spec, node):
        return False, False
    mine = tolerations(spec)
    hated = [t for t in (node.get("spec") or {}).get("taints") or () if not any(tolerates(one, t) for one in mine)]
    if any(t["effect"] == "NoExecute" for t in hated):
        return False, False
    return not any(t["effect"] == "NoSchedule" for t in hated), True


def target_of(pod: Object) -> str:
    """The Node that a pod runs on, or that its affinity names while it waits for the scheduler."""
    if name := pod["spec"].get("nodeName"):
        return str(name)
    affinity = ((pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    ) or {}
    for term in affinity.get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            if field.get("key") == "metadata.name" and field.get("operator") == "In" and len(field["values"]) == 1:
                return str(field["values"][0])
    return ""


def make_pod(owner: Object, revision: Object, node: str) -> Object:
    """The scheduler binds it, to this Node and no other."""
    template = template_of(revision)
    source = template.get("metadata") or {}
    labels = {**(source.get("labels") or {}), POD_LABEL: meta.labels(revision)[HASH_LABEL]}
    metadata: Object = {
        "generateName": f"{meta.name(owner)}-",
        "namespace": meta.namespace(owner),
        "labels": labels,
        "ownerReferences": [meta.controller_reference(owner)],
    }
    for field in ("annotations", "finalizers"):
        if source.get(field):
            metadata[field] = source[field]
    spec = copy.deepcopy(template["spec"])
    spec["tolerations"] = tolerations(spec)
    only = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    node_affinity = spec.setdefault("affinity", {}).setdefault("nodeAffinity", {})
    node_affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": [only]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
