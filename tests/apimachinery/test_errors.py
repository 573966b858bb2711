"""Status errors carry upstream's code, reason and text."""

from apimachinery import errors
from apimachinery.errors import Literal, StatusError, invalid_value, not_supported, quote, required, too_long
from apimachinery.resources import by_kind

DEPLOYMENT = by_kind("apps/v1", "Deployment")
POD = by_kind("v1", "Pod")
assert DEPLOYMENT is not None
assert POD is not None


def test_not_found_names_resource_and_group() -> None:
    status = errors.not_found(DEPLOYMENT, "web").status()
    assert status == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'deployments.apps "web" not found',
        "reason": "NotFound",
        "details": {"name": "web", "group": "apps", "kind": "deployments"},
        "code": 404,
    }


def test_invalid_has_a_cause_for_each_field_and_one_message() -> None:
    found = [required("spec.containers"), invalid_value("spec.replicas", -1, "must be greater than or equal to 0")]
    status = errors.invalid(POD, "p", found).status()
    assert status["code"] == 422
    assert status["message"] == (
        'Pod "p" is invalid: [spec.containers: Required value, '
        "spec.replicas: Invalid value: -1: must be greater than or equal to 0]"
    )
    assert status["details"]["causes"] == [
        {"reason": "FieldValueRequired", "message": "Required value", "field": "spec.containers"},
        {
            "reason": "FieldValueInvalid",
            "message": "Invalid value: -1: must be greater than or equal to 0",
            "field": "spec.replicas",
        },
    ]


def test_one_error_stands_without_brackets_and_repetitions_are_said_once() -> None:
    error = required("spec.name")
    assert errors.invalid(POD, "p", [error, error]).message == 'Pod "p" is invalid: spec.name: Required value'


def test_values_print_as_go_prints_them() -> None:
    assert str(invalid_value("f", 'a"b', "no")) == 'f: Invalid value: "a\\"b": no'
    assert (
        str(invalid_value("f", {"b": "2", "a": "1"}, "no"))
        == 'f: Invalid value: map[string]string{"a":"1", "b":"2"}: no'
    )
    assert str(invalid_value("f", ["x"], "no")) == 'f: Invalid value: []string{"x"}: no'
    assert str(invalid_value("f", True, "no")) == "f: Invalid value: true: no"
    assert str(invalid_value("f", None, "no")) == "f: Invalid value: null: no"
    assert str(invalid_value("f", Literal("core.X{}"), "no")) == "f: Invalid value: core.X{}: no"
    assert str(not_supported("f", "x", ["a", "b"])) == 'f: Unsupported value: "x": supported values: "a", "b"'
    assert str(too_long("data", 1048576)) == "data: Too long: may not be more than 1048576 bytes"


def test_quote_escapes_like_go() -> None:
    assert quote("tab\there\x00é") == '"tab\\there\\x00é"'


def test_a_status_survives_the_wire() -> None:
    sent = errors.conflict(DEPLOYMENT, "web")
    received = StatusError.from_status(sent.status())
    assert (received.code, received.reason, received.message) == (409, "Conflict", sent.message)
    assert received.details == sent.details
    assert "the object has been modified" in str(received)


def test_retry_after_is_read_from_the_details() -> None:
    assert errors.too_many_requests("slow down", 3).retry_after_seconds == 3
    assert StatusError.from_status({}, 503).code == 503
