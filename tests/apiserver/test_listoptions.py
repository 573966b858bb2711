"""What the query of a list or a watch may say, as upstream's ``ValidateListOptions`` and ``DecodeContinue`` have it."""

import base64
import json
from typing import Any

import pytest

from apimachinery.errors import StatusError
from apimachinery.resources import RESOURCES
from apiserver.handlers.listoptions import Continue, check_list_options, parse_resource_version
from apiserver.registry import STRATEGIES

NEEDS_MATCH = "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
ONLY_NOT_OLDER = 'resourceVersionMatch: Unsupported value: {}: supported values: "NotOlderThan"'
WITH_CONTINUE = "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided"
WITHOUT_VERSION = (
    "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
)
EXACT_ZERO = 'resourceVersionMatch: Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
FOR_WATCH = (
    "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
)
FOR_LIST = "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list"


def query(version: str = "", match: str = "", token: str = "", initial: str | None = None) -> dict[str, str]:
    given = {"resourceVersion": version, "resourceVersionMatch": match, "continue": token, "sendInitialEvents": initial}
    return {name: value for name, value in given.items() if value}


def complaints(asked: dict[str, str], *, watch: bool) -> list[str]:
    refused: StatusError | None = None
    try:
        check_list_options(asked, watch=watch)
    except StatusError as error:
        refused = error
    if refused is None:
        return []
    found = [f"{cause['field']}: {cause['message']}" for cause in refused.causes]
    listed = found[0] if len(found) == 1 else f"[{', '.join(found)}]"
    assert (refused.code, refused.reason) == (422, "Invalid")
    assert refused.message == f'ListOptions.meta.k8s.io "" is invalid: {listed}'
    return found


@pytest.mark.parametrize("version", ["", "0", "7"])
@pytest.mark.parametrize("match", ["", "Exact", "NotOlderThan", "exact"])
@pytest.mark.parametrize("token", ["", "t"])
@pytest.mark.parametrize("initial", [None, "true", "false"])
def test_every_combination_for_a_list_is_judged_as_upstream_does(
    version: str, match: str, token: str, initial: str | None
) -> None:
    wanted = []
    if match:
        wanted += [WITHOUT_VERSION] if not version else []
        wanted += [WITH_CONTINUE] if token else []
        if match == "exact":
            supported = '"Exact", "NotOlderThan", ""'
            wanted.append(f'resourceVersionMatch: Unsupported value: "exact": supported values: {supported}')
        wanted += [EXACT_ZERO] if (match, version) == ("Exact", "0") else []
    wanted += [FOR_LIST] if initial else []
    assert complaints(query(version, match, token, initial), watch=False) == wanted


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        (query(), []),
        (query("7"), []),
        (query("7", token="t"), []),
        (query(match="NotOlderThan", initial="true"), []),
        (query("0", match="NotOlderThan", initial="false"), []),
        (query(match="NotOlderThan"), [FOR_WATCH]),
        (query(match="Exact"), [FOR_WATCH, ONLY_NOT_OLDER.format('"Exact"')]),
        (query(initial="true"), [NEEDS_MATCH]),
        (query(initial="false"), [NEEDS_MATCH]),
        (query("7", match="Exact", initial="true"), [NEEDS_MATCH, ONLY_NOT_OLDER.format('"Exact"')]),
        (query(match="NotOlderThan", token="t", initial="true"), [WITH_CONTINUE]),
        (query(match="NotOlderThan", token="t"), [FOR_WATCH, WITH_CONTINUE]),
    ],
)
def test_combinations_for_a_watch_are_judged_as_upstream_does(asked: dict[str, str], wanted: list[str]) -> None:
    assert complaints(asked, watch=True) == wanted


def encoded(token: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(token).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("no!", ": illegal base64 data at input byte 2"),
        ("aGVsbG8", ": invalid character 'h' looking for beginning of value"),
        (encoded({}), ": server does not recognize this encoded version "),
        (encoded({"v": "v2", "rv": 1, "start": "a"}), ": server does not recognize this encoded version v2"),
        (
            encoded({"v": "meta.k8s.io/v1", "start": "a"}),
            ": incorrect encoded start resourceVersion (version meta.k8s.io/v1)",
        ),
        (encoded({"v": "meta.k8s.io/v1", "rv": 1}), ": encoded start key empty (version meta.k8s.io/v1)"),
        (encoded({"v": "meta.k8s.io/v1", "rv": 1, "start": "../secrets/a"}), ": ../secrets/a"),
        (encoded({"v": "meta.k8s.io/v1", "rv": 1, "start": "//a"}), ": //a"),
        (encoded({"v": "meta.k8s.io/v1", "rv": "1", "start": "a"}), ": json: cannot unmarshal into Go value"),
        (encoded([]), ": json: cannot unmarshal into Go value"),
    ],
)
def test_a_continue_token_that_cannot_be_read_is_a_bad_request(text: str, why: str) -> None:
    with pytest.raises(StatusError) as refused:
        Continue.decode(text)
    assert refused.value.code == 400
    assert refused.value.message.startswith(f"invalid continue token: continue key is not valid{why}")


def test_a_continue_token_says_where_to_go_on() -> None:
    for token in (Continue(7, "ns/a\0"), Continue(-1, "b\0")):
        assert Continue.decode(token.encode()) == token


def test_a_version_that_is_none_is_a_bad_request() -> None:
    assert [parse_resource_version(text) for text in ("", "0", "18446744073709551615")] == [None, 0, (1 << 64) - 1]
    for text, why in (
        ("abc", "invalid syntax"),
        ("-1", "invalid syntax"),
        (str(1 << 64), "value out of range"),
        ("9" * 5000, "value out of range"),
    ):
        with pytest.raises(StatusError) as refused:
            parse_resource_version(text)
        assert refused.value.code == 400
        assert refused.value.message == (
            f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": {why}'
        )


INVOLVED = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
SELECTABLE = {
    ("v1", "Pod"): "spec.nodeName spec.restartPolicy spec.schedulerName spec.serviceAccountName spec.hostNetwork "
    "status.phase status.podIP status.podIPs status.nominatedNodeName",
    ("v1", "Node"): "spec.unschedulable",
    ("v1", "Namespace"): "status.phase",
    ("v1", "Secret"): "type",
    ("v1", "Service"): "spec.clusterIP spec.type",
    ("v1", "ReplicationController"): "status.replicas",
    ("v1", "Event"): " ".join(f"involvedObject.{f}" for f in INVOLVED) + " reason reportingComponent source type",
    ("events.k8s.io/v1", "Event"): " ".join(f"regarding.{f}" for f in INVOLVED) + " reason reportingController type",
    ("apps/v1", "ReplicaSet"): "status.replicas",
    ("batch/v1", "Job"): "status.successful",
    ("certificates.k8s.io/v1", "CertificateSigningRequest"): "spec.signerName",
}


@pytest.mark.parametrize("resource", [r for r in RESOURCES if r in STRATEGIES], ids=str)
def test_each_kind_selects_by_the_fields_that_upstream_supports(resource: Any) -> None:
    strategy = STRATEGIES[resource]
    assert strategy.check_field_label("metadata.name") == "metadata.name"
    for label in SELECTABLE.get((resource.api_version, resource.kind), "").split():
        checked = strategy.check_field_label(label)
        assert checked in strategy.selectable_fields({"metadata": {}, "spec": {}, "status": {}})
    with pytest.raises(StatusError) as refused:
        strategy.check_field_label("spec.unheardOf")
    assert refused.value.code == 400
    if (resource.api_version, resource.kind) in SELECTABLE:
        assert refused.value.message == "field label not supported: spec.unheardOf"
