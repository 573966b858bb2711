"""Rules of CertificateSigningRequests: what may be asked of a signer, and who may decide and answer."""

import base64
import binascii
import re
from typing import Any

from apimachinery import meta, names
from apimachinery.errors import (
    FieldError,
    Literal,
    duplicate,
    forbidden_field,
    invalid_value,
    not_supported,
    quote,
    required,
    too_long,
)

Object = dict[str, Any]

_USAGES = (
    "any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment",
    "decipher only", "digital signature", "email protection", "encipher only", "ipsec end system", "ipsec tunnel",
    "ipsec user", "key agreement", "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime",
    "server auth", "signing", "timestamping",
)  # fmt: skip
_LEGACY_SIGNER = "kubernetes.io/legacy-unknown"
_DECISIONS = ("Approved", "Denied")
_FINAL = (*_DECISIONS, "Failed")
_SUBDOMAIN_LENGTH, _SIGNER_LENGTH = 253, 571
_SHORTEST = 600
_FORGED = {
    "RSAPublicKey": "crypto/rsa: verification error",
    "ECPublicKey": "x509: ECDSA verification failure",
    "Ed25519PublicKey": "x509: Ed25519 verification failure",
}
_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]*)-----\s*?\n(.*?)-----END \1-----", re.DOTALL)


def validate_request(csr: Object, old: Object | None = None) -> list[FieldError]:
    """The whole object; what was wrong with ``old`` already is tolerated."""
    spec = csr.get("spec") or {}
    before = (old or {}).get("spec") or {}
    found = _request(spec.get("request", ""))
    usages = spec.get("usages") or []
    if not usages:
        found.append(required("spec.usages"))
    if all(u in _USAGES for u in before.get("usages") or ()):
        unknown = [(i, u) for i, u in enumerate(usages) if u not in _USAGES]
        found += [not_supported(f"spec.usages[{i}]", u, _USAGES) for i, u in unknown]
    if len(set(before.get("usages") or ())) == len(before.get("usages") or ()):
        found += [duplicate(f"spec.usages[{i}]", u) for i, u in enumerate(usages) if u in usages[:i]]
    signer = spec.get("signerName", "")
    if signer == _LEGACY_SIGNER and before.get("signerName") != _LEGACY_SIGNER:
        detail = "the legacy signerName is not allowed via this API version"
        found.append(invalid_value("spec.signerName", signer, detail))
    else:
        found += validate_signer_name(signer, "spec.signerName")
    seconds = spec.get("expirationSeconds", _SHORTEST)
    if seconds < _SHORTEST:
        detail = "may not specify a duration less than 600 seconds (10 minutes)"
        found.append(invalid_value("spec.expirationSeconds", seconds, detail))
    found += _conditions(csr, old)
    certificate = (csr.get("status") or {}).get("certificate", "")
    if old is None or certificate != (old.get("status") or {}).get("certificate", ""):
        found += _certificate(certificate)
    return found


def validate_signer_name(name: str, path: str) -> list[FieldError]:
    """``domain/path``: both made of labels with dots between them."""
    if not name:
        return [required(path)]
    segments = name.split("/")
    if len(segments) != 2:
        detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        return [invalid_value(path, name, detail)]
    found: list[FieldError] = []
    if len(segments[0]) > _SUBDOMAIN_LENGTH:
        found.append(too_long(path, _SUBDOMAIN_LENGTH))
    found += _labels(segments[0], names.dns1123_label, path)
    if len(name) > _SIGNER_LENGTH:
        found.append(too_long(path, _SIGNER_LENGTH))
    return found + _labels(segments[1], names.dns1123_subdomain, path)


def _labels(segment: str, rule: Any, path: str) -> list[FieldError]:
    for label in segment.split("."):
        if problems := rule(label):
            return [invalid_value(path, segment, f"validating label {quote(label)}: {p}") for p in problems]
    return []


def _request(encoded: str) -> list[FieldError]:
    """A PEM block with a request whose signature shows that the sender has the key."""
    data = base64.b64decode(encoded)
    problem = _request_problem(data)
    if problem is None:
        return []
    shown = Literal(f"[]byte{{{', '.join(f'0x{b:x}' for b in data)}}}" if data else "[]byte(nil)")
    return [invalid_value("spec.request", shown, problem)]


def _request_problem(data: bytes) -> str | None:
    block = _PEM.search(data)
    if block is None or block[1] != b"CERTIFICATE REQUEST":
        return "PEM block type must be CERTIFICATE REQUEST"
    # Only requests for certificates need it, and it is large.
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

    try:
        request = x509.load_pem_x509_csr(block[0])
        valid = request.is_signature_valid
    except (ValueError, TypeError) as e:
        return f"asn1: structure error: {e}"
    except (InvalidSignature, UnsupportedAlgorithm):
        return "x509: cannot verify signature: algorithm unimplemented"
    return (
        None if valid else _FORGED.get(type(request.public_key()).__name__.removeprefix("_"), _FORGED["RSAPublicKey"])
    )


def _certificate(encoded: str) -> list[FieldError]:
    problem = _certificate_problem(base64.b64decode(encoded)) if encoded else None
    return [] if problem is None else [invalid_value("status.certificate", "<certificate data>", problem)]


def _certificate_problem(data: bytes) -> str | None:
    from cryptography import x509  # as above

    blocks = list(_PEM.finditer(data))
    for block in blocks:
        kind = block[1].decode()
        if kind != "CERTIFICATE":
            return f"only CERTIFICATE PEM blocks are allowed, found {quote(kind)}"
        if b":" in block[2]:
            return "no PEM block headers are permitted"
        try:
            x509.load_der_x509_certificate(base64.b64decode(block[2]))
        except (ValueError, binascii.Error) as e:
            return f"x509: malformed certificate: {e}"
    return None if blocks else "must contain at least one CERTIFICATE PEM block"


def _of_type(csr: Object, kind: str) -> list[Object]:
    return [c for c in (csr.get("status") or {}).get("conditions") or () if c.get("type") == kind]


def _conditions(csr: Object, old: Object | None) -> list[FieldError]:
    found: list[FieldError] = []
    undecided = old is None or not all(_of_type(old, kind) for kind in _DECISIONS)
    kinds = [c.get("type", "") for c in (csr.get("status") or {}).get("conditions") or ()]
    before = [c.get("type", "") for c in ((old or {}).get("status") or {}).get("conditions") or ()]
    for i, condition in enumerate((csr.get("status") or {}).get("conditions") or ()):
        where, kind, status = f"status.conditions[{i}]", kinds[i], condition.get("status", "")
        if not kind and "" not in before:
            found.append(required(f"{where}.type"))
        allowed = ("True",) if kind in _FINAL else ("False", "True", "Unknown")
        if not status:
            found.append(required(f"{where}.status"))
        elif status not in allowed:
            found.append(not_supported(f"{where}.status", status, allowed))
        if undecided and kind in _DECISIONS and any(k in _DECISIONS and k != kind for k in kinds[:i]):
            detail = "Approved and Denied conditions are mutually exclusive"
            found.append(invalid_value(f"{where}.type", kind, detail))
        if kind in kinds[:i] and len(set(before)) == len(before):
            found.append(duplicate(f"{where}.type", kind))
    return found


def validate_request_update(new: Object, old: Object, *, decides: bool, signs: bool) -> list[FieldError]:
    """``decides``: sent to ``/approval``, which alone may approve or deny. ``signs``: sent to ``/status``."""
    where = "status.conditions"
    found = validate_request(new, old)
    for kind in _FINAL:
        if len(_of_type(new, kind)) < len(_of_type(old, kind)):
            found.append(forbidden_field(where, f"updates may not remove a condition of type {quote(kind)}"))
    for kind in () if decides else _DECISIONS:
        now, before = _of_type(new, kind), _of_type(old, kind)
        if len(now) > len(before):
            found.append(forbidden_field(where, f"updates may not add a condition of type {quote(kind)}"))
        elif len(now) == len(before) and now != before:
            detail = f"updates may not modify a condition of type {quote(kind)}\n"
            found.append(forbidden_field(where, detail))
    issued, had = ((o.get("status") or {}).get("certificate", "") for o in (new, old))
    if issued != had:
        if not signs:
            found.append(forbidden_field("status.certificate", "updates may not set certificate content"))
        elif had:
            detail = "updates may not modify existing certificate content"
            found.append(forbidden_field("status.certificate", detail))
    return found


def keep_decisions(new: Object, old: Object) -> None:
    """A signer that writes its answer need not repeat word for word what was decided."""
    for kind in _DECISIONS:
        before = _of_type(old, kind)
        if len(before) == len(_of_type(new, kind)):
            kept = iter(before)
            conditions = (new.get("status") or {}).get("conditions") or []
            conditions[:] = [next(kept) if c.get("type") == kind else c for c in conditions]


def stamp_conditions(new: Object, old: Object) -> None:
    """When a condition was written, and since when it is so, unless the writer said."""
    now = meta.now_rfc3339()
    before = {
        (c.get("type"), c.get("status")): c.get("lastTransitionTime")
        for c in (old.get("status") or {}).get("conditions") or ()
    }
    for condition in (new.get("status") or {}).get("conditions") or ():
        if not condition.get("lastUpdateTime"):
            condition["lastUpdateTime"] = now
        if not condition.get("lastTransitionTime"):
            condition["lastTransitionTime"] = before.get((condition.get("type"), condition.get("status"))) or now
