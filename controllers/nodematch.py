"""Whether a pod's nodeSelector and required node affinity choose a Node."""

from typing import Any

from apimachinery import meta
from apimachinery.selectors import SelectorError, from_expression

Object = dict[str, Any]


def matches(pod_spec: Object, node: Object) -> bool:
    labels = meta.labels(node)
    if any(labels.get(k) != v for k, v in (pod_spec.get("nodeSelector") or {}).items()):
        return False
    affinity = (pod_spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    return any(_term_matches(term, node) for term in required.get("nodeSelectorTerms") or ())


def _term_matches(term: Object, node: Object) -> bool:
    """All expressions of a term must hold; a term without any chooses nothing."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    try:
        return all(from_expression(e).matches(meta.labels(node)) for e in expressions) and all(
            from_expression(f).matches({"metadata.name": meta.name(node)}) for f in fields
        )
    except SelectorError:
        return False
