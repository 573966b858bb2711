"""What the signers grant."""

import ipaddress

import pytest
from cryptography import x509

from controllers.certificates import requests
from controllers.certificates.requests import CLIENT, KUBELET_CLIENT, KUBELET_SERVING, LEGACY, NotGranted, check
from tests.controllers.certificates.made import asked, request

SIGN, ENCIPHER, AS_CLIENT, AS_SERVER = "digital signature", "key encipherment", "client auth", "server auth"
NODE, NODES = "system:node:n1", ("system:nodes",)
IP, DNS = x509.IPAddress(ipaddress.ip_address("192.0.2.1")), x509.DNSName("n1")
MAIL, LINK = x509.RFC822Name("a@example.com"), x509.UniformResourceIdentifier("urn:x")


@pytest.mark.parametrize(
    ("signer", "csr", "usages"),
    [
        (CLIENT, asked("jane", ["team"]), [AS_CLIENT]),
        (CLIENT, asked("jane"), [SIGN, ENCIPHER, AS_CLIENT]),
        (KUBELET_CLIENT, asked(NODE, NODES), [SIGN, AS_CLIENT]),
        (KUBELET_CLIENT, asked(NODE, NODES), [AS_CLIENT, ENCIPHER, SIGN]),
        (KUBELET_SERVING, asked(NODE, NODES, [IP]), [SIGN, AS_SERVER]),
        (KUBELET_SERVING, asked(NODE, NODES, [DNS]), [SIGN, ENCIPHER, AS_SERVER]),
        (LEGACY, asked("anything", ["system:masters"]), ["cert sign"]),
    ],
)
def test_what_is_granted(signer: str, csr: x509.CertificateSigningRequest, usages: list[str]) -> None:
    check(csr, usages, signer)


@pytest.mark.parametrize(
    ("signer", "csr", "usages", "why"),
    [
        (CLIENT, asked("jane"), [AS_CLIENT, AS_SERVER], "invalid usage for client certificate: server auth"),
        (CLIENT, asked("jane"), [SIGN], "missing required usage for client certificate: client auth"),
        (KUBELET_CLIENT, asked(NODE), [SIGN, AS_CLIENT], "subject organization is not system:nodes"),
        (KUBELET_CLIENT, asked(NODE, [*NODES, "x"]), [SIGN, AS_CLIENT], "subject organization is not system:nodes"),
        (KUBELET_CLIENT, asked("n1", NODES), [SIGN, AS_CLIENT], "subject common name does not begin with system:node:"),
        (KUBELET_CLIENT, asked(NODE, NODES, [DNS]), [SIGN, AS_CLIENT], "DNS subjectAltNames are not allowed"),
        (KUBELET_CLIENT, asked(NODE, NODES, [IP]), [SIGN, AS_CLIENT], "IP subjectAltNames are not allowed"),
        (
            KUBELET_CLIENT,
            asked(NODE, NODES),
            [AS_CLIENT],
            "usages did not match [client auth digital signature key encipherment]",
        ),
        (KUBELET_SERVING, asked(NODE, NODES), [SIGN, AS_SERVER], "DNS or IP subjectAltName is required"),
        (KUBELET_SERVING, asked(NODE, NODES, [IP, MAIL]), [SIGN, AS_SERVER], "Email subjectAltNames are not allowed"),
        (KUBELET_SERVING, asked(NODE, NODES, [IP, LINK]), [SIGN, AS_SERVER], "URI subjectAltNames are not allowed"),
    ],
)
def test_what_is_not_granted_and_why(
    signer: str, csr: x509.CertificateSigningRequest, usages: list[str], why: str
) -> None:
    with pytest.raises(NotGranted) as refused:
        check(csr, usages, signer)
    assert str(refused.value) == why


def test_only_a_kubelets_client_certificate_is_a_kubelets() -> None:
    csr = asked(NODE, NODES)
    assert requests.is_kubelets(csr, request("r", csr, KUBELET_CLIENT, SIGN, AS_CLIENT))
    assert not requests.is_kubelets(csr, request("r", csr, CLIENT, SIGN, AS_CLIENT))
    assert not requests.is_kubelets(csr, request("r", csr, KUBELET_CLIENT, AS_SERVER))
