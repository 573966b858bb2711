"""Flags of etcd: from the command line, the environment and a file; honoured, or refused with the reason."""

import os
import shlex
from pathlib import Path

import pytest

from etcd_raft.server import flags
from etcd_raft.server.config import ConfigError, from_flags
from etcd_raft.server.flags import FlagError

# The command of a static pod as kubeadm 1.33 writes it.
KUBEADM = shlex.split("""
--advertise-client-urls=https://10.0.0.1:2379 --cert-file=/etc/kubernetes/pki/etcd/server.crt --client-cert-auth=true
--data-dir=/var/lib/etcd --experimental-initial-corrupt-check=true --experimental-watch-progress-notify-interval=5s
--initial-advertise-peer-urls=https://10.0.0.1:2380 --initial-cluster=cp=https://10.0.0.1:2380
--key-file=/etc/kubernetes/pki/etcd/server.key --listen-client-urls=https://127.0.0.1:2379,https://10.0.0.1:2379
--listen-metrics-urls=http://127.0.0.1:2381 --listen-peer-urls=https://10.0.0.1:2380 --name=cp
--peer-cert-file=/etc/kubernetes/pki/etcd/peer.crt --peer-client-cert-auth=true --peer-key-file=/etc/kubernetes/pki/etcd/peer.key
--peer-trusted-ca-file=/etc/kubernetes/pki/etcd/ca.crt --snapshot-count=10000 --trusted-ca-file=/etc/kubernetes/pki/etcd/ca.crt
""")


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("ETCD_")]:
        monkeypatch.delenv(name)


def test_the_command_of_a_static_pod_by_kubeadm_is_understood() -> None:
    config = from_flags(KUBEADM)
    assert config.name == "cp"
    assert config.initial_corrupt_check
    assert config.progress_notify_seconds == 5
    assert config.client_tls.client_auth
    assert config.peer_tls.client_auth
    assert config.listen_metrics_urls == ["http://127.0.0.1:2381"]
    assert config.notes == []


def test_one_dash_is_as_good_as_two() -> None:
    assert from_flags(["-name", "n", "-data-dir=/d"]).data_dir == Path("/d")


def test_the_environment_stands_for_flags_that_are_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETCD_NAME", "from-environment")
    monkeypatch.setenv("ETCD_ELECTION_TIMEOUT", "2000")
    monkeypatch.setenv("ETCD_FORCE_NEW_CLUSTER", "true")
    monkeypatch.setenv("ETCD_DATA_DIR", "/shadowed")
    monkeypatch.setenv("ETCD_NONSENSE", "1")
    config = from_flags(["--data-dir=/given"])
    assert (config.name, config.election_ms, config.force_new_cluster) == ("from-environment", 2000, True)
    assert config.data_dir == Path("/given")
    assert any("ETCD_DATA_DIR" in note and "shadowed" in note for note in config.notes)
    assert any("unrecognized environment variable ETCD_NONSENSE" in note for note in config.notes)


def test_the_environment_may_be_wrong_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ETCD_ELECTION_TIMEOUT", "soon")
    with pytest.raises(SystemExit):
        from_flags([])
    assert "--election-timeout" in capsys.readouterr().err


SAMPLE = """
name: 'm1'
data-dir: /var/lib/m1
wal-dir:
snapshot-count: 5000
heartbeat-interval: 200
election-timeout: 2000
quota-backend-bytes: 0
listen-peer-urls: https://localhost:2380
listen-client-urls: https://localhost:2379
max-snapshots: 5
max-wals: 5
cors:
initial-advertise-peer-urls: https://localhost:2380
advertise-client-urls: https://localhost:2379
discovery:
discovery-fallback: 'proxy'
initial-cluster: m1=https://localhost:2380
initial-cluster-token: 'etcd-cluster'
initial-cluster-state: 'new'
strict-reconfig-check: false
enable-pprof: true
proxy: 'off'
client-transport-security:
  cert-file: c.crt
  key-file: c.key
  client-cert-auth: true
  trusted-ca-file: ca.crt
  auto-tls: false
peer-transport-security:
  cert-file: p.crt
  key-file: p.key
  trusted-ca-file: ca.crt
self-signed-cert-validity: 1
log-level: debug
logger: zap
log-outputs: [stderr]
force-new-cluster: false
auto-compaction-mode: periodic
auto-compaction-retention: "1"
tls-min-version: 'TLS1.3'
"""


def test_a_file_stands_for_all_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "etcd.conf.yml"
    file.write_text(SAMPLE)
    monkeypatch.setenv("ETCD_NAME", "overlooked")
    config = from_flags(["--config-file", str(file), "--name=overlooked"])
    assert config.name == "m1"
    assert config.snapshot_count == 5000
    assert not config.strict_reconfig_check
    assert (config.client_tls.cert, config.client_tls.ca, config.client_tls.client_auth) == ("c.crt", "ca.crt", True)
    assert (config.peer_tls.cert, config.peer_tls.client_auth) == ("p.crt", False)
    assert config.compaction_retention == 3600
    assert config.client_tls.versions == ("TLS1.3", "")
    assert any("--max-wals=5 has nothing to act on" in note for note in config.notes)


def test_a_file_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "etcd.conf.yml"
    file.write_text("name: a\nnane: b\n")
    with pytest.raises(FlagError, match="'nane' is not a flag"):
        from_flags([f"--config-file={file}"])
    with pytest.raises(FlagError, match="missing"):
        from_flags([f"--config-file={tmp_path / 'missing'}"])


@pytest.mark.parametrize(
    ("argument", "why"),
    [
        ("--unsafe-no-fsync", "what is acknowledged is on the disk"),
        ("--wal-dir=/elsewhere", "the log lies in"),
        ("--auth-token=jwt,pub-key=x", "JSON Web Tokens"),
        ("--client-crl-file=x", "revocation lists"),
        ("--peer-cert-allowed-cn=x", "not compared"),
        ("--auto-tls=true", "no certificate is made"),
        ("--discovery=https://discovery.etcd.io/x", "no discovery"),
        ("--cipher-suites=TLS_RSA_WITH_RC4_128_SHA", "unexpected TLS cipher suite"),
        ("--auto-compaction-retention=soon", "not a duration"),
        ("--feature-gates=Magic=true", "no such feature"),
        ("--election-timeout=100", "at least 5 times"),
        ("--initial-cluster=default=http://localhost:2380,b=http://localhost:2380", "twice"),
    ],
)
def test_what_is_not_done_is_refused_with_the_reason(argument: str, why: str) -> None:
    with pytest.raises(FlagError, match=why):
        from_flags([argument])


def test_what_is_done_anyway_may_be_asked_for() -> None:
    config = from_flags([
        "--pre-vote=true", "--enable-v2=false", "--auth-token=simple", "--cors=*", "--proxy=off", "--log-outputs=stderr",
        "--feature-gates=InitialCorruptCheck=true,Other=false", "--auto-compaction-mode=revision", "--auto-compaction-retention=1000",
        "--cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    ])  # fmt: skip
    assert config.initial_corrupt_check
    assert (config.compaction_mode, config.compaction_retention) == ("revision", 1000)
    assert config.client_tls.ciphers == "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305"


def test_a_retention_of_revisions_is_no_duration() -> None:
    with pytest.raises(ConfigError, match="is a duration"):
        from_flags(["--auto-compaction-mode=revision", "--auto-compaction-retention=5m"])


def test_no_flag_has_two_answers() -> None:
    assert not flags.NO_EFFECT & set(flags.ONLY)
