"""/health, /livez, /readyz, /version and /metrics over plain HTTP/1.1: a dozen lines of protocol, so no framework is loaded."""

import asyncio
import json
import resource
import time
from collections.abc import Callable
from typing import Any

from etcd_raft.server.config import API_VERSION, VERSION, ServerConfig, address
from etcd_raft.server.endpoints import Api
from etcd_raft.server.peers import server_context

_MAX_REQUEST = 8192


class HealthServer:
    def __init__(self, api: Api) -> None:
        self._api = api
        self._servers: list[asyncio.Server] = []
        self._pages: dict[str, Callable[[], tuple[int, str, str]]] = {
            "/health": self._health,
            "/healthz": self._health,
            "/readyz": self._health,
            "/livez": lambda: (200, "application/json", '{"health":"true","reason":""}'),
            "/version": lambda: (200, "application/json", _version()),
            "/metrics": lambda: (200, "text/plain; version=0.0.4; charset=utf-8", metrics(self._api)),
        }

    async def start(self, config: ServerConfig) -> None:
        for url in config.listen_metrics_urls:
            host, port = address(url)
            context = server_context(config.client_tls) if url.startswith("https") else None
            self._servers.append(await asyncio.start_server(self._serve, host, port, ssl=context))

    def stop(self) -> None:
        for server in self._servers:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(10):
                head = await reader.readuntil(b"\r\n\r\n")
            line = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
            status, kind, body = self._respond(line)
            data = body.encode()
            words = {
                200: "OK",
                404: "Not Found",
                405: "Method Not Allowed",
                503: "Service Unavailable",
                400: "Bad Request",
            }
            writer.write(
                f"HTTP/1.1 {status} {words[status]}\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\n"
                "Connection: close\r\n\r\n".encode()
                + data
            )
            await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever asked has gone, or never asked
        finally:
            writer.close()

    def _respond(self, line: list[str]) -> tuple[int, str, str]:
        if len(line) != 3:
            return 400, "text/plain", "bad request\n"
        method, target, _ = line
        page = self._pages.get(target.split("?", 1)[0])
        if page is None:
            return 404, "text/plain", "404 page not found\n"
        if method not in ("GET", "HEAD"):
            return 405, "text/plain", "method not allowed\n"
        return page()

    def _health(self) -> tuple[int, str, str]:
        node = self._api.member.node
        reason = ""
        if node.failure is not None:
            reason = str(node.failure)
        elif not node.leader:
            reason = "RAFT NO LEADER"
        elif node.state.alarms:
            reason = "ALARM " + ",".join("NOSPACE" if kind == 1 else "CORRUPT" for _, kind in sorted(node.state.alarms))
        body = json.dumps({"health": "false" if reason else "true", "reason": reason}, separators=(",", ":"))
        return (503 if reason else 200), "application/json", body


def _version() -> str:
    return json.dumps({"etcdserver": VERSION, "etcdcluster": f"{API_VERSION}.0"}, separators=(",", ":"))


def metrics(api: Api) -> str:
    """Prometheus text, under etcd's names."""
    node, state = api.member.node, api.member.state
    raft = node.raft
    usage = resource.getrusage(resource.RUSAGE_SELF)
    rows: list[tuple[str, str, float]] = [
        ("etcd_server_has_leader", "gauge", int(bool(node.leader))),
        ("etcd_server_is_leader", "gauge", int(node.is_leader)),
        ("etcd_server_is_learner", "gauge", int(node.id in raft.learners)),
        ("etcd_server_leader_changes_seen_total", "counter", node.leader_changes),
        ("etcd_server_proposals_committed_total", "gauge", raft.log.committed),
        ("etcd_server_proposals_applied_total", "gauge", raft.log.applied),
        ("etcd_server_proposals_pending", "gauge", node.pending),
        ("etcd_server_proposals_failed_total", "counter", node.proposals_failed),
        ("etcd_server_quota_backend_bytes", "gauge", state.backend.quota),
        ("etcd_mvcc_db_total_size_in_bytes", "gauge", state.backend.size()),
        ("etcd_mvcc_db_total_size_in_use_in_bytes", "gauge", min(state.backend.size(), state.backend.size_in_use())),
        ("etcd_debugging_mvcc_current_revision", "gauge", state.store.revision),
        ("etcd_debugging_mvcc_compact_revision", "gauge", state.store.compacted),
        ("etcd_debugging_mvcc_watcher_total", "gauge", len(state.hub)),
        ("etcd_debugging_mvcc_slow_watcher_total", "gauge", len(state.hub.behind)),
        ("etcd_debugging_mvcc_watch_stream_total", "gauge", len(api.watch.streams)),
        ("etcd_debugging_lease_total", "gauge", len(state.lessor.leases)),
        ("process_cpu_seconds_total", "counter", usage.ru_utime + usage.ru_stime),
        ("process_resident_memory_bytes", "gauge", _resident()),
        ("process_start_time_seconds", "gauge", time.time() - (time.monotonic() - api.member.started)),
    ]
    lines = [f"# TYPE {name} {kind}\n{name} {value:g}" if value < 1e6 else f"# TYPE {name} {kind}\n{name} {value:.0f}"
             for name, kind, value in rows]  # fmt: skip
    lines.append("# TYPE grpc_server_handled_total counter")
    for method, count in sorted(api.requests.items()):
        service, _, name = method.partition("/")
        lines.append(f'grpc_server_handled_total{{grpc_method="{name}",grpc_service="{service}"}} {count}')
    lines += _durations("etcd_disk_wal_fsync_duration_seconds", node.wal.sync_times)
    return "\n".join(lines) + "\n"


def _durations(name: str, times: Any) -> list[str]:
    lines = [f"# TYPE {name} histogram"]
    total = 0
    for bound, count in times.buckets():
        total += count
        lines.append(f'{name}_bucket{{le="{bound}"}} {total}')
    return [*lines, f"{name}_sum {times.sum:g}", f"{name}_count {times.count}"]


def _resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
