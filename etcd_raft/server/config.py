"""What the flags come to, checked against each other."""

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from etcd_raft.server import flags as etcd_flags
from etcd_raft.server.flags import FlagError

VERSION = "3.5.1"  # the etcd release whose API this is; clients ask for it to know what they may use
API_VERSION = "3.5"


class ConfigError(FlagError):
    """A combination of flags that cannot be; the text names it."""


@dataclass(slots=True)
class TLS:
    cert: str = ""
    key: str = ""
    ca: str = ""
    client_auth: bool = False
    ciphers: str = ""  # OpenSSL's names, for TLS 1.2
    versions: tuple[str, str] = ("", "")  # from and to


@dataclass(slots=True)
class ServerConfig:
    name: str
    data_dir: Path
    listen_client_urls: list[str]
    advertise_client_urls: list[str]
    listen_peer_urls: list[str]
    initial_advertise_peer_urls: list[str]
    initial_cluster: dict[str, list[str]]
    new_cluster: bool
    token: str
    listen_metrics_urls: list[str]
    heartbeat_ms: int
    election_ms: int
    client_tls: TLS = field(default_factory=TLS)
    peer_tls: TLS = field(default_factory=TLS)
    quota_bytes: int = 2 << 30
    snapshot_count: int = 10_000
    keep_entries: int = 5_000
    max_request_bytes: int = 1536 * 1024
    max_txn_ops: int = 128
    progress_notify_seconds: float = 600.0
    strict_reconfig_check: bool = True
    force_new_cluster: bool = False
    grpc_gateway: bool = True
    compaction_mode: str = "periodic"
    compaction_retention: float = 0.0  # seconds or revisions; 0: never
    initial_corrupt_check: bool = False
    notes: list[str] = field(default_factory=list)  # about the flags, for the log
    log_level: str = "info"


def from_flags(argv: list[str]) -> ServerConfig:
    """Raises ``ConfigError``; what argparse refuses exits with its usage."""
    flags, notes = etcd_flags.parse(argv)
    peer_urls = _urls(flags.listen_peer_urls, "--listen-peer-urls")
    advertised = _urls(flags.initial_advertise_peer_urls, "--initial-advertise-peer-urls") or peer_urls
    client_urls = _urls(flags.listen_client_urls, "--listen-client-urls")
    cluster = parse_cluster(flags.initial_cluster) if flags.initial_cluster else {flags.name: advertised}
    if flags.name not in cluster:
        raise ConfigError(f"--initial-cluster does not hold this member's --name {flags.name!r}")
    if sorted(cluster[flags.name]) != sorted(advertised):
        raise ConfigError(
            f"--initial-cluster says {','.join(cluster[flags.name])} for {flags.name!r}, "
            f"--initial-advertise-peer-urls says {','.join(advertised)}"
        )
    if len({url for urls in cluster.values() for url in urls}) < sum(map(len, cluster.values())):
        raise ConfigError(f"--initial-cluster has one address twice: {flags.initial_cluster}")
    if flags.election_timeout < 5 * flags.heartbeat_interval:
        raise ConfigError("--election-timeout should be at least 5 times --heartbeat-interval")
    ciphers, versions = _ciphers(flags.cipher_suites), (flags.tls_min_version, flags.tls_max_version)
    if all(versions) and versions[0] > versions[1]:
        raise ConfigError(f"--tls-min-version={versions[0]} is above --tls-max-version={versions[1]}")
    config = ServerConfig(
        name=flags.name,
        data_dir=Path(flags.data_dir or f"{flags.name}.etcd"),
        listen_client_urls=client_urls,
        advertise_client_urls=_urls(flags.advertise_client_urls, "--advertise-client-urls") or client_urls,
        listen_peer_urls=peer_urls,
        initial_advertise_peer_urls=advertised,
        initial_cluster=cluster,
        new_cluster=flags.initial_cluster_state == "new",
        token=flags.initial_cluster_token,
        listen_metrics_urls=_urls(flags.listen_metrics_urls, "--listen-metrics-urls"),
        heartbeat_ms=flags.heartbeat_interval,
        election_ms=flags.election_timeout,
        client_tls=TLS(
            flags.cert_file, flags.key_file, flags.trusted_ca_file, flags.client_cert_auth, ciphers, versions
        ),
        peer_tls=TLS(
            flags.peer_cert_file,
            flags.peer_key_file,
            flags.peer_trusted_ca_file,
            flags.peer_client_cert_auth,
            ciphers,
            versions,
        ),
        quota_bytes=flags.quota_backend_bytes or 2 << 30,
        snapshot_count=flags.snapshot_count,
        keep_entries=flags.snapshot_catchup_entries,
        max_request_bytes=flags.max_request_bytes,
        max_txn_ops=flags.max_txn_ops,
        progress_notify_seconds=flags.experimental_watch_progress_notify_interval,
        strict_reconfig_check=flags.strict_reconfig_check,
        force_new_cluster=flags.force_new_cluster,
        log_level=flags.log_level,
        grpc_gateway=flags.enable_grpc_gateway,
        compaction_mode=flags.auto_compaction_mode,
        compaction_retention=_retention(flags.auto_compaction_mode, flags.auto_compaction_retention),
        initial_corrupt_check=flags.experimental_initial_corrupt_check,
        notes=notes,
    )
    _check_tls(config.client_tls, client_urls, "--cert-file and --key-file")
    _check_tls(config.peer_tls, peer_urls, "--peer-cert-file and --peer-key-file")
    return config


def address(url: str) -> tuple[str, int]:
    """Host and port of a listening or dialled URL."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 0


def _urls(text: str, flag: str) -> list[str]:
    urls = [url.rstrip("/") for url in text.split(",") if url]
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port is None or parts.path:
            raise ConfigError(f"{flag}: {url!r} is not of the form http(s)://HOST:PORT")
    return urls


def parse_cluster(text: str) -> dict[str, list[str]]:
    cluster: dict[str, list[str]] = {}
    for pair in text.split(","):
        name, separator, url = pair.partition("=")
        if not separator:
            raise ConfigError(f"--initial-cluster: {pair!r} is not of the form NAME=PEERURL")
        cluster.setdefault(name, []).extend(_urls(url, "--initial-cluster"))
    return cluster


def _check_tls(tls: TLS, urls: list[str], flags: str) -> None:
    if any(url.startswith("https") for url in urls) and not (tls.cert and tls.key):
        raise ConfigError(f"{flags} are needed to listen on {', '.join(urls)}")


def _retention(mode: str, text: str) -> float:
    """Seconds (a bare number is hours), or revisions."""
    if text.isdigit():
        return float(int(text) * 3600 if mode == "periodic" else int(text))
    try:
        found = etcd_flags.seconds(text or "0")
    except argparse.ArgumentTypeError as error:
        raise ConfigError(f"--auto-compaction-retention: {error}") from None
    if mode == "revision" and found:
        raise ConfigError(
            f"--auto-compaction-retention={text} is a duration, --auto-compaction-mode=revision wants a number"
        )
    return found


# Go's names of what TLS 1.2 may use. TLS 1.3 has suites of its own, which neither Go nor this lets anyone choose.
_SUITES = {
    f"TLS_ECDHE_{key}_WITH_{go}": f"ECDHE-{key}-{openssl}"
    for key in ("RSA", "ECDSA")
    for go, openssl in (
        ("AES_128_GCM_SHA256", "AES128-GCM-SHA256"),
        ("AES_256_GCM_SHA384", "AES256-GCM-SHA384"),
        ("CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305"),
        ("CHACHA20_POLY1305", "CHACHA20-POLY1305"),
        ("AES_128_CBC_SHA256", "AES128-SHA256"),
        ("AES_128_CBC_SHA", "AES128-SHA"),
        ("AES_256_CBC_SHA", "AES256-SHA"),
    )
}


def _ciphers(text: str) -> str:
    names = [name for name in text.split(",") if name]
    for name in names:
        if name not in _SUITES:
            raise ConfigError(
                f"--cipher-suites: unexpected TLS cipher suite {name!r}; known are {', '.join(sorted(_SUITES))}"
            )
    return ":".join(_SUITES[name] for name in names)
