"""A scripted server on a real socket: answers what a test tells it to, and records what it was asked.

It knows nothing of Kubernetes; tests of the client say with it exactly what a server does at its worst.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from kubeclient.config import Config
from kubeclient.rest import Client

Handler = Callable[[Request], Awaitable[Response]]


def status(code: int, reason: str, message: str = "no", **headers: str) -> Response:
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
    }
    return Response(orjson.dumps(body), status_code=code, headers=headers, media_type="application/json")


def answer(value: Any, code: int = 200) -> Response:
    return Response(orjson.dumps(value), status_code=code, media_type="application/json")


def stream(*events: tuple[str, Any], then_hang: bool = False) -> Response:
    """A watch with these events; it ends after them, or stays open in silence."""

    async def lines() -> AsyncIterator[bytes]:
        for type_, obj in events:
            yield orjson.dumps({"type": type_, "object": obj}) + b"\n"
        if then_hang:
            await asyncio.Event().wait()

    return StreamingResponse(lines(), media_type="application/json")


@contextlib.asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[Client]:
    """A client of a server whose every request goes to ``handler``."""
    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    app = Starlette(routes=[Route("/{path:path}", handler, methods=methods)])
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()  # from now on a client waits for the server instead of being refused
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    task = asyncio.create_task(server.serve(sockets=[listener]))
    client = Client(Config(server=f"http://127.0.0.1:{listener.getsockname()[1]}"))
    try:
        yield client
    finally:
        await client.close()
        server.should_exit = True
        await task
