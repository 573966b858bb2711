"""Decoding: what upstream's decoder and encoder make of an object, and what it says to one it cannot take."""

import copy
from random import Random
from typing import Any

import pytest

from apimachinery.errors import StatusError
from apimachinery.quantity import FORMAT_WRONG
from apimachinery.resources import RESOURCES, Resource, by_kind
from apimachinery.schema import decode, decode_object, read_object, schema_for, strict_error
from apimachinery.schema.decoding import DecodeError
from tests.apimachinery.objects import random_object


def row(api_version: str, kind: str) -> Resource:
    found = by_kind(api_version, kind)
    assert found is not None
    return found


DEPLOYMENT, POD, EVENT, SLICE = (
    row("apps/v1", "Deployment"),
    row("v1", "Pod"),
    row("v1", "Event"),
    row("discovery.k8s.io/v1", "EndpointSlice"),
)


def deployment() -> dict[str, Any]:
    container = {"name": "c", "image": "i", "ports": [{"containerPort": 80}], "resources": {"requests": {"cpu": 0.5}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {"replicas": 3, "template": {"spec": {"containers": [container]}}},
    }


def set_at(obj: Any, path: str, value: Any) -> Any:
    changed = copy.deepcopy(obj)
    at = changed
    *parents, last = [int(p) if p.isdigit() else p for p in path.split("/")]
    for p in parents:
        at = at[p]
    at[last] = value
    return changed


C = "spec/template/spec/containers/0"
T = "spec.template.spec.containers"


def mismatch(given: str, where: str, go: str) -> str:
    return f"json: cannot unmarshal {given} into Go struct field {where} of type {go}"


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        ("spec/replicas", "three", mismatch("string", "DeploymentSpec.spec.replicas", "int32")),
        ("spec/replicas", 1.5, mismatch("number 1.5", "DeploymentSpec.spec.replicas", "int32")),
        ("spec/replicas", 3000000000, mismatch("number 3000000000", "DeploymentSpec.spec.replicas", "int32")),
        ("spec/replicas", True, mismatch("bool", "DeploymentSpec.spec.replicas", "int32")),
        ("spec", [], mismatch("array", "Deployment.spec", "v1.DeploymentSpec")),
        (f"{C}/ports/0/containerPort", "80", mismatch("string", f"ContainerPort.{T}.ports.containerPort", "int32")),
        (f"{C}/ports", {}, mismatch("object", f"Container.{T}.ports", "[]v1.ContainerPort")),
        (f"{C}/ports", ["80"], mismatch("string", f"Container.{T}.ports", "v1.ContainerPort")),
        (f"{C}/imagePullPolicy", 1, mismatch("number", f"Container.{T}.imagePullPolicy", "v1.PullPolicy")),
        (f"{C}/command", "sh", mismatch("string", f"Container.{T}.command", "[]string")),
        (f"{C}/stdin", "yes", mismatch("string", f"Container.{T}.stdin", "bool")),
        (f"{C}/resources/requests/cpu", "lots", FORMAT_WRONG),
        ("metadata/labels/app", 1, mismatch("number", "ObjectMeta.metadata.labels", "string")),
        ("metadata/labels", [], mismatch("array", "ObjectMeta.metadata.labels", "map[string]string")),
        ("metadata/creationTimestamp", "now", 'parsing time "now" as "2006-01-02T15:04:05Z07:00": cannot parse "now" as "2006"'),
        ("metadata/creationTimestamp", "2024-13-01T00:00:00Z", 'parsing time "2024-13-01T00:00:00Z": month out of range'),
    ],
)  # fmt: skip
def test_wrong_types_are_told_in_upstreams_words(path: str, value: Any, why: str) -> None:
    with pytest.raises(StatusError) as error:
        decode_object(set_at(deployment(), path, value), DEPLOYMENT)
    assert error.value.code == 400
    assert error.value.message == f'Deployment in version "v1" cannot be handled as a Deployment: {why}'


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        ("spec/replicas", "three", "unrecognized type: int32"),
        (f"{C}/image", {}, "unrecognized type: string"),
        (f"{C}/imagePullPolicy", {}, "unrecognized type: string"),
        (f"{C}/ports", "x", "cannot restore slice from string"),
        ("metadata/labels", "x", "cannot restore map from string"),
        ("spec", "x", "cannot restore struct from: string"),
    ],
)
def test_wrong_types_in_a_patched_object_have_other_words(path: str, value: Any, why: str) -> None:
    with pytest.raises(DecodeError) as error:
        decode(schema_for(DEPLOYMENT), set_at(deployment(), path, value))
    assert error.value.converting == why


def test_unknown_fields_are_dropped_and_named_in_order() -> None:
    obj = set_at(set_at(deployment(), "spec/replica", 3), f"{C}/imagee", "x")
    obj["metadata"]["nickname"] = "y"
    decoded = decode_object(obj, DEPLOYMENT)
    assert decoded.strict == [
        'unknown field "metadata.nickname"',
        'unknown field "spec.template.spec.containers[0].imagee"',
        'unknown field "spec.replica"',
    ]
    assert "replica" not in decoded.obj["spec"]
    text = strict_error(decoded, "Deployment", "v1").message
    assert text.startswith(
        'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: unknown field'
    )


def test_a_known_object_has_no_strict_errors_and_keeps_its_fields() -> None:
    decoded = decode_object(deployment(), DEPLOYMENT)
    assert decoded.strict == []
    container = decoded.obj["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"] == {"requests": {"cpu": "500m"}}


def test_what_go_always_writes_is_always_there() -> None:
    obj = decode_object(deployment(), DEPLOYMENT).obj
    assert obj["status"] == {}
    assert obj["spec"]["strategy"] == {}
    assert obj["spec"]["template"]["metadata"] == {"creationTimestamp": None}
    pod = decode_object({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}}, POD).obj
    assert pod["spec"]["containers"] == [{"name": "c", "resources": {}}]
    event = decode_object({"metadata": {}, "involvedObject": {}}, EVENT).obj
    assert event["eventTime"] is None
    assert (event["firstTimestamp"], event["reportingComponent"]) == (None, "")
    sliced = decode_object({"addressType": "IPv4"}, SLICE).obj
    assert (sliced["endpoints"], sliced["ports"]) == ([], [])


def test_what_go_omits_is_omitted_but_pointers_stay() -> None:
    obj = set_at(set_at(set_at(deployment(), "spec/paused", False), f"{C}/args", []), f"{C}/workingDir", "")
    spec = decode_object(set_at(set_at(obj, "spec/replicas", 0), "metadata/labels", {}), DEPLOYMENT).obj
    assert "paused" not in spec["spec"]
    assert spec["spec"]["replicas"] == 0
    assert "labels" not in spec["metadata"]
    assert spec["spec"]["template"]["spec"]["containers"][0].keys() == {"name", "image", "ports", "resources"}


def test_nulls_vanish() -> None:
    obj = set_at(set_at(deployment(), "spec/selector", None), f"{C}/env", None)
    decoded = decode_object(obj, DEPLOYMENT)
    assert "selector" not in decoded.obj["spec"]
    assert decoded.strict == []


def test_times_and_quantities_get_their_canonical_form() -> None:
    obj = set_at(
        set_at(deployment(), "metadata/creationTimestamp", "2024-01-01T01:00:00.5+01:00"),
        f"{C}/resources/requests/memory",
        "1024Mi",
    )
    decoded = decode_object(obj, DEPLOYMENT).obj
    assert decoded["metadata"]["creationTimestamp"] == "2024-01-01T00:00:00Z"
    assert decoded["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["memory"] == "1Gi"
    lease = {"spec": {"renewTime": "2024-01-01T00:00:00.5Z"}}
    assert (
        decode_object(lease, row("coordination.k8s.io/v1", "Lease")).obj["spec"]["renewTime"]
        == "2024-01-01T00:00:00.500000Z"
    )


def test_ports_may_be_numbers_or_names() -> None:
    probe = {"httpGet": {"port": "http"}}
    container = decode_object(set_at(deployment(), f"{C}/readinessProbe", probe), DEPLOYMENT).obj["spec"]["template"][
        "spec"
    ]["containers"][0]
    assert container["readinessProbe"]["httpGet"]["port"] == "http"
    with pytest.raises(StatusError, match="cannot unmarshal bool into Go struct field HTTPGetAction"):
        decode_object(set_at(deployment(), f"{C}/readinessProbe", {"httpGet": {"port": True}}), DEPLOYMENT)


def test_secret_data_has_to_be_base64() -> None:
    secret = row("v1", "Secret")
    assert decode_object({"data": {"a": "YW\nJj"}}, secret).obj["data"] == {"a": "YWJj"}
    with pytest.raises(StatusError, match="illegal base64 data at input byte 2"):
        decode_object({"data": {"a": "ab!d"}}, secret)


def test_kind_and_version_may_be_left_out_but_not_be_others() -> None:
    obj = deployment()
    del obj["kind"], obj["apiVersion"]
    decoded = decode_object(obj, DEPLOYMENT).obj
    assert (decoded["apiVersion"], decoded["kind"]) == ("apps/v1", "Deployment")
    with pytest.raises(StatusError) as error:
        decode_object({**deployment(), "apiVersion": "v1", "kind": "Pod"}, DEPLOYMENT)
    assert error.value.message == "the API version in the data (v1) does not match the expected API version (apps/v1)"
    with pytest.raises(StatusError, match='no kind "Deploymint" is registered for version "apps/v1"'):
        decode_object({**deployment(), "kind": "Deploymint"}, DEPLOYMENT)
    with pytest.raises(StatusError, match="unknown conversion"):
        decode_object({**deployment(), "kind": "ReplicaSet"}, DEPLOYMENT)


def test_a_subresource_may_take_another_kind() -> None:
    scale = decode_object({"spec": {"replicas": 2}}, DEPLOYMENT, kind=("autoscaling", "v1", "Scale")).obj
    assert (scale["kind"], scale["apiVersion"], scale["spec"]) == ("Scale", "autoscaling/v1", {"replicas": 2})


def test_every_served_kind_has_a_schema() -> None:
    assert [r.kind for r in RESOURCES if schema_for(r).kind != "object"] == []


def test_nesting_without_end_is_an_error_and_no_crash() -> None:
    deep: Any = {}
    for _ in range(100_000):
        deep = {"nested": deep}
    schema = schema_for(DEPLOYMENT)
    assert decode(schema, {"spec": {"template": deep}})[1] == ["spec.template.nested"]


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda r: f"{r.api_version}/{r.kind}")
def test_decoding_is_idempotent(resource: Resource) -> None:
    schema = schema_for(resource)
    for seed in range(30):
        once, unknown = decode(schema, random_object(schema, Random(seed)))
        assert unknown == []
        assert decode(schema, once) == (once, [])


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "unexpected end of JSON input (<empty>)"),
        (b'{"a":', "unexpected end of JSON input (7b2261223a)"),
        (b"kind: [", "invalid character 'k' looking for beginning of value (6b696e643a205b)"),
        (b"[]", "cannot unmarshal array into Go value"),
        (b"\xff\xfe", "json parse error"),
    ],
)
def test_what_is_no_json_object_is_a_bad_request(body: bytes, why: str) -> None:
    with pytest.raises(StatusError) as error:
        read_object(body, DEPLOYMENT)
    assert error.value.code == 400
    assert error.value.message.startswith(
        "the object provided is unrecognized (must be of type Deployment): couldn't get version/kind; "
    )
    assert why in error.value.message


@pytest.mark.parametrize("value", [1, ["a"], {"a": 1}, True])
def test_a_kind_that_is_no_string_is_a_bad_request(value: Any) -> None:
    with pytest.raises(StatusError) as error:
        decode_object({"kind": value}, DEPLOYMENT)
    assert error.value.code == 400
