from collections import Counter

from controllers.namespace import Remains, conditions
from tests.controllers.objects import stamp


def test_what_is_left_in_a_namespace_is_told_in_upstreams_words() -> None:
    remains = Remains(resources=Counter({"pods": 2, "secrets": 1}), finalizers=Counter({"example.com/x": 3}))
    found = {c["type"]: c for c in conditions({}, remains, stamp())["conditions"]}
    content = found["NamespaceContentRemaining"]
    assert (content["status"], content["reason"]) == ("True", "SomeResourcesRemain")
    assert content["message"] == (
        "Some resources are remaining: pods has 2 resource instances, secrets has 1 resource instances"
    )
    assert found["NamespaceFinalizersRemaining"]["message"] == (
        "Some content in the namespace has finalizers remaining: example.com/x in 3 resource instances"
    )
    assert found["NamespaceDeletionDiscoveryFailure"]["status"] == "False"
    assert not remains.empty


def test_conditions_turn_false_when_all_is_gone() -> None:
    before = conditions({}, Remains(resources=Counter({"pods": 1})), stamp(10))
    after = conditions(before, Remains(), stamp())
    content = next(c for c in after["conditions"] if c["type"] == "NamespaceContentRemaining")
    assert (content["status"], content["reason"], content["lastTransitionTime"]) == ("False", "ContentRemoved", stamp())
    assert Remains().empty


def test_a_failure_keeps_the_namespace_and_is_named() -> None:
    remains = Remains(errors=["widgets.example.com: no"])
    found = {c["type"]: c for c in conditions({}, remains, stamp())["conditions"]}
    assert "widgets.example.com: no" in found["NamespaceDeletionContentFailure"]["message"]
    assert not remains.empty
