"""Certificates that the strictest client and server of the standard library accept."""

import datetime
import socket
import ssl
import stat
import threading
from pathlib import Path

import pytest
from cryptography import x509

from cluster import certificates
from cluster.certificates import Pki
from cluster.plan import Request

SERVER = Request("apiserver", "kube-apiserver", sans=("localhost", "127.0.0.1"), server=True)
CLIENT = Request("admin", "kubernetes-admin", organizations=("system:masters",), client=True)
STORE = Request("etcd/member", "member", sans=("127.0.0.1",), server=True, client=True, authority="etcd/ca")


def make(folder: Path) -> Pki:
    pki = Pki(folder)
    pki.authority("ca", "test-ca")
    pki.authority("etcd/ca", "test-etcd-ca")
    for request in (SERVER, CLIENT, STORE):
        pki.ensure(request)
    pki.ensure_signing_key("sa")
    return pki


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return make(tmp_path / "pki")


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> dict[str, object]:
    """The client's certificate as the server sees it; raises what either side raises."""
    ours, theirs = socket.socketpair()
    seen: dict[str, object] = {}
    failures: list[BaseException] = []

    def serve() -> None:
        try:
            with server.wrap_socket(theirs, server_side=True) as connection:
                connection.recv(1)
                seen.update(connection.getpeercert() or {})
        except OSError as error:
            failures.append(error)
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(ours, server_hostname=name) as connection:
            connection.send(b"x")
    finally:
        ours.close()
        thread.join()
    if failures:
        raise failures[0]
    return seen


def server_context(pki: Pki, name: str, authority: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.certificate(name), pki.key(name))
    context.load_verify_locations(pki.certificate(authority))
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(pki: Pki, name: str, authority: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(pki.certificate(authority)))
    context.load_cert_chain(pki.certificate(name), pki.key(name))
    return context


def test_server_and_client_trust_each_other_and_the_server_learns_who_it_is(pki: Pki) -> None:
    peer = handshake(server_context(pki, "apiserver", "ca"), client_context(pki, "admin", "ca"), "localhost")
    assert peer["subject"] == (
        (("organizationName", "system:masters"),),
        (("commonName", "kubernetes-admin"),),
    )


def test_a_name_that_is_not_in_the_certificate_is_refused(pki: Pki) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server_context(pki, "apiserver", "ca"), client_context(pki, "admin", "ca"), "elsewhere.example")


def test_the_administrators_certificate_does_not_open_the_store(pki: Pki) -> None:
    client = ssl.create_default_context(cafile=str(pki.certificate("etcd/ca")))
    client.load_cert_chain(pki.certificate("admin"), pki.key("admin"))
    with pytest.raises(OSError):
        handshake(server_context(pki, "etcd/member", "etcd/ca"), client, "127.0.0.1")


def test_keys_are_the_owners_alone(pki: Pki) -> None:
    for key in pki.folder.rglob("*.key"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600, key


def test_what_is_good_is_left_alone(pki: Pki) -> None:
    again = make(pki.folder)
    assert again.made == []


def test_a_certificate_is_made_anew_when_an_address_is_added(pki: Pki) -> None:
    again = Pki(pki.folder)
    again.authority("ca", "test-ca")
    more = Request("apiserver", "kube-apiserver", sans=("localhost", "127.0.0.1", "10.64.0.1"), server=True)
    again.ensure(more)
    assert again.made == ["apiserver"]
    handshake(server_context(again, "apiserver", "ca"), client_context(again, "admin", "ca"), "10.64.0.1")


def test_a_certificate_near_its_end_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "_ONE_YEAR", datetime.timedelta(days=29))
    made = make(tmp_path)
    monkeypatch.undo()
    again = make(made.folder)
    assert sorted(again.made) == ["admin", "apiserver", "etcd/member"]


def test_a_new_authority_replaces_what_the_old_one_signed(pki: Pki) -> None:
    pki.certificate("ca").unlink()
    again = make(pki.folder)
    assert sorted(again.made) == ["admin", "apiserver", "ca"]


def test_a_damaged_certificate_is_made_anew(pki: Pki) -> None:
    pki.certificate("admin").write_text("-----BEGIN CERTIFICATE-----\nnonsense\n")
    assert make(pki.folder).made == ["admin"]


def test_certificates_carry_what_upstreams_verifier_asks_for(pki: Pki) -> None:
    server = x509.load_pem_x509_certificate(pki.certificate("apiserver").read_bytes())
    usage = server.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [u._name for u in usage] == ["serverAuth"]
    assert server.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert server.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
