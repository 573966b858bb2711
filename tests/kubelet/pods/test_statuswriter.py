from kubelet.pods.statuswriter import status_patch


def test_equal_statuses_need_no_patch() -> None:
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    assert status_patch(status, dict(status)) == {}


def test_only_the_conditions_that_changed_are_sent() -> None:
    old = {"conditions": [{"type": "Ready", "status": "False", "reason": "X"}, {"type": "Other", "status": "True"}]}
    new = {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "True"}]}
    assert status_patch(old, new) == {"conditions": [{"reason": None, "type": "Ready", "status": "True"}]}


def test_what_went_away_is_deleted() -> None:
    old = {"podIPs": [{"ip": "1"}, {"ip": "2"}], "reason": "x"}
    new = {"podIPs": [{"ip": "1"}]}
    assert status_patch(old, new) == {"podIPs": [{"$patch": "delete", "ip": "2"}], "reason": None}


def test_container_statuses_are_sent_whole() -> None:
    old = {"containerStatuses": [{"name": "a", "ready": False}, {"name": "b", "ready": True}]}
    new = {"containerStatuses": [{"name": "a", "ready": True}, {"name": "b", "ready": True}]}
    assert status_patch(old, new) == new
