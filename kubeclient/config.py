"""Where the API server is and who we are: kubeconfig files and the service account mounted into a pod."""

import base64
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class ConfigError(Exception):
    """The kubeconfig cannot be used; the text names the file and what is missing."""


@dataclass(frozen=True)
class Config:
    """``ca``, ``cert`` and ``key`` are PEM bytes; empty means not given."""

    server: str
    ca: bytes = b""
    cert: bytes = b""
    key: bytes = b""
    token: str = ""
    token_file: str = ""
    namespace: str = "default"
    tls_server_name: str = ""
    insecure_skip_tls_verify: bool = False

    @classmethod
    def load(cls, path: str | None = None, context: str | None = None) -> "Config":
        """``path``, else ``$KUBECONFIG`` (its first existing file), else ``~/.kube/config``, else the pod's account."""
        candidates = [path] if path else os.environ.get("KUBECONFIG", "").split(os.pathsep)
        candidates = [c for c in candidates if c] or [os.path.expanduser("~/.kube/config")]
        for candidate in candidates:
            if os.path.exists(candidate):
                return cls.from_kubeconfig(candidate, context)
        if path is None and SERVICE_ACCOUNT.joinpath("token").exists():
            return cls.in_cluster()
        raise ConfigError(
            f"no kubeconfig: {', '.join(candidates)} does not exist (give --kubeconfig or set KUBECONFIG)"
        )

    @classmethod
    def in_cluster(cls) -> "Config":
        host, port = (
            os.environ.get("KUBERNETES_SERVICE_HOST"),
            os.environ.get("KUBERNETES_SERVICE_PORT", "443"),
        )
        if not host:
            raise ConfigError("not inside a cluster: KUBERNETES_SERVICE_HOST is not set")
        if ":" in host:
            host = f"[{host}]"
        return cls(
            server=f"https://{host}:{port}",
            ca=SERVICE_ACCOUNT.joinpath("ca.crt").read_bytes(),
            token_file=str(SERVICE_ACCOUNT / "token"),
            namespace=SERVICE_ACCOUNT.joinpath("namespace").read_text().strip(),
        )

    @classmethod
    def from_kubeconfig(cls, path: str, context: str | None = None) -> "Config":
        import yaml

        with open(path, "rb") as file:
            try:
                document = yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
            except yaml.YAMLError as error:
                raise ConfigError(f"{path} is not YAML: {error}") from None
        if not isinstance(document, dict):
            raise ConfigError(f"{path} is not a kubeconfig: it holds no mapping")
        name = context or document.get("current-context") or ""
        chosen = _named(document, "contexts", name, path).get("context") or {}
        cluster = _named(document, "clusters", chosen.get("cluster", ""), path).get("cluster") or {}
        user: dict[str, Any] = {}
        if chosen.get("user"):
            user = _named(document, "users", chosen["user"], path).get("user") or {}
        if not cluster.get("server"):
            raise ConfigError(f"{path}: cluster {chosen.get('cluster')!r} names no server")
        folder = Path(path).parent
        return cls(
            server=cluster["server"].rstrip("/"),
            ca=_material(cluster, "certificate-authority", folder),
            cert=_material(user, "client-certificate", folder),
            key=_material(user, "client-key", folder),
            token=user.get("token", ""),
            token_file=str(folder / user["tokenFile"]) if user.get("tokenFile") else "",
            namespace=chosen.get("namespace") or "default",
            tls_server_name=cluster.get("tls-server-name", ""),
            insecure_skip_tls_verify=bool(cluster.get("insecure-skip-tls-verify")),
        )

    def bearer_token(self) -> str:
        """Read anew each time it is a file: bound tokens are rotated."""
        return Path(self.token_file).read_text().strip() if self.token_file else self.token

    def ssl_context(self) -> ssl.SSLContext:
        """Trusts only the given CA (the system's when none is given) and presents the client certificate."""
        if self.insecure_skip_tls_verify:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        else:
            context = ssl.create_default_context(cadata=self.ca.decode() if self.ca else None)
        if self.cert:
            _load_cert_chain(context, self.cert, self.key)
        return context


def _load_cert_chain(context: ssl.SSLContext, cert: bytes, key: bytes) -> None:
    """``load_cert_chain`` only takes paths, so the key passes through an anonymous file in memory, never the disk."""
    descriptor = os.memfd_create("client-certificate", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(cert + b"\n" + key)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _named(document: dict[str, Any], section: str, name: str, path: str) -> dict[str, Any]:
    for entry in document.get(section) or []:
        if entry.get("name") == name:
            return entry
    raise ConfigError(f"{path}: {section} has no entry named {name!r}")


def _material(entry: dict[str, Any], field: str, folder: Path) -> bytes:
    if entry.get(f"{field}-data"):
        return base64.b64decode(entry[f"{field}-data"])
    if entry.get(field):
        try:
            return (folder / entry[field]).read_bytes()
        except OSError as error:
            raise ConfigError(f"{field} {entry[field]}: {error.strerror}") from None
    return b""
