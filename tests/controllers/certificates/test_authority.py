"""Certificates as they are made."""

import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from controllers.certificates.authority import Authority
from tests.apiserver.harness import Pki, _pem
from tests.controllers.certificates.made import asked

NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
MINUTE, HOUR, DAY = (datetime.timedelta(seconds=s) for s in (60, 3600, 86400))


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


def authority(pki: Pki, longest: datetime.timedelta) -> Authority:
    return Authority(pki.ca.read_bytes(), _pem(pki._key), longest)


def signed(
    made: Authority, csr: x509.CertificateSigningRequest, *usages: str, seconds: int | None = None
) -> x509.Certificate:
    return x509.load_pem_x509_certificate(made.sign(csr, list(usages), seconds, NOW))


def test_a_certificate_has_the_subject_names_key_and_usages_that_were_asked_for(pki: Pki) -> None:
    csr = asked("jane", ["team"], [x509.DNSName("jane.example.com")])
    made = signed(authority(pki, DAY), csr, "digital signature", "client auth")
    made.verify_directly_issued_by(x509.load_pem_x509_certificate(pki.ca.read_bytes()))
    assert made.subject == csr.subject
    raw = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    assert made.public_key().public_bytes(*raw) == csr.public_key().public_bytes(*raw)
    extensions = made.extensions
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.digital_signature, usage.key_encipherment, usage.key_cert_sign) == (True, False, False)
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["jane.example.com"]


@pytest.mark.parametrize(
    ("longest", "seconds", "life"),
    [
        (20 * HOUR, None, 20 * HOUR - 5 * MINUTE),
        (20 * HOUR, 10 * 3600, 10 * HOUR - 5 * MINUTE),
        (20 * HOUR, 3600, HOUR),
        (20 * HOUR, 1, 10 * MINUTE),
        (2 * HOUR, 10 * 3600, 2 * HOUR),
    ],
)
def test_a_life_is_as_asked_between_ten_minutes_and_the_longest(
    pki: Pki, longest: datetime.timedelta, seconds: int | None, life: datetime.timedelta
) -> None:
    made = signed(authority(pki, longest), asked("jane"), "client auth", seconds=seconds)
    assert made.not_valid_before_utc == NOW - 5 * MINUTE
    assert made.not_valid_after_utc == NOW + life


def test_no_certificate_outlives_its_authority(pki: Pki) -> None:
    made = signed(authority(pki, 400 * DAY), asked("jane"), "client auth")
    assert made.not_valid_after_utc == x509.load_pem_x509_certificate(pki.ca.read_bytes()).not_valid_after_utc
    with pytest.raises(ValueError, match="the signer has expired"):
        authority(pki, DAY).sign(asked("jane"), ["client auth"], None, NOW + 2 * DAY)


def test_an_unknown_usage_is_refused(pki: Pki) -> None:
    with pytest.raises(ValueError, match="unrecognized usage values: \\['flying'\\]"):
        authority(pki, DAY).sign(asked("jane"), ["client auth", "flying"], None, NOW)


def test_files_that_cannot_be_used_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Authority.load(str(tmp_path / "ca.crt"), str(tmp_path / "ca.key"), 60.0)
