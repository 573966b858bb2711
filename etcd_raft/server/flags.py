"""Every flag of etcd 3.5, from the command line, the environment (``ETCD_NAME`` for ``--name``) or a YAML file (``--config-file``).

A flag is honoured (``parser``), has nothing here to act on and is accepted with a line in the log (``NO_EFFECT``), or is accepted only
with the values that describe what this store does anyway (``ONLY``): nobody shall believe in a protection that is not there.
"""

import argparse
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_OFF = ("", "false", "0")

# Knobs of machinery that this store has not. What they would do to speed and memory, something else does here.
NO_EFFECT = {
    "max-snapshots", "max-wals", "backend-batch-interval", "backend-batch-limit", "backend-bbolt-freelist-type",
    "initial-election-tick-advance", "socket-reuse-port", "socket-reuse-address", "self-signed-cert-validity", "v2-deprecation",
    "grpc-keepalive-min-time", "grpc-keepalive-interval", "grpc-keepalive-timeout", "max-concurrent-streams", "log-rotation-config-json",
    "enable-log-rotation", "log-format", "logger", "bcrypt-cost", "discovery-fallback", "discovery-proxy", "discovery-srv-name",
    "proxy-failure-wait", "proxy-refresh-interval", "proxy-dial-timeout", "proxy-write-timeout", "proxy-read-timeout",
    "experimental-backend-bbolt-freelist-type", "experimental-compaction-batch-limit", "experimental-compaction-sleep-interval",
    "compaction-batch-limit", "compaction-sleep-interval", "experimental-warning-apply-duration", "warning-apply-duration",
    "experimental-warning-unary-request-duration", "warning-unary-request-duration", "experimental-memory-mlock", "memory-mlock",
    "experimental-bootstrap-defrag-threshold-megabytes", "bootstrap-defrag-threshold-megabytes",
    "experimental-txn-mode-write-with-shared-buffer", "downgrade-check-time", "experimental-downgrade-check-time",
    "experimental-distributed-tracing-address", "experimental-distributed-tracing-service-name",
    "experimental-distributed-tracing-instance-id", "experimental-distributed-tracing-sampling-rate", "metrics",
    "experimental-lease-checkpoint-persist", "experimental-enable-lease-checkpoint-persist", "experimental-compact-hash-check-time",
    "compact-hash-check-time", "experimental-enable-lease-checkpoint", "experimental-stop-grpc-service-on-defrag", "enable-pprof",
}  # fmt: skip
# Which values are taken, and why no other.
ONLY: dict[str, tuple[tuple[str, ...], str]] = {
    "wal-dir": (_OFF, "the log lies in DATA-DIR/member/wal; put the data directory where it should be, or link that folder"),
    "pre-vote": (("true",), "an election always begins with a pre-vote here"),
    "enable-v2": (_OFF, "there is no v2 API"),
    "experimental-enable-v2v3": (_OFF, "there is no v2 API"),
    "proxy": (("", "off"), "there is no v2 proxy"),
    "discovery": (_OFF, "there is no discovery: name all first members in --initial-cluster"),
    "discovery-srv": (_OFF, "there is no discovery: name all first members in --initial-cluster"),
    "auto-tls": (_OFF, "no certificate is made here: give --cert-file and --key-file"),
    "peer-auto-tls": (_OFF, "no certificate is made here: give --peer-cert-file and --peer-key-file"),
    "client-crl-file": (_OFF, "revocation lists are not looked at"),
    "peer-crl-file": (_OFF, "revocation lists are not looked at"),
    "client-cert-file": (_OFF, "members show --peer-cert-file to each other"),
    "client-key-file": (_OFF, "members show --peer-cert-file to each other"),
    "peer-client-cert-file": (_OFF, "members show --peer-cert-file to each other"),
    "peer-client-key-file": (_OFF, "members show --peer-cert-file to each other"),
    "client-cert-allowed-hostname": (_OFF, "names in certificates of clients are not compared; use users and roles"),
    "client-cert-allowed-cn": (_OFF, "names in certificates of clients are not compared; use users and roles"),
    "peer-cert-allowed-cn": (_OFF, "names in certificates of members are not compared; use an authority of their own"),
    "peer-cert-allowed-hostname": (_OFF, "names in certificates of members are not compared; use an authority of their own"),
    "peer-skip-client-san-verification": (_OFF, "addresses in certificates of members that dial are never compared; leave it out"),
    "experimental-peer-skip-client-san-verification": (_OFF, "addresses in certificates of members that dial are never compared"),
    "auth-token": (("", "simple"), "tokens are of the store's own kind (simple); JSON Web Tokens are not taken"),
    "auth-token-ttl": (("300",), "a token lives five minutes"),
    "cors": (("", "*"), "pages may be read from any site"),
    "host-whitelist": (("", "*"), "the Host header is not looked at"),
    "log-outputs": (("", "default", "stderr"), "the log goes to standard error"),
    "unsafe-no-fsync": (_OFF, "what is acknowledged is on the disk, always"),
    "experimental-corrupt-check-time": (("", "0", "0s"), "members are compared when they start (--experimental-initial-corrupt-check), "
                                        "or by etcdctl endpoint hashkv"),
    "corrupt-check-time": (("", "0", "0s"), "members are compared when they start, or by etcdctl endpoint hashkv"),
    "experimental-compact-hash-check-enabled": (_OFF, "members are compared when they start, or by etcdctl endpoint hashkv"),
    "experimental-enable-distributed-tracing": (_OFF, "there is no tracing"),
    "experimental-local-address": (_OFF, "peers are dialled from whatever address the system chooses"),
    "experimental-max-learners": (("1",), "one learner at a time"),
    "max-learners": (("1",), "one learner at a time"),
    "exit-on-discovery-failure": (_OFF, "there is no discovery"),
}  # fmt: skip
_SECTIONS = {"client-transport-security": "", "peer-transport-security": "peer-"}
_ALLOWED_IN_FILE = {"allowed-cn": "cert-allowed-cn", "allowed-hostname": "cert-allowed-hostname"}


class FlagError(Exception):
    """A flag that cannot be; the text names it."""


_OTHERS = NO_EFFECT | set(ONLY)


def parser(others: Iterable[str] = ()) -> argparse.ArgumentParser:
    """``others`` of etcd's flags are known besides those that are honoured: the few that are given, since making all takes a while."""
    p = argparse.ArgumentParser(
        prog="etcd_raft", description="A key-value store that speaks the etcd v3 API.", allow_abbrev=False,
        epilog="Flags may also come from the environment (ETCD_NAME for --name). What etcd has besides these is accepted where it changes "
        "nothing, and refused with the reason where it would promise what is not done.",
    )  # fmt: skip
    p.add_argument("--name", default="default", help="name of this member")
    p.add_argument("--data-dir", default="", help="where everything is kept (default NAME.etcd)")
    p.add_argument("--config-file", default="", help="YAML with the flags; all others are then overlooked")
    p.add_argument("--listen-client-urls", default="http://localhost:2379")
    p.add_argument("--advertise-client-urls", default="")
    p.add_argument("--listen-peer-urls", default="http://localhost:2380")
    p.add_argument("--initial-advertise-peer-urls", default="")
    p.add_argument("--initial-cluster", default="", help="NAME=PEERURL,... of all first members")
    p.add_argument("--initial-cluster-state", default="new", choices=("new", "existing"))
    p.add_argument("--initial-cluster-token", default="etcd-cluster")
    p.add_argument(
        "--listen-metrics-urls",
        default="",
        help="where /health and /metrics are served, besides the clients' addresses",
    )
    p.add_argument("--heartbeat-interval", type=int, default=100, help="milliseconds")
    p.add_argument("--election-timeout", type=int, default=1000, help="milliseconds")
    for prefix, who in (("", "clients"), ("peer-", "members")):
        p.add_argument(f"--{prefix}cert-file", default="", help=f"certificate shown to {who}")
        p.add_argument(f"--{prefix}key-file", default="")
        p.add_argument(f"--{prefix}trusted-ca-file", default="")
        _switch(p, f"--{prefix}client-cert-auth", default=False)
    p.add_argument("--cipher-suites", default="", help="names of TLS 1.2 suites as Go has them")
    p.add_argument("--tls-min-version", default="", choices=("", "TLS1.2", "TLS1.3"))
    p.add_argument("--tls-max-version", default="", choices=("", "TLS1.2", "TLS1.3"))
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
        "--experimental-watch-progress-notify-interval", "--watch-progress-notify-interval", default="10m", type=seconds
    )
    _switch(
        p, "--experimental-initial-corrupt-check", default=False, help="compare with the other members before serving"
    )
    p.add_argument("--feature-gates", default="", help="InitialCorruptCheck=true is the flag of that name")
    _switch(p, "--strict-reconfig-check", default=True)
    _switch(p, "--force-new-cluster", default=False)
    _switch(p, "--enable-grpc-gateway", default=True, help="etcd's JSON gateway on the clients' addresses")
    p.add_argument("--log-level", default="info", choices=("debug", "info", "warn", "error", "panic", "fatal"))
    for name in others:
        p.add_argument(f"--{name}", nargs="?", const="true", default=None, help=argparse.SUPPRESS)
    return p


def parse(argv: list[str], environment: Mapping[str, str] | None = None) -> tuple[argparse.Namespace, list[str]]:
    """The flags, and what should be said about them in the log; raises ``FlagError``. What argparse refuses exits with its usage."""
    environment = os.environ if environment is None else environment
    # Go takes one dash for two.
    argv = [re.sub(r"^-([a-z])", r"--\1", argument) for argument in argv]
    notes: list[str] = []
    variables = {name: value for name, value in environment.items() if name.startswith("ETCD_") and value}
    path = _given(argv, "--config-file") or variables.get("ETCD_CONFIG_FILE", "")
    if path:
        argv, variables = _from_file(Path(path)), {}
        notes.append(f"flags are those of {path} alone")
    given = {argument[2:].partition("=")[0] for argument in argv if argument.startswith("--")}
    p = parser(_OTHERS & (given | {variable[5:].lower().replace("_", "-") for variable in variables}))
    if path:
        for name in sorted(given - set(_names(p))):
            raise FlagError(f"--config-file: {path}: {name!r} is not a flag of etcd's that is known here")
    defaults, said = _from_environment(variables, p, given)
    p.set_defaults(**defaults)
    notes += said
    flags = p.parse_args(argv)
    notes += _check_others(flags)
    return flags, notes


def _given(argv: list[str], name: str) -> str:
    for at, argument in enumerate(argv):
        if argument == name:
            return (argv[at + 1 :] or [""])[0]
        if argument.startswith(f"{name}="):
            return argument.partition("=")[2]
    return ""


def _names(p: argparse.ArgumentParser) -> dict[str, str]:
    """Flag without dashes -> attribute."""
    return {option[2:]: action.dest for action in p._actions for option in action.option_strings if option[:2] == "--"}


def _from_environment(
    variables: Mapping[str, str], p: argparse.ArgumentParser, given: set[str]
) -> tuple[dict[str, str], list[str]]:
    names = _names(p)
    known = {f"ETCD_{name.upper().replace('-', '_')}": name for name in names}
    defaults: dict[str, str] = {}
    notes: list[str] = []
    for variable, value in variables.items():
        name = known.get(variable)
        if name is None:
            notes.append(f"unrecognized environment variable {variable}={value}")
        elif name in given:
            notes.append(f"recognized environment variable {variable}, but unused: shadowed by the flag --{name}")
        else:
            defaults[names[name]] = value  # argparse converts a default that is text as it converts a flag
    return defaults, notes


def _from_file(path: Path) -> list[str]:
    """The YAML file as a command line."""
    import yaml  # few start with a file, and it takes a while to load

    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise FlagError(f"--config-file: {path}: {error}") from None
    if not isinstance(content, dict):
        raise FlagError(f"--config-file: {path} is not a mapping of flags")
    argv: list[str] = []
    for key, value in content.items():
        if key in _SECTIONS:
            for inner, setting in (value or {}).items():
                argv += _argument(_SECTIONS[key] + _ALLOWED_IN_FILE.get(inner, inner), setting)
        else:
            argv += _argument(str(key), value)
    return argv


def _argument(name: str, value: Any) -> list[str]:
    if value is None or value == "":
        return []
    if isinstance(value, list):
        value = ",".join(map(str, value))
    elif isinstance(value, bool):
        value = str(value).lower()
    if name == "proxy" and value == "false":
        value = "off"  # YAML reads it so
    return [f"--{name}={value}"]


def _check_others(flags: argparse.Namespace) -> list[str]:
    notes = []
    for name in sorted(NO_EFFECT):
        value = getattr(flags, name.replace("-", "_"), None)
        if value is not None:
            notes.append(f"--{name}={value} has nothing to act on in this store")
    for name, (allowed, why) in ONLY.items():
        value = getattr(flags, name.replace("-", "_"), None)
        if value is not None and value not in allowed:
            raise FlagError(f"--{name}={value}: {why}")
    for gate in filter(None, flags.feature_gates.split(",")):
        name, _, value = gate.partition("=")
        if name == "InitialCorruptCheck":
            flags.experimental_initial_corrupt_check = boolean(value)
        elif value.lower() != "false":
            raise FlagError(f"--feature-gates: {gate}: this store has no such feature")
    return notes


def _switch(p: argparse.ArgumentParser, *names: str, default: bool, help: str | None = None) -> None:
    p.add_argument(*names, nargs="?", const=True, default=default, type=boolean, help=help)


def boolean(text: str) -> bool:
    if text.lower() in ("true", "1", "t"):
        return True
    if text.lower() in ("false", "0", "f"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")


def seconds(text: str) -> float:
    """A duration as Go writes it, such as ``1m30s``."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)", text)
    if text == "0":
        return 0.0
    if not parts or "".join(a + b for a, b in parts) != text:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 10m or 1h30m")
    return sum(float(amount) * _UNITS[unit] for amount, unit in parts)
