"""Certificate requests: who asks is written down, approving and signing take a right on the signer, and no request makes a master."""

from typing import Any

from apimachinery.errors import quote
from apiserver.admission.chain import Attributes, Plugin
from apiserver.authentication.user import MASTERS_GROUP
from apiserver.authorization.action import Action
from apiserver.authorization.authorizer import Authorizer

Object = dict[str, Any]
_GROUP = "certificates.k8s.io"
_REQUESTS = "certificatesigningrequests"
_FIELDS = ("username", "uid", "groups", "extra")
_CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client"


class CertificateRequestor(Plugin):
    """A certificate request says who made it: the signer decides by that, so the client cannot set it."""

    handles = frozenset({"CREATE"})

    async def admit(self, attributes: Attributes) -> None:
        if attributes.what != _REQUESTS or attributes.obj is None:
            return
        spec, user = attributes.obj.setdefault("spec", {}), attributes.user
        for field in _FIELDS:
            spec.pop(field, None)
        spec["username"] = user.name
        if user.uid:
            spec["uid"] = user.uid
        if user.groups:
            spec["groups"] = list(user.groups)
        if user.extra:
            spec["extra"] = {key: list(values) for key, values in user.extra.items()}


class _ForSigner(Plugin):
    """Doing ``verb`` on a request takes the right to do so for its signer, or for all signers of the signer's domain."""

    handles = frozenset({"UPDATE"})
    verb: str
    subresource: str
    refusal: str

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def validate(self, attributes: Attributes) -> None:
        if attributes.what != f"{_REQUESTS}/{self.subresource}" or not self.concerned(attributes):
            return
        signer = ((attributes.old or {}).get("spec") or {}).get("signerName", "")
        for name in (signer, signer.partition("/")[0] + "/*"):
            if self._authorizer.allows(attributes.user, Action(self.verb, _GROUP, "signers", name=name)):
                return
        raise attributes.forbidden(f"user not permitted to {self.refusal} requests with signerName {quote(signer)}")

    def concerned(self, attributes: Attributes) -> bool:
        return True


class CertificateApproval(_ForSigner):
    verb = refusal = "approve"
    subresource = "approval"


class CertificateSigning(_ForSigner):
    verb = refusal = "sign"
    subresource = "status"

    def concerned(self, attributes: Attributes) -> bool:
        """Other fields of the status are anybody's who may write it."""
        new, old = (((o or {}).get("status") or {}) for o in (attributes.obj, attributes.old))
        return any(new.get(field) != old.get(field) for field in ("certificate", "conditions"))


class CertificateSubjectRestriction(Plugin):
    """Approving a request by mistake must not hand the cluster over."""

    handles = frozenset({"CREATE"})

    async def validate(self, attributes: Attributes) -> None:
        if attributes.what != _REQUESTS or attributes.obj is None:
            return
        spec = attributes.obj["spec"]
        if spec.get("signerName") != _CLIENT_SIGNER:
            return
        from base64 import b64decode

        from cryptography import x509  # only ever needed for certificate requests
        from cryptography.x509.oid import NameOID

        try:
            request = x509.load_pem_x509_csr(b64decode(spec.get("request") or ""))
        except ValueError as error:
            raise attributes.forbidden(f"unable to parse csr: {error}") from None
        groups = [a.value for a in request.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
        if MASTERS_GROUP in groups:
            raise attributes.forbidden(f"use of {_CLIENT_SIGNER} signer with {MASTERS_GROUP} group is not allowed")
