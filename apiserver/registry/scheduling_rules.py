"""Rules of what steers a pod to a node: affinity, tolerations, topology spreading."""

from dataclasses import replace
from typing import Any

from apimachinery import names
from apimachinery.errors import (
    FieldError,
    Literal,
    duplicate,
    forbidden_field,
    invalid_value,
    not_supported,
    quote,
    required,
)
from apimachinery.selectors import validate_label_selector

Object = dict[str, Any]

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_UNSATISFIABLE = ("DoNotSchedule", "ScheduleAnyway")


# --- affinity ---------------------------------------------------------------------------------------------------


def validate_affinity(affinity: Object, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if node := affinity.get("nodeAffinity"):
        found += _node_affinity(node, f"{path}.nodeAffinity")
    for kind in ("podAffinity", "podAntiAffinity"):
        if terms := affinity.get(kind):
            found += _pod_affinity(terms, f"{path}.{kind}")
    return found


def _node_affinity(affinity: Object, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if "requiredDuringSchedulingIgnoredDuringExecution" in affinity:
        selector = affinity["requiredDuringSchedulingIgnoredDuringExecution"]
        found += validate_node_selector(selector, f"{path}.requiredDuringSchedulingIgnoredDuringExecution")
    for i, term in enumerate(affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()):
        where = f"{path}.preferredDuringSchedulingIgnoredDuringExecution[{i}]"
        found += _weight(term, where)
        found += _node_term(term.get("preference") or {}, f"{where}.preference", strict=False)
    return found


def validate_node_selector(selector: Object, path: str) -> list[FieldError]:
    terms = selector.get("nodeSelectorTerms")
    if not terms:
        return [required(f"{path}.nodeSelectorTerms", "must have at least one node selector term")]
    return [e for i, t in enumerate(terms) for e in _node_term(t, f"{path}.nodeSelectorTerms[{i}]", strict=True)]


def _node_term(term: Object, path: str, *, strict: bool) -> list[FieldError]:
    """``strict``: values have to be some that a label can have. A preference may ask for the impossible."""
    found: list[FieldError] = []
    for i, expression in enumerate(term.get("matchExpressions") or ()):
        where = f"{path}.matchExpressions[{i}]"
        found += _node_expression(expression, where)
        for j, value in enumerate(expression.get("values") or ()) if strict else ():
            found += [invalid_value(f"{where}.values[{j}]", value, p) for p in names.label_value(value)]
    for i, expression in enumerate(term.get("matchFields") or ()):
        found += _node_field(expression, f"{path}.matchFields[{i}]")
    return found


def _node_expression(expression: Object, path: str) -> list[FieldError]:
    operator, values, key = expression.get("operator", ""), expression.get("values") or [], expression.get("key", "")
    found: list[FieldError] = []
    if operator in ("In", "NotIn"):
        if not values:
            found.append(required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            found.append(forbidden_field(f"{path}.values", detail))
    elif operator in ("Gt", "Lt"):
        if len(values) != 1:
            found.append(required(f"{path}.values", "must be specified single value when `operator` is 'Lt' or 'Gt'"))
    else:
        found.append(invalid_value(f"{path}.operator", operator, "not a valid selector operator"))
    found += [invalid_value(f"{path}.key", key, p) for p in names.qualified_name(key)]
    return found


def _node_field(expression: Object, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if expression.get("operator") in ("In", "NotIn"):
        if len(expression.get("values") or ()) != 1:
            detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
            found.append(required(f"{path}.values", detail))
    else:
        found.append(invalid_value(f"{path}.operator", expression.get("operator", ""), "not a valid selector operator"))
    if expression.get("key") != "metadata.name":
        found.append(invalid_value(f"{path}.key", expression.get("key", ""), "not a valid field selector key"))
        return found
    for i, value in enumerate(expression.get("values") or ()):
        found += [invalid_value(f"{path}.values[{i}]", value, p) for p in names.dns1123_subdomain(value)]
    return found


def _weight(term: Object, path: str) -> list[FieldError]:
    weight = term.get("weight", 0)
    return [] if 1 <= weight <= 100 else [invalid_value(f"{path}.weight", weight, "must be in the range 1-100")]


def _pod_affinity(affinity: Object, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for i, term in enumerate(affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or ()):
        found += _pod_term(term, f"{path}.requiredDuringSchedulingIgnoredDuringExecution[{i}]")
    for i, weighted in enumerate(affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()):
        where = f"{path}.preferredDuringSchedulingIgnoredDuringExecution[{i}]"
        found += _weight(weighted, where)
        found += _pod_term(weighted.get("podAffinityTerm") or {}, f"{where}.podAffinityTerm")
    return found


def _pod_term(term: Object, path: str) -> list[FieldError]:
    found = validate_label_selector(term.get("labelSelector"), f"{path}.labelSelector")
    found += validate_label_selector(term.get("namespaceSelector"), f"{path}.namespaceSelector")
    for namespace in term.get("namespaces") or ():
        found += [invalid_value(f"{path}.namespace", namespace, p) for p in names.dns1123_label(namespace)]
    found += _match_keys(term, path)
    key = term.get("topologyKey", "")
    if not key:
        found.append(required(f"{path}.topologyKey", "can not be empty"))
    return found + [invalid_value(f"{path}.topologyKey", key, p) for p in names.qualified_name(key)]


def _match_keys(term: Object, path: str) -> list[FieldError]:
    """Keys whose values the pod itself gives."""
    match, mismatch, selector = term.get("matchLabelKeys") or [], term.get("mismatchLabelKeys") or [], "labelSelector"
    found: list[FieldError] = []
    for field, keys in (("matchLabelKeys", match), ("mismatchLabelKeys", mismatch)):
        if keys and selector not in term:
            found.append(forbidden_field(f"{path}.{field}", "must not be specified when labelSelector is not set"))
            continue
        for i, key in enumerate(keys):
            found += [invalid_value(f"{path}.{field}[{i}]", key, p) for p in names.qualified_name(key)]
    seen = set((term.get(selector) or {}).get("matchLabels") or ())
    for expression in (term.get(selector) or {}).get("matchExpressions") or ():
        key = expression.get("key", "")
        if key in match and key in seen:
            detail = "exists in both matchLabelKeys and labelSelector"
            found.append(invalid_value(f"{path}[{match.index(key)}]", key, detail))
        seen.add(key)
    for i, key in enumerate(match):
        if key in mismatch:
            detail = "exists in both matchLabelKeys and mismatchLabelKeys"
            found.append(invalid_value(f"{path}.matchLabelKeys[{i}]", key, detail))
    return found


# --- tolerations and taints -------------------------------------------------------------------------------------


def validate_tolerations(tolerations: list[Object], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for i, toleration in enumerate(tolerations):
        where = f"{path}[{i}]"
        key, operator = toleration.get("key", ""), toleration.get("operator", "")
        if key:
            found += [invalid_value(f"{where}.key", key, p) for p in names.qualified_name(key)]
        elif operator != "Exists":
            detail = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            found.append(invalid_value(f"{where}.operator", operator, detail))
        if "tolerationSeconds" in toleration and toleration.get("effect") != "NoExecute":
            detail = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            found.append(invalid_value(f"{where}.effect", toleration.get("effect", ""), detail))
        value = toleration.get("value", "")
        if operator in ("", "Equal"):
            if problems := names.label_value(value):
                found.append(invalid_value(f"{where}.operator", value, ";".join(problems)))
        elif operator == "Exists":
            if value:
                detail = "value must be empty when `operator` is 'Exists'"
                found.append(invalid_value(f"{where}.operator", _go_toleration(toleration), detail))
        else:
            found.append(not_supported(f"{where}.operator", operator, ("Equal", "Exists")))
        if toleration.get("effect") and toleration["effect"] not in EFFECTS:
            found.append(not_supported(f"{where}.effect", toleration["effect"], EFFECTS))
    return found


def _go_toleration(toleration: Object) -> Literal:
    shown = [f"{f.capitalize()}:{quote(toleration.get(f, ''))}" for f in ("key", "operator", "value", "effect")]
    return Literal(f"core.Toleration{{{', '.join(shown)}, TolerationSeconds:(*int64)(nil)}}")


def validate_taints(taints: list[Object], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[tuple[str, str]] = set()
    for i, taint in enumerate(taints):
        where = f"{path}[{i}]"
        key, value, effect = taint.get("key", ""), taint.get("value", ""), taint.get("effect", "")
        found += [invalid_value(f"{where}.key", key, p) for p in names.qualified_name(key)]
        if problems := names.label_value(value):
            found.append(invalid_value(f"{where}.value", value, ";".join(problems)))
        if not effect:
            found.append(required(f"{where}.effect"))
        elif effect not in EFFECTS:
            found.append(not_supported(f"{where}.effect", effect, EFFECTS))
        if (key, effect) in seen:
            shown = f"Key:{quote(key)}, Value:{quote(value)}, Effect:{quote(effect)}, TimeAdded:(*v1.Time)(nil)"
            error = duplicate(where, Literal(f"core.Taint{{{shown}}}"))
            found.append(replace(error, detail="taints must be unique by key and effect pair"))
        seen.add((key, effect))
    return found


# --- spreading --------------------------------------------------------------------------------------------------


def validate_spreading(constraints: list[Object], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    pairs = [(c.get("topologyKey", ""), c.get("whenUnsatisfiable", "")) for c in constraints]
    for i, constraint in enumerate(constraints):
        where = f"{path}[{i}]"
        if constraint.get("maxSkew", 0) <= 0:
            found.append(invalid_value(f"{where}.maxSkew", constraint.get("maxSkew", 0), "must be greater than zero"))
        if not constraint.get("topologyKey"):
            found.append(required(f"{where}.topologyKey", "can not be empty"))
        action = constraint.get("whenUnsatisfiable", "")
        if action not in _UNSATISFIABLE:
            found.append(not_supported(f"{where}.whenUnsatisfiable", action, _UNSATISFIABLE))
        if pairs[i] in pairs[i + 1 :]:
            found.append(duplicate(f"{where}.{{topologyKey, whenUnsatisfiable}}", f"{{{', '.join(pairs[i])}}}"))
        found += _min_domains(constraint, where)
        for field in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            policy = constraint.get(field)
            if policy is not None and policy not in ("Honor", "Ignore"):
                found.append(not_supported(f"{where}.{field}", policy, ("Honor", "Ignore")))
        found += _spread_keys(constraint, f"{where}.matchLabelKeys")
        found += validate_label_selector(constraint.get("labelSelector"), f"{where}.labelSelector")
    return found


def _spread_keys(constraint: Object, path: str) -> list[FieldError]:
    keys, selector = constraint.get("matchLabelKeys") or [], constraint.get("labelSelector")
    if not keys:
        return []
    found: list[FieldError] = []
    if selector is None:
        found.append(forbidden_field(path, "must not be specified when labelSelector is not set"))
    known = {*((selector or {}).get("matchLabels") or ())}
    known |= {e.get("key") for e in (selector or {}).get("matchExpressions") or ()}
    for i, key in enumerate(keys):
        found += [invalid_value(f"{path}[{i}]", key, p) for p in names.qualified_name(key)]
        if key in known:
            found.append(invalid_value(f"{path}[{i}]", key, "exists in both matchLabelKeys and labelSelector"))
    return found


def _min_domains(constraint: Object, path: str) -> list[FieldError]:
    domains, action = constraint.get("minDomains"), constraint.get("whenUnsatisfiable", "")
    if domains is None:
        return []
    found = [] if domains > 0 else [invalid_value(f"{path}.minDomains", domains, "must be greater than zero")]
    if action != "DoNotSchedule":
        detail = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
        found.append(invalid_value(f"{path}.minDomains", domains, detail))
    return found
