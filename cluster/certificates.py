"""The keys and certificates of one cluster, named and laid out as kubeadm does.

Two authorities: ``ca`` signs what talks to the API server and the kubelets, ``etcd/ca`` what talks to the store. Were it one, every
node's certificate would open the store. ECDSA P-256 throughout: a key takes a fraction of a millisecond.
"""

import datetime
import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cluster.home import write
from cluster.plan import Request

_TEN_YEARS = datetime.timedelta(days=3650)
_ONE_YEAR = datetime.timedelta(days=365)
_RENEW_BEFORE = datetime.timedelta(days=30)


@dataclass
class Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


@dataclass
class Pki:
    """``ensure(request)`` makes what is missing, near its end, or not what is asked for, and leaves the rest alone."""

    folder: Path
    made: list[str] = field(default_factory=list)
    _authorities: dict[str, Authority] = field(default_factory=dict)

    def certificate(self, name: str) -> Path:
        return self.folder / f"{name}.crt"

    def key(self, name: str) -> Path:
        return self.folder / f"{name}.key"

    def authority(self, name: str, common_name: str) -> Authority:
        if name not in self._authorities:
            self._authorities[name] = self._load_authority(name) or self._make_authority(name, common_name)
        return self._authorities[name]

    def ensure(self, request: Request) -> None:
        authority = self._authorities[request.authority]
        if not self._still_good(request, authority):
            self._issue(request, authority)

    def ensure_signing_key(self, name: str) -> None:
        """A bare key pair (``.key`` and ``.pub``), for service-account tokens."""
        if self.key(name).exists() and (self.folder / f"{name}.pub").exists():
            return
        key = ec.generate_private_key(ec.SECP256R1())
        self._write_key(name, key)
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        write(self.folder / f"{name}.pub", public, 0o644)
        self.made.append(name)

    def _load_authority(self, name: str) -> Authority | None:
        try:
            certificate = x509.load_pem_x509_certificate(self.certificate(name).read_bytes())
            key = serialization.load_pem_private_key(self.key(name).read_bytes(), None)
        except FileNotFoundError:
            return None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            return None
        return Authority(certificate, key)

    def _make_authority(self, name: str, common_name: str) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(common_name, ())
        builder = _builder(subject, subject, key.public_key(), _TEN_YEARS)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(authority=True), critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        certificate = builder.sign(key, hashes.SHA256())
        self._write(name, certificate, key)
        return Authority(certificate, key)

    def _still_good(self, request: Request, authority: Authority) -> bool:
        try:
            certificate = x509.load_pem_x509_certificate(self.certificate(request.name).read_bytes())
        except (FileNotFoundError, ValueError):
            return False
        if not self.key(request.name).exists() or certificate.issuer != authority.certificate.subject:
            return False
        try:
            certificate.verify_directly_issued_by(authority.certificate)
        except Exception:  # whatever it says, the certificate is not this authority's: it is made anew
            return False
        now = datetime.datetime.now(datetime.UTC)
        same_subject = certificate.subject == _name(request.common_name, request.organizations)
        return (
            same_subject
            and certificate.not_valid_after_utc - now > _RENEW_BEFORE
            and _sans(certificate) == set(request.sans)
        )

    def _issue(self, request: Request, authority: Authority) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(request.common_name, request.organizations)
        builder = _builder(subject, authority.certificate.subject, key.public_key(), _ONE_YEAR)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(authority=False), critical=True)
        usages = [ExtendedKeyUsageOID.SERVER_AUTH] if request.server else []
        usages += [ExtendedKeyUsageOID.CLIENT_AUTH] if request.client else []
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
        builder = builder.add_extension(identifier, critical=False)
        if request.sans:
            names = x509.SubjectAlternativeName([_general_name(san) for san in request.sans])
            builder = builder.add_extension(names, critical=False)
        self._write(request.name, builder.sign(authority.key, hashes.SHA256()), key)

    def _write(self, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._write_key(name, key)
        write(self.certificate(name), certificate.public_bytes(serialization.Encoding.PEM), 0o644)
        self.made.append(name)

    def _write_key(self, name: str, key: ec.EllipticCurvePrivateKey) -> None:
        path = self.key(name)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        encoded = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write(path, encoded, 0o600)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, validity: datetime.timedelta
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    # Five minutes back: the machines of a cluster (and its containers) do not share one clock.
    start = now - datetime.timedelta(minutes=5)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(now + validity)
    )


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str, organizations: tuple[str, ...]) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, o) for o in organizations]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(san: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(san))
    except ValueError:
        return x509.DNSName(san)


def _sans(certificate: x509.Certificate) -> set[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return set()
    return {str(name.value) for name in extension.value}
