"""What a CertificateSigningRequest asks for, and whether upstream's signers grant such a thing. Pure."""

import base64
from collections.abc import Iterable
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

Object = dict[str, Any]
KUBELET_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING = "kubernetes.io/kubelet-serving"
CLIENT = "kubernetes.io/kube-apiserver-client"
LEGACY = "kubernetes.io/legacy-unknown"
SIGNERS = (KUBELET_CLIENT, KUBELET_SERVING, CLIENT, LEGACY)
_SIGNATURE, _ENCIPHERMENT, _CLIENT_AUTH, _SERVER_AUTH = (
    "digital signature",
    "key encipherment",
    "client auth",
    "server auth",
)
_NODES, _NODE = "system:nodes", "system:node:"


class NotGranted(Exception):
    """The signer grants nothing like it; the text is upstream's."""


def parse(request: Object) -> x509.CertificateSigningRequest:
    """ValueError when there is none inside; the API server has checked that."""
    return x509.load_pem_x509_csr(base64.b64decode(request["spec"]["request"]))


def common_name(asked: x509.CertificateSigningRequest) -> str:
    return next((str(a.value) for a in asked.subject.get_attributes_for_oid(NameOID.COMMON_NAME)), "")


def condition(request: Object, type_: str) -> Object | None:
    """The condition, when it is true."""
    conditions: Iterable[Object] = (request.get("status") or {}).get("conditions") or ()
    return next((c for c in conditions if c["type"] == type_ and c.get("status") == "True"), None)


def check(asked: x509.CertificateSigningRequest, usages: list[str], signer: str) -> None:
    """Raises ``NotGranted``."""
    if signer == CLIENT:
        _check_client(usages)
    elif signer == KUBELET_CLIENT:
        _check_organization(asked)
        _check_names(asked, ("DNS", "Email", "IP", "URI"))
        _check_node(asked)
        _check_usages(usages, _CLIENT_AUTH)
    elif signer == KUBELET_SERVING:
        _check_organization(asked)
        if not _names(asked, "DNS") and not _names(asked, "IP"):
            raise NotGranted("DNS or IP subjectAltName is required")
        _check_names(asked, ("Email", "URI"))
        _check_usages(usages, _SERVER_AUTH)
        _check_node(asked)


def is_kubelets(asked: x509.CertificateSigningRequest, request: Object) -> bool:
    """A kubelet's client certificate, as the approver knows it."""
    if request["spec"]["signerName"] != KUBELET_CLIENT:
        return False
    try:
        check(asked, request["spec"].get("usages") or [], KUBELET_CLIENT)
    except NotGranted:
        return False
    return True


def _check_client(usages: list[str]) -> None:
    for usage in usages:
        if usage not in (_SIGNATURE, _ENCIPHERMENT, _CLIENT_AUTH):
            raise NotGranted(f"invalid usage for client certificate: {usage}")
    if _CLIENT_AUTH not in usages:
        raise NotGranted(f"missing required usage for client certificate: {_CLIENT_AUTH}")


def _check_organization(asked: x509.CertificateSigningRequest) -> None:
    if [a.value for a in asked.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)] != [_NODES]:
        raise NotGranted("subject organization is not system:nodes")


def _check_node(asked: x509.CertificateSigningRequest) -> None:
    if not common_name(asked).startswith(_NODE):
        raise NotGranted("subject common name does not begin with system:node:")


def _check_usages(usages: list[str], purpose: str) -> None:
    wanted = sorted((_SIGNATURE, _ENCIPHERMENT, purpose))
    if set(usages) not in ({*wanted}, {_SIGNATURE, purpose}):
        raise NotGranted(f"usages did not match [{' '.join(wanted)}]")


_KINDS: dict[str, Any] = {
    "DNS": x509.DNSName,
    "Email": x509.RFC822Name,
    "IP": x509.IPAddress,
    "URI": x509.UniformResourceIdentifier,
}


def _check_names(asked: x509.CertificateSigningRequest, refused: Iterable[str]) -> None:
    for kind in refused:
        if _names(asked, kind):
            raise NotGranted(f"{kind} subjectAltNames are not allowed")


def _names(asked: x509.CertificateSigningRequest, kind: str) -> list[Any]:
    try:
        names = asked.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return list(names.get_values_for_type(_KINDS[kind]))
