"""A real store and a real API server as processes, with certificates: what the integration tests drive.

Also a way to get a server to play with:

    python -m tests.apiserver.harness /tmp/play        # prints the KUBECONFIG line, runs until Ctrl-C
    python -m tests.apiserver.harness /tmp/play --store etcd_raft
"""

import argparse
import datetime
import ipaddress
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

REPOSITORY = Path(__file__).resolve().parents[2]
TOKEN = "test-token"
START_SECONDS = 20.0


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def eventually(what: str, condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """The first true value of the condition; fails with what it waited for."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(0.02)


class Pki:
    """One CA and certificates of it below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test-ca")])
        builder = self._builder(self._name, self._key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        certificate = builder.sign(self._key, hashes.SHA256())
        self.ca = folder / "ca.crt"
        self.ca.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def _builder(self, subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=1))
        )

    def issue(self, file: str, name: str, groups: Sequence[str] = (), *, server: bool = False) -> tuple[Path, Path]:
        """Paths of a certificate and its key; made once for each ``file``."""
        cert_path, key_path = self.folder / f"{file}.crt", self.folder / f"{file}.key"
        if cert_path.exists():
            return cert_path, key_path
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, g) for g in groups]
        subject = x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = self._builder(subject, key.public_key())
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if server:
            names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        cert_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_path.write_bytes(_pem(key))
        return cert_path, key_path

    def signing_key(self) -> Path:
        path = self.folder / "sa.key"
        if not path.exists():
            path.write_bytes(_pem(ec.generate_private_key(ec.SECP256R1())))
        return path


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


class Process:
    """A child with its output in a file; killed at the end."""

    def __init__(self, name: str, command: Sequence[str | Path], folder: Path, **environment: str) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        env = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "", **environment}
        with self.log.open("ab") as out:
            self.popen = subprocess.Popen(
                list(map(str, command)), stdout=out, stderr=out, env=env, cwd=folder, preexec_fn=_unblock
            )

    def stop(self, number: int = signal.SIGTERM, seconds: float = 10.0) -> int:
        if self.popen.poll() is None:
            self.popen.send_signal(number)
            if number in (signal.SIGSTOP, signal.SIGCONT):
                return 0
            try:
                self.popen.wait(seconds)
            except subprocess.TimeoutExpired:
                self.popen.kill()
        return self.popen.wait()


class Store:
    """One member: Debian's etcd, or our own."""

    def __init__(self, folder: Path, kind: str = "etcd") -> None:
        self.folder, self.kind = folder, kind
        self.client_port, self.peer_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.client_port}"
        self.process: Process | None = None

    def start(self) -> None:
        peer = f"http://127.0.0.1:{self.peer_port}"
        command: list[str | Path] = [shutil.which("etcd") or "etcd"]
        if self.kind == "etcd_raft":
            command = [sys.executable, "-m", "etcd_raft"]
        command += [
            "--name=s1", f"--data-dir={self.folder / 'data'}", f"--listen-client-urls={self.url}",
            f"--advertise-client-urls={self.url}", f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=s1={peer}",
        ]  # fmt: skip
        self.folder.mkdir(parents=True, exist_ok=True)
        self.process = Process("store", command, self.folder, ETCD_UNSUPPORTED_ARCH="")

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.stop(number)


class ApiServer:
    """``python -m apiserver`` on a free port, with an admin kubeconfig and a static token for the same rights."""

    def __init__(self, folder: Path, store: Store, pki: Pki, *flags: str) -> None:
        self.folder, self.store, self.pki, self.flags = folder, store, pki, flags
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.process: Process | None = None
        self.kubeconfig = folder / "kubeconfig"

    def command(self) -> list[str | Path]:
        cert, key = self.pki.issue("apiserver", "kube-apiserver", server=True)
        kubelet_cert, kubelet_key = self.pki.issue(
            "kubelet-client", "kube-apiserver-kubelet-client", ["system:masters"]
        )
        tokens = self.folder / "tokens.csv"
        tokens.write_text(f'{TOKEN},admin,1,"system:masters"\nplain-token,plain,2\n')
        signing = self.pki.signing_key()
        return [
            sys.executable, "-m", "apiserver", f"--etcd-servers={self.store.url}", "--bind-address=127.0.0.1",
            f"--secure-port={self.port}", f"--tls-cert-file={cert}", f"--tls-private-key-file={key}",
            f"--client-ca-file={self.pki.ca}", f"--token-auth-file={tokens}",
            f"--service-account-signing-key-file={signing}", f"--service-account-key-file={signing}",
            f"--kubelet-client-certificate={kubelet_cert}", f"--kubelet-client-key={kubelet_key}",
            f"--kubelet-certificate-authority={self.pki.ca}", *self.flags,
        ]  # fmt: skip

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.process = Process("apiserver", self.command(), self.folder)
        self.write_kubeconfig(self.kubeconfig, "admin", "kubernetes-admin", ["system:masters"])
        eventually("API server ready", self.ready, START_SECONDS)

    def ready(self) -> bool:
        assert self.process is not None, "start comes first"
        if self.process.popen.poll() is not None:
            raise AssertionError(f"the API server ended:\n{self.process.log.read_text()}")
        context = ssl.create_default_context(cafile=str(self.pki.ca))
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", context=context, timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def write_kubeconfig(self, path: Path, file: str, name: str, groups: Sequence[str] = ()) -> Path:
        cert, key = self.pki.issue(file, name, groups)
        cluster = {"server": self.url, "certificate-authority": str(self.pki.ca)}
        user = {"client-certificate": str(cert), "client-key": str(key)}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": name}}],
            "current-context": "test",
        }
        path.write_text(json.dumps(document))
        return path

    def stop(self, number: int = signal.SIGTERM) -> int:
        return self.process.stop(number) if self.process is not None else 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Start a store and an API server to play with.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--store", choices=("etcd", "etcd_raft"), default="etcd")
    parser.add_argument("flags", nargs="*", help="more flags for the API server, after --")
    given = parser.parse_args()
    store = Store(given.folder / "store", given.store)
    # Nobody runs here who would make the accounts that pods need.
    flags = given.flags or ["--disable-admission-plugins=ServiceAccount"]
    server = ApiServer(given.folder, store, Pki(given.folder / "pki"), *flags)
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # they wait for sigwait, so that the children are stopped
    try:
        store.start()
        server.start()
        print(f"store {store.url}\nexport KUBECONFIG={server.kubeconfig}\nCtrl-C ends it", flush=True)
        signal.sigwait(signals)
    finally:
        server.stop()
        store.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
