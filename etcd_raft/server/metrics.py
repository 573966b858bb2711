"""/metrics: Prometheus text under etcd's names, so that etcd's dashboards and alerts (etcd-mixin) serve for this store too.

Only what is measured is here: a name of etcd's that stands for something this store has not (a page rebalanced, a v2 store) is left out.
"""

import os
import resource
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from etcd_raft.histogram import Histogram
from etcd_raft.server.config import API_VERSION, VERSION

if TYPE_CHECKING:
    from etcd_raft.server.endpoints import Api

_CODES = (
    "OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists", "PermissionDenied",
    "ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented", "Internal", "Unavailable", "DataLoss",
    "Unauthenticated",
)  # fmt: skip
_SHOWN = {name.upper(): name for name in _CODES}


def shown_code(code: str) -> str:
    """A gRPC code as Go spells it: ``OUT_OF_RANGE`` is ``OutOfRange``."""
    return "Canceled" if code == "CANCELLED" else _SHOWN[code.replace("_", "")]


class CallCount:
    """What has become of the calls of one method."""

    __slots__ = ("handled", "kind", "received", "sent", "started")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.started = self.received = self.sent = 0
        self.handled: dict[str, int] = {}

    def end(self, code: str) -> None:
        self.handled[code] = self.handled.get(code, 0) + 1


def render(api: "Api") -> str:
    lines: list[str] = []
    for name, kind, value in (*_server(api), *_store(api), *_process(api)):
        lines += (f"# TYPE {name} {kind}", f"{name} {_number(value)}")
    for name, label, text in (
        ("etcd_server_id", "server_id", f"{api.member.id:x}"),
        ("etcd_server_version", "server_version", VERSION),
        ("etcd_cluster_version", "cluster_version", API_VERSION),
    ):
        lines += (f"# TYPE {name} gauge", f'{name}{{{label}="{text}"}} 1')
    backend = api.member.state.backend
    lines += _histogram("etcd_disk_wal_fsync_duration_seconds", api.member.node.wal.sync_times)
    lines += _histogram("etcd_disk_backend_commit_duration_seconds", backend.commit_times)
    lines += _histogram("etcd_disk_backend_defrag_duration_seconds", api.maintenance.defrag_times)
    lines += _histogram("etcd_disk_backend_snapshot_duration_seconds", api.maintenance.snapshot_times)
    lines += _peers(api)
    lines += _calls(api)
    return "\n".join(lines) + "\n"


_Row = tuple[str, str, float]


def _server(api: "Api") -> Iterable[_Row]:
    node = api.member.node
    raft = node.raft
    yield "etcd_server_has_leader", "gauge", int(bool(node.leader))
    yield "etcd_server_is_leader", "gauge", int(node.is_leader)
    yield "etcd_server_is_learner", "gauge", int(node.id in raft.learners)
    yield "etcd_server_leader_changes_seen_total", "counter", node.leader_changes
    yield "etcd_server_proposals_committed_total", "gauge", raft.log.committed
    yield "etcd_server_proposals_applied_total", "gauge", raft.log.applied
    yield "etcd_server_proposals_pending", "gauge", node.pending
    yield "etcd_server_proposals_failed_total", "counter", node.proposals_failed
    yield "etcd_server_health_success", "counter", api.health_successes
    yield "etcd_server_health_failures", "counter", api.health_failures
    yield "etcd_server_quota_backend_bytes", "gauge", node.state.backend.quota
    received, sent = api.traffic()
    yield "etcd_network_client_grpc_received_bytes_total", "counter", received
    yield "etcd_network_client_grpc_sent_bytes_total", "counter", sent


def _store(api: "Api") -> Iterable[_Row]:
    state = api.member.state
    keys, lessor, backend = state.keys, state.lessor, state.backend
    size = backend.size()
    yield "etcd_mvcc_db_total_size_in_bytes", "gauge", size
    yield "etcd_mvcc_db_total_size_in_use_in_bytes", "gauge", min(size, backend.size_in_use())
    yield "etcd_mvcc_put_total", "counter", keys.puts
    yield "etcd_mvcc_delete_total", "counter", keys.deletes
    yield "etcd_mvcc_range_total", "counter", keys.ranges
    yield "etcd_mvcc_txn_total", "counter", keys.txns
    yield "etcd_debugging_mvcc_current_revision", "gauge", state.store.revision
    yield "etcd_debugging_mvcc_compact_revision", "gauge", state.store.compacted
    yield "etcd_debugging_mvcc_watcher_total", "gauge", len(state.hub)
    yield "etcd_debugging_mvcc_slow_watcher_total", "gauge", len(state.hub.behind)
    yield "etcd_debugging_mvcc_watch_stream_total", "gauge", len(api.watch.streams)
    yield "etcd_debugging_auth_revision", "gauge", state.auth.revision
    yield "etcd_debugging_lease_granted_total", "counter", lessor.granted
    yield "etcd_debugging_lease_revoked_total", "counter", lessor.revoked
    yield "etcd_debugging_lease_renewed_total", "counter", lessor.renewed
    yield "etcd_debugging_lease_total", "gauge", len(lessor.leases)


def _process(api: "Api") -> Iterable[_Row]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd"))
    page = resource.getpagesize()
    with open("/proc/self/statm") as file:
        virtual, resident = (int(pages) * page for pages in file.read().split()[:2])
    yield "os_fd_limit", "gauge", files
    yield "os_fd_used", "gauge", used
    yield "process_cpu_seconds_total", "counter", usage.ru_utime + usage.ru_stime
    yield "process_max_fds", "gauge", files
    yield "process_open_fds", "gauge", used
    yield "process_resident_memory_bytes", "gauge", resident
    yield "process_virtual_memory_bytes", "gauge", virtual
    yield "process_start_time_seconds", "gauge", time.time() - (time.monotonic() - api.member.started)


def _peers(api: "Api") -> list[str]:
    peers = api.member.transport.peers
    if not peers:
        return []
    mine = f"{api.member.id:x}"
    lines = ["# TYPE etcd_network_active_peers gauge"]
    for id, peer in peers.items():
        lines.append(f'etcd_network_active_peers{{Local="{mine}",Remote="{id:x}"}} {int(peer.connected)}')
    for name, label, attribute in (
        ("etcd_network_peer_sent_bytes_total", "To", "sent_bytes"),
        ("etcd_network_peer_sent_failures_total", "To", "send_failures"),
        ("etcd_network_peer_received_bytes_total", "From", "received_bytes"),
    ):
        lines.append(f"# TYPE {name} counter")
        lines += [f'{name}{{{label}="{id:x}"}} {_number(getattr(peer, attribute))}' for id, peer in peers.items()]
    for id, peer in peers.items():
        lines += _histogram("etcd_network_peer_round_trip_time_seconds", peer.round_trips, f'To="{id:x}"')
    return lines


def _calls(api: "Api") -> list[str]:
    calls = sorted(api.calls.items())
    labels = {
        name: f'grpc_method="{name.partition("/")[2]}",grpc_service="{name.partition("/")[0]}",grpc_type="{count.kind}"'
        for name, count in calls
    }
    lines = ["# TYPE grpc_server_handled_total counter"]
    for name, count in calls:
        for code in _CODES:
            lines.append(f'grpc_server_handled_total{{grpc_code="{code}",{labels[name]}}} {count.handled.get(code, 0)}')
    for metric, attribute in (("started", "started"), ("msg_received", "received"), ("msg_sent", "sent")):
        lines.append(f"# TYPE grpc_server_{metric}_total counter")
        lines += [f"grpc_server_{metric}_total{{{labels[name]}}} {getattr(count, attribute)}" for name, count in calls]
    return lines


def _histogram(name: str, times: Histogram, label: str = "") -> list[str]:
    lines = [f"# TYPE {name} histogram"]
    total = 0
    before = f"{label}," if label else ""
    for bound, count in times.buckets():
        total += count
        lines.append(f'{name}_bucket{{{before}le="{bound}"}} {total}')
    braces = f"{{{label}}}" if label else ""
    return [*lines, f"{name}_sum{braces} {_number(times.sum)}", f"{name}_count{braces} {times.count}"]


def _number(value: Any) -> str:
    return str(value) if isinstance(value, int) else repr(float(value))
