from controllers import replicaset
from controllers.expectations import TIMEOUT, Expectations
from controllers.podindex import Pod
from tests.controllers.objects import NOW, pod, replica_set


def test_the_surplus_is_what_is_there_less_what_is_wanted_up_to_a_burst() -> None:
    assert replicaset.surplus(replica_set(replicas=3), 5) == 2
    assert replicaset.surplus(replica_set(replicas=3), 0) == -3
    assert replicaset.surplus(replica_set(replicas=2000), 0) == -replicaset.BURST


def test_a_status_counts_labelled_ready_and_available_pods() -> None:
    owner = replica_set(minReadySeconds=30)
    found = [
        Pod(pod("a", ready_for=60)),
        Pod(pod("b", ready_for=10)),
        Pod(pod("c", ready=False)),
        Pod(pod("d", labels={"app": "web-of-old"}, ready=False)),
    ]
    assert replicaset.status(owner, found, None, NOW) == {
        "replicas": 4,
        "fullyLabeledReplicas": 3,
        "readyReplicas": 2,
        "availableReplicas": 1,
        "observedGeneration": 1,
    }
    assert replicaset.next_available(owner, found, NOW) == 20


def test_a_failure_becomes_a_condition_and_goes_with_its_cause() -> None:
    owner = replica_set()
    failed = replicaset.status(owner, [], ("FailedCreate", "quota"), NOW)
    (condition,) = failed["conditions"]
    assert (condition["type"], condition["reason"], condition["message"]) == ("ReplicaFailure", "FailedCreate", "quota")
    owner["status"] = failed
    assert replicaset.status(owner, [], ("FailedCreate", "again"), NOW + 5) == failed
    assert "conditions" not in replicaset.status(owner, [], None, NOW)


def test_expectations_hold_until_all_has_been_seen() -> None:
    expected = Expectations()
    assert expected.satisfied("shop/web")
    expected.expect_creations("shop/web", 2)
    expected.creation_observed("shop/web")
    assert not expected.satisfied("shop/web")
    expected.creation_observed("shop/web")
    assert expected.satisfied("shop/web")
    expected.expect_deletions("shop/web", ["1", "2"])
    expected.deletion_observed("shop/web", "1")
    expected.deletion_observed("shop/web", "1")
    assert not expected.satisfied("shop/web"), "one deletion seen twice is still one"
    expected.deletion_observed("shop/web", "2")
    assert expected.satisfied("shop/web")


def test_an_expectation_that_never_comes_true_expires() -> None:
    now = 0.0
    expected = Expectations(lambda: now)
    expected.expect_creations("shop/web", 1)
    now = TIMEOUT + 1
    assert expected.satisfied("shop/web")
