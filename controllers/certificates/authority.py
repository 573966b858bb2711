"""Makes a certificate from a request: upstream's permissive policy, which grants the names and usages that were approved."""

import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID as Extended
from cryptography.x509.oid import ObjectIdentifier

_BACKDATE = datetime.timedelta(minutes=5)
#: A shorter life is not cut by the backdating.
_SHORT = datetime.timedelta(hours=8)
LEAST = datetime.timedelta(minutes=10)
_KEY_USAGES = {
    "signing": "digital_signature", "digital signature": "digital_signature", "content commitment": "content_commitment",
    "key encipherment": "key_encipherment", "key agreement": "key_agreement", "data encipherment": "data_encipherment",
    "cert sign": "key_cert_sign", "crl sign": "crl_sign", "encipher only": "encipher_only", "decipher only": "decipher_only",
}  # fmt: skip
_EXTENDED = {
    "any": Extended.ANY_EXTENDED_KEY_USAGE, "server auth": Extended.SERVER_AUTH, "client auth": Extended.CLIENT_AUTH,
    "code signing": Extended.CODE_SIGNING, "email protection": Extended.EMAIL_PROTECTION, "s/mime": Extended.EMAIL_PROTECTION,
    "ipsec end system": ObjectIdentifier("1.3.6.1.5.5.7.3.5"), "ipsec tunnel": ObjectIdentifier("1.3.6.1.5.5.7.3.6"),
    "ipsec user": ObjectIdentifier("1.3.6.1.5.5.7.3.7"), "timestamping": Extended.TIME_STAMPING,
    "ocsp signing": Extended.OCSP_SIGNING, "microsoft sgc": ObjectIdentifier("1.3.6.1.4.1.311.10.3.3"),
    "netscape sgc": ObjectIdentifier("2.16.840.1.113730.4.1"),
}  # fmt: skip


class Authority:
    """``longest`` is the life of a certificate that asks for none, and the most that one may ask for."""

    def __init__(self, certificate: bytes, key: bytes, longest: datetime.timedelta) -> None:
        self._certificate = x509.load_pem_x509_certificate(certificate)
        self._key: Any = serialization.load_pem_private_key(key, None)
        self._longest = longest

    @classmethod
    def load(cls, certificate_file: str, key_file: str, longest: float) -> "Authority":
        """OSError or ValueError for files that cannot be used."""
        seconds = datetime.timedelta(seconds=longest)
        return cls(Path(certificate_file).read_bytes(), Path(key_file).read_bytes(), seconds)

    def sign(
        self, asked: x509.CertificateSigningRequest, usages: list[str], seconds: int | None, now: datetime.datetime
    ) -> bytes:
        """A certificate as PEM. ValueError for a usage that is none, or when the authority's own time is over."""
        life = self._longest if seconds is None else datetime.timedelta(seconds=seconds)
        life = min(max(life, LEAST), self._longest)
        until = now + life if life < _SHORT else now + life - _BACKDATE
        last = self._certificate.not_valid_after_utc
        if now >= last:
            raise ValueError(f"the signer has expired: NotAfter={last}")
        builder = (
            x509.CertificateBuilder()
            .subject_name(asked.subject)
            .issuer_name(self._certificate.subject)
            .public_key(asked.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BACKDATE)
            .not_valid_after(min(until, last))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        )
        for extension, critical in _extensions(asked, usages, self._certificate):
            builder = builder.add_extension(extension, critical=critical)
        algorithm = None if type(self._key).__name__.startswith("Ed") else hashes.SHA256()
        return builder.sign(self._key, algorithm).public_bytes(serialization.Encoding.PEM)


def _extensions(
    asked: x509.CertificateSigningRequest, usages: list[str], authority: x509.Certificate
) -> list[tuple[x509.ExtensionType, bool]]:
    unknown = [usage for usage in usages if usage not in _KEY_USAGES and usage not in _EXTENDED]
    if unknown:
        raise ValueError(f"unrecognized usage values: {unknown}")
    found: list[tuple[x509.ExtensionType, bool]] = []
    bits = {_KEY_USAGES[usage] for usage in usages if usage in _KEY_USAGES}
    if bits:
        found.append((x509.KeyUsage(**{name: name in bits for name in set(_KEY_USAGES.values())}), True))
    purposes = list(dict.fromkeys(_EXTENDED[usage] for usage in usages if usage in _EXTENDED))
    if purposes:
        found.append((x509.ExtendedKeyUsage(purposes), False))
    public: Any = authority.public_key()
    found.append((x509.AuthorityKeyIdentifier.from_issuer_public_key(public), False))
    try:
        found.append((asked.extensions.get_extension_for_class(x509.SubjectAlternativeName).value, False))
    except x509.ExtensionNotFound:
        pass
    return found
