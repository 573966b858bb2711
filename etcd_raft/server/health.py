"""What a member serves over HTTP besides gRPC: /health, /livez, /readyz, /version, /metrics, and the JSON gateway below /v3.

On the clients' addresses all of it, beside gRPC; on ``--listen-metrics-urls`` everything but the gateway, so that whoever may look at
the member's health need not be able to read its keys.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from etcd_raft.mvcc.errors import StoreError
from etcd_raft.proto import rpc_pb2 as pb
from etcd_raft.server import metrics
from etcd_raft.server.config import API_VERSION, VERSION, ServerConfig, address
from etcd_raft.server.endpoints import Api
from etcd_raft.server.peers import server_context
from etcd_raft.server.web import JSON, TEXT, Exchange, WebServer

_METRICS = "text/plain; version=0.0.4; charset=utf-8"
_PAGE_BODY = 1 << 16


class HealthServer:
    def __init__(self, api: Api) -> None:
        self._api = api
        self._gateway: Any = None
        self._pages: dict[str, Callable[[Exchange], Awaitable[None]]] = {
            "/health": self._health,
            "/healthz": self._health,
            "/livez": lambda exchange: self._checks(exchange, ("serializable_read",)),
            "/readyz": lambda exchange: self._checks(exchange, ("data_corruption", "serializable_read", "linearizable_read")),
            "/version": self._version,
            "/metrics": self._metrics,
        }  # fmt: skip
        limit = api.member.config.max_request_bytes * 2 + _PAGE_BODY  # base64 and names around what a request may weigh
        self._for_clients = WebServer(self._serve_client, limit)
        self._for_metrics = WebServer(self._serve_page, _PAGE_BODY)

    async def start(self, config: ServerConfig) -> None:
        """Listen for whoever asks for metrics; the clients' connections come through ``Api``."""
        self._api.http1 = self._for_clients.protocol
        for url in config.listen_metrics_urls:
            host, port = address(url)
            await self._for_metrics.listen(
                host, port, server_context(config.client_tls) if url.startswith("https") else None
            )

    def stop(self) -> None:
        self._for_metrics.stop()
        self._for_clients.stop()

    async def _serve_client(self, exchange: Exchange) -> None:
        if self._api.member.config.grpc_gateway and exchange.path.startswith(("/v3/", "/v3beta/")):
            if self._gateway is None:
                from etcd_raft.server.gateway import Gateway  # few ever ask for it

                self._gateway = Gateway(self._api)
            await self._gateway.serve(exchange)
        else:
            await self._serve_page(exchange)

    async def _serve_page(self, exchange: Exchange) -> None:
        page = self._pages.get(exchange.path)
        if page is None:
            await exchange.refuse(404, "404 page not found\n")
        elif exchange.method != "GET" and exchange.path != "/metrics":
            await exchange.refuse(405, "Method Not Allowed\n", {"Allow": "GET"})
        else:
            await page(exchange)

    async def _version(self, exchange: Exchange) -> None:
        body = {"etcdserver": VERSION, "etcdcluster": f"{API_VERSION}.0"}
        await exchange.reply(200, JSON, json.dumps(body, separators=(",", ":")))

    async def _metrics(self, exchange: Exchange) -> None:
        await exchange.reply(200, _METRICS, metrics.render(self._api))

    # ---- health

    async def _health(self, exchange: Exchange) -> None:
        reason = self._alarm(exchange.query.get("exclude", ""))
        serializable = exchange.query.get("serializable") == "true"
        if not reason and not serializable and not self._api.member.node.leader:
            reason = "RAFT NO LEADER"
        if not reason:
            failed = await self._read(serializable)
            reason = f"{'RANGE' if serializable else 'QGET'} ERROR:{failed}" if failed else ""
        if reason:
            self._api.health_failures += 1
        else:
            self._api.health_successes += 1
        body = json.dumps({"health": "false" if reason else "true", "reason": reason}, separators=(",", ":"))
        await exchange.reply(503 if reason else 200, TEXT, body)

    def _alarm(self, excluded: str) -> str:
        """The first alarm that is not among the excluded ones."""
        for _, kind in sorted(self._api.member.state.alarms):
            name = pb.AlarmType.Name(kind)  # type: ignore[arg-type]
            if name not in excluded.split(","):
                return f"ALARM {name}"
        return ""

    async def _read(self, serializable: bool) -> str:
        """Try what a client does; the reason when it fails. Nobody's rights count: only whether there would be an answer."""
        if self._api.member.node.failure is not None:
            return str(self._api.member.node.failure)
        try:
            await self._api.kv.range(pb.RangeRequest(key=b"health", limit=1, serializable=serializable))
        except StoreError as error:
            return error.text
        return ""

    async def _checks(self, exchange: Exchange, names: tuple[str, ...]) -> None:
        """As etcd's: "ok", or what is not, one check a line; ``?verbose`` lists all, ``?exclude=NAME`` leaves one out."""
        lines, failed = [], False
        for name in names:
            if name in exchange.query.get("exclude", "").split(","):
                lines.append(f"[+]{name} excluded: ok")
                continue
            reason = await self._check(name)
            failed = failed or bool(reason)
            lines.append(f"[-]{name} failed: {reason}" if reason else f"[+]{name} ok")
        text = "\n".join(lines) + "\n" if failed or "verbose" in exchange.query else ""
        await exchange.reply(503 if failed else 200, TEXT, text + ("" if failed else "ok\n"))

    async def _check(self, name: str) -> str:
        if name == "data_corruption":
            return "alarm activated: CORRUPT" if self._api.member.state.has_alarm(pb.CORRUPT) else ""
        return await self._read(serializable=name == "serializable_read")
