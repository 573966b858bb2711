"""Certificates on both ports: members and clients without one stay outside."""

import datetime
import ipaddress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from etcd_raft.client import EtcdClient, EtcdError
from tests.etcd_raft.processes import ClusterProcesses, eventually


class Authority:
    """A certificate authority that writes files."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._build(self._name, self._key, ca=True)
        self.ca = folder / f"{name}.crt"
        self.ca.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str) -> tuple[str, str]:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._build(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key, ca=False)
        cert_file, key_file = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return str(cert_file), str(key_file)

    def _build(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, ca: bool) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        addresses = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(addresses), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )


async def test_three_members_and_their_clients_over_tls(tmp_path: Path) -> None:
    ours, foreign = Authority(tmp_path, "ca"), Authority(tmp_path, "foreign-ca")
    cert, key = ours.issue("member")
    flags = ["--log-level=info", "--heartbeat-interval=50", "--election-timeout=500"]
    for prefix in ("", "peer-"):
        flags += [f"--{prefix}cert-file={cert}", f"--{prefix}key-file={key}"]
        flags += [f"--{prefix}trusted-ca-file={ours.ca}", f"--{prefix}client-cert-auth"]
    cluster = ClusterProcesses(tmp_path, 3, [])
    for member in cluster.members:
        member.url = member.url.replace("http:", "https:")
        member.peer_url = member.listen_peer_url = member.peer_url.replace("http:", "https:")
        member.flags = [*flags, f"--initial-cluster={','.join(u.replace('http:', 'https:') for u in cluster.initial)}"]
    cluster.start()
    client_cert, client_key = ours.issue("client")
    try:
        async with EtcdClient(cluster.urls, ca=str(ours.ca), cert=client_cert, key=client_key, timeout=2.0) as client:

            async def written() -> bool:
                try:
                    await client.put(b"a", b"1")
                except EtcdError:
                    return False
                return True

            await eventually("a write over TLS", written)
            async with client.watch(b"a", start_revision=2) as watcher:
                batch = await anext(watcher)
                assert batch.events[0].kv.value == b"1"
        stranger = foreign.issue("stranger")
        for credentials in ({}, {"cert": stranger[0], "key": stranger[1]}):
            async with EtcdClient(cluster.urls, ca=str(ours.ca), timeout=1.0, **credentials) as outside:
                with pytest.raises(EtcdError):
                    await outside.get(b"a")
    finally:
        cluster.close()
