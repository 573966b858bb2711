"""Flags with etcd's names, and what they come to."""

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

VERSION = "3.5.1"  # the etcd release whose API this is; clients ask for it to know what they may use
API_VERSION = "3.5"


class ConfigError(Exception):
    """A flag or a combination of flags that cannot be; the text names it."""


@dataclass(slots=True)
class TLS:
    cert: str = ""
    key: str = ""
    ca: str = ""
    client_auth: bool = False


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
    log_level: str = "info"


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="etcd_raft", description="A key-value store that speaks the etcd v3 API.")
    p.add_argument("--name", default="default", help="name of this member")
    p.add_argument("--data-dir", default="", help="where everything is kept (default NAME.etcd)")
    p.add_argument("--listen-client-urls", default="http://localhost:2379")
    p.add_argument("--advertise-client-urls", default="")
    p.add_argument("--listen-peer-urls", default="http://localhost:2380")
    p.add_argument("--initial-advertise-peer-urls", default="")
    p.add_argument("--initial-cluster", default="", help="NAME=PEERURL,... of all first members")
    p.add_argument("--initial-cluster-state", default="new", choices=("new", "existing"))
    p.add_argument("--initial-cluster-token", default="etcd-cluster")
    p.add_argument(
        "--listen-metrics-urls", default="", help="where /health, /version and /metrics are served over HTTP"
    )
    p.add_argument("--heartbeat-interval", type=int, default=100, help="milliseconds")
    p.add_argument("--election-timeout", type=int, default=1000, help="milliseconds")
    for prefix, who in (("", "clients"), ("peer-", "members")):
        p.add_argument(f"--{prefix}cert-file", default="", help=f"certificate shown to {who}")
        p.add_argument(f"--{prefix}key-file", default="")
        p.add_argument(f"--{prefix}trusted-ca-file", default="")
        p.add_argument(f"--{prefix}client-cert-auth", nargs="?", const=True, default=False, type=_boolean)
    p.add_argument("--quota-backend-bytes", type=int, default=0, help="space quota; 0 is 2 GiB")
    p.add_argument("--snapshot-count", type=int, default=10_000, help="applied entries between two marks in the log")
    # etcd calls it --experimental-snapshot-catchup-entries, later --snapshot-catchup-entries.
    p.add_argument(
        "--snapshot-catchup-entries", "--experimental-snapshot-catchup-entries", type=int, default=5_000,
        help="entries kept behind the applied one, so that a follower that lags a little needs no snapshot",
    )  # fmt: skip
    p.add_argument("--max-request-bytes", type=int, default=1536 * 1024)
    p.add_argument("--max-txn-ops", type=int, default=128)
    p.add_argument("--auto-compaction-mode", default="periodic", choices=("periodic", "revision"))
    p.add_argument("--auto-compaction-retention", default="0", help="0 is off; hours or a duration; or revisions")
    p.add_argument(
        "--experimental-watch-progress-notify-interval",
        "--watch-progress-notify-interval",
        default="10m",
        type=_seconds,
    )
    p.add_argument("--strict-reconfig-check", nargs="?", const=True, default=True, type=_boolean)
    p.add_argument("--force-new-cluster", nargs="?", const=True, default=False, type=_boolean)
    p.add_argument("--log-level", default="info", choices=("debug", "info", "warn", "error", "panic", "fatal"))
    return p


def from_flags(argv: list[str]) -> ServerConfig:
    """Raises ``ConfigError``; what argparse refuses exits with its usage."""
    flags = parser().parse_args(argv)
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
    if flags.auto_compaction_retention not in ("0", ""):
        raise ConfigError(
            "--auto-compaction-retention: automatic compaction is not there; the API server compacts by itself"
        )
    if flags.election_timeout < 5 * flags.heartbeat_interval:
        raise ConfigError("--election-timeout should be at least 5 times --heartbeat-interval")
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
        client_tls=TLS(flags.cert_file, flags.key_file, flags.trusted_ca_file, flags.client_cert_auth),
        peer_tls=TLS(
            flags.peer_cert_file, flags.peer_key_file, flags.peer_trusted_ca_file, flags.peer_client_cert_auth
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


def _boolean(text: str) -> bool:
    if text.lower() in ("true", "1", "t"):
        return True
    if text.lower() in ("false", "0", "f"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def _seconds(text: str) -> float:
    """A duration as Go writes it, such as ``1m30s``."""
    import re

    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text)
    if not parts or "".join(a + b for a, b in parts) != text:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 10m or 1h30m")
    return sum(float(amount) * _UNITS[unit] for amount, unit in parts)


duration = _seconds
