"""What an aggregated ClusterRole gathers."""

from typing import Any

from controllers.clusterroleaggregation import aggregated

Object = dict[str, Any]


def role(name: str, verbs: str, **labels: str) -> Object:
    rules = [{"verbs": [verb], "apiGroups": [""], "resources": ["pods"]} for verb in verbs.split()]
    return {"metadata": {"name": name, "labels": labels}, "rules": rules}


def gathering(*selectors: Object, name: str = "all") -> Object:
    return {**role(name, "stale", to="all"), "aggregationRule": {"clusterRoleSelectors": list(selectors)}}


def verbs(rules: list[Object]) -> list[str]:
    return [rule["verbs"][0] for rule in rules]


TO_ALL: Object = {"matchLabels": {"to": "all"}}


def test_rules_come_by_name_and_once() -> None:
    roles = [role("b", "list get", to="all"), role("a", "get watch", to="all"), role("c", "delete")]
    assert verbs(aggregated(gathering(TO_ALL), roles)) == ["get", "watch", "list"]


def test_a_role_does_not_gather_itself() -> None:
    whole = gathering(TO_ALL)
    assert verbs(aggregated(whole, [whole, role("a", "get", to="all")])) == ["get"]


def test_selectors_count_in_their_order_and_expressions_are_understood() -> None:
    expression = {"matchExpressions": [{"key": "tier", "operator": "In", "values": ["x"]}]}
    roles = [role("a", "get", to="all"), role("b", "list", tier="x"), role("c", "watch", tier="y")]
    assert verbs(aggregated(gathering(expression, TO_ALL), roles)) == ["list", "get"]


def test_nothing_matches_nothing_is_gathered() -> None:
    assert aggregated(gathering(TO_ALL), [role("a", "get")]) == []
