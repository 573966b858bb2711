"""``/healthz /livez /readyz /metrics`` for a component that serves nothing else.

HTTPS when a certificate is given, else HTTP. Checks are named callables that return None when all is well, or say
what is wrong; ``?verbose`` lists them as upstream does.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

log = logging.getLogger(__name__)

Check = Callable[[], str | None]


class HealthServer:
    """Runs beside the component's work on its event loop.

    ``add_check(name, check, ready_only=True)`` adds one that only ``/readyz`` asks (an informer that has not synced
    makes a process unready, not dead).
    """

    def __init__(self, host: str, port: int, *, cert_file: str = "", key_file: str = "") -> None:
        self.host, self.port = host, port
        self._tls = (cert_file, key_file)
        self._checks: list[tuple[str, Check, bool]] = [("ping", lambda: None, False)]
        self._server: object | None = None
        self._task: asyncio.Task[None] | None = None

    def add_check(self, name: str, check: Check, *, ready_only: bool = False) -> None:
        self._checks.append((name, check, ready_only))

    def _answer(self, request: Request, *, ready: bool) -> Response:
        lines, failed = [], False
        for name, check, ready_only in self._checks:
            if ready_only and not ready:
                continue
            wrong = check()
            failed = failed or wrong is not None
            lines.append(f"[+]{name} ok" if wrong is None else f"[-]{name} failed: {wrong}")
        path = request.url.path.lstrip("/")
        if failed:
            return PlainTextResponse("\n".join([*lines, f"{path} check failed", ""]), status_code=500)
        if "verbose" in request.query_params:
            return PlainTextResponse("\n".join([*lines, f"{path} check passed", ""]))
        return PlainTextResponse("ok")

    def app(self) -> Starlette:
        async def live(request: Request) -> Response:
            return self._answer(request, ready=False)

        async def ready(request: Request) -> Response:
            return self._answer(request, ready=True)

        async def metrics(request: Request) -> Response:
            # Imported on the first scrape: most processes of a short-lived cluster are never scraped.
            from prometheus_client import generate_latest

            return Response(generate_latest(), media_type="text/plain; version=0.0.4; charset=utf-8")

        routes = [
            Route("/healthz", live),
            Route("/livez", live),
            Route("/readyz", ready),
            Route("/metrics", metrics),
        ]
        return Starlette(routes=routes)

    async def start(self) -> None:
        """Listen; raises OSError with the address when the port is taken."""
        import socket

        import uvicorn

        cert_file, key_file = self._tls
        config = uvicorn.Config(
            self.app(),
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            ssl_certfile=cert_file or None,
            ssl_keyfile=key_file or None,
        )
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self.host, self.port))
        except OSError as error:
            listener.close()
            raise OSError(error.errno, f"cannot listen on {self.host}:{self.port}: {error.strerror}") from None
        self.port = listener.getsockname()[1]
        server = uvicorn.Server(config)
        server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]  # the process's own
        self._server = server
        self._task = asyncio.create_task(server.serve(sockets=[listener]), name="health")

    async def stop(self) -> None:
        if self._task is None:
            return
        self._server.should_exit = True  # type: ignore[union-attr]
        await self._task
