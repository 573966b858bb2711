"""What may be asked of a signer, and who may decide and answer."""

# Tables of upstream's messages read best with one on a line.
# ruff: noqa: E501

import base64
from functools import cache
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from apimachinery.errors import StatusError
from apiserver.registry.extension import CertificateRequestStrategy
from tests.apiserver.registry.made import Object, changed, create, refusals, row, status_refusals, strategy_of


@cache
def pem() -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject)
    signed = request.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def request(**spec: Any) -> Object:
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": "Any Name"},
        "spec": {
            "request": encoded(pem()),
            "signerName": "a.example/s",
            "usages": ["client auth"],
            **spec,
        },
    }


@pytest.mark.parametrize(
    ("field", "value", "causes"),
    [
        ("request", encoded(b"a"), ["spec.request: Invalid value: []byte{0x61}: PEM block type must be CERTIFICATE REQUEST"]),
        ("usages", [], ["spec.usages: Required value"]),
        ("usages", ["signing", "signing"], ['spec.usages[1]: Duplicate value: "signing"']),
        ("signerName", "", ["spec.signerName: Required value"]),
        ("signerName", "kubernetes.io/legacy-unknown", ['spec.signerName: Invalid value: "kubernetes.io/legacy-unknown": the legacy signerName is not allowed via this API version']),
        ("signerName", "a.example", ["spec.signerName: Invalid value: \"a.example\": must be a fully qualified domain and path of the form 'example.com/signer-name'"]),
        ("expirationSeconds", 599, ["spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 600 seconds (10 minutes)"]),
    ],
)  # fmt: skip
def test_rules_of_a_new_request(field: str, value: Any, causes: list[str]) -> None:
    assert refusals(request(**{field: value})) == causes


def test_labels_of_a_signers_name_are_checked_one_by_one() -> None:
    (domain,) = refusals(request(signerName="a._.example/s"))
    assert domain.startswith(
        'spec.signerName: Invalid value: "a._.example": validating label "_": a lowercase RFC 1123'
    )
    (unknown,) = refusals(request(usages=["magic"]))
    assert unknown.startswith('spec.usages[0]: Unsupported value: "magic": supported values: "any", "cert sign", ')


def test_whoever_asks_has_the_key() -> None:
    body = pem().splitlines()
    der = bytearray(base64.b64decode(b"".join(body[1:-1])))
    der[-1] ^= 1
    forged = b"\n".join([body[0], base64.b64encode(der), body[-1]])
    (why,) = refusals(request(request=encoded(forged)))
    assert why.endswith(": x509: ECDSA verification failure")


def approve(old: Object, *conditions: Object, **status: Any) -> Object:
    strategy = strategy_of(old)
    assert isinstance(strategy, CertificateRequestStrategy)
    new = changed(old, "status", {"conditions": list(conditions), **status})
    strategy.before_approval_update(new, old)
    return new


APPROVED = {"type": "Approved", "status": "True"}
DENIED = {"type": "Denied", "status": "True"}


def test_approval_touches_conditions_only_and_notes_when() -> None:
    made = create(request())
    assert row(made)[5] == "Pending"
    approved = approve(made, APPROVED, certificate="Zm9yZ2Vk")
    assert "certificate" not in approved["status"]
    assert row(approved)[5] == "Approved"
    (condition,) = approved["status"]["conditions"]
    assert condition["lastUpdateTime"] == condition["lastTransitionTime"] != ""
    again = approve(approved, {**APPROVED, "reason": "Later"})["status"]["conditions"][0]
    assert again["lastTransitionTime"] == condition["lastTransitionTime"]


@pytest.mark.parametrize(
    ("conditions", "causes"),
    [
        ([APPROVED, DENIED], ['status.conditions[1].type: Invalid value: "Denied": Approved and Denied conditions are mutually exclusive']),
        ([APPROVED, APPROVED], ['status.conditions[1].type: Duplicate value: "Approved"']),
        ([{"type": "Approved", "status": "False"}], ['status.conditions[0].status: Unsupported value: "False": supported values: "True"']),
        ([{"type": "", "status": "Maybe"}], ["status.conditions[0].type: Required value", 'status.conditions[0].status: Unsupported value: "Maybe": supported values: "False", "True", "Unknown"']),
    ],
)  # fmt: skip
def test_rules_of_decisions(conditions: list[Object], causes: list[str]) -> None:
    with pytest.raises(StatusError) as error:
        approve(create(request()), *conditions)
    assert [f"{c['field']}: {c['message']}" for c in error.value.causes] == causes


def test_a_decision_stays() -> None:
    approved = approve(create(request()), APPROVED)
    with pytest.raises(StatusError) as error:
        approve(approved)
    assert 'updates may not remove a condition of type "Approved"' in error.value.message
    assert status_refusals(create(request()), status__conditions=[APPROVED]) == [
        'status.conditions: Forbidden: updates may not add a condition of type "Approved"'
    ]


def test_a_certificate_is_issued_once() -> None:
    made = create(request())
    assert status_refusals(made, status__certificate=encoded(b"nothing")) == [
        'status.certificate: Invalid value: "<certificate data>": must contain at least one CERTIFICATE PEM block'
    ]
    assert status_refusals(made, status__certificate=encoded(pem())) == [
        'status.certificate: Invalid value: "<certificate data>": only CERTIFICATE PEM blocks are allowed, found "CERTIFICATE REQUEST"'
    ]
    issued = changed(made, "status/certificate", encoded(b"old"))
    causes = status_refusals(issued, status__certificate=encoded(b"new"))
    assert causes[-1] == "status.certificate: Forbidden: updates may not modify existing certificate content"
