"""The ASGI application: the filters in order, then the resource machine or the front routes.

Everything that goes wrong becomes a ``Status`` here, and only here: a ``StatusError`` is an answer, anything else is a bug,
logged with its traceback and answered with 500.
"""

import asyncio
import logging
import time
from typing import Any

from apimachinery.errors import StatusError, bad_request, internal, quote, timeout, too_many_requests
from apiserver.authentication.user import MASTERS_GROUP
from apiserver.authorization import impersonation
from apiserver.context import Context
from apiserver.handlers.machine import Machine
from apiserver.negotiation import prefers_yaml
from apiserver.request import Receive, Request, RequestInfo, Scope, Send
from apiserver.response import JSON, Response, Stream, error_response
from componentbase.flags import duration

log = logging.getLogger(__name__)
_HEALTH = ("/healthz", "/livez", "/readyz")
_LONG_RUNNING = ("attach", "exec", "log", "portforward", "proxy")


class App:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._machine = Machine(context)
        self._front: Any = None
        options = context.options
        self._limits = {
            "readOnly": options.max_requests_inflight,
            "mutating": options.max_mutating_requests_inflight,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"no {scope['type']} here: the server speaks HTTP")
        began = time.perf_counter()
        request = Request(scope, receive, send)
        metrics = self._context.metrics
        kind = "readOnly" if request.method in ("GET", "HEAD") else "mutating"
        metrics.inflight[kind] += 1
        try:
            answer = await self._answer(request, kind)
        finally:
            metrics.inflight[kind] -= 1
        if answer is None:
            return
        if isinstance(answer, Response) and answer.content_type == JSON and prefers_yaml(request.header(b"accept")):
            answer.to_yaml()
        streaming = isinstance(answer, Stream)
        seconds = None if streaming else time.perf_counter() - began
        metrics.observe(_labels(request.info), answer.status, seconds)
        await answer.send(request)

    async def _answer(self, request: Request, kind: str) -> Response | Stream | None:
        context = self._context
        info = request.info
        try:
            request.user = await context.authenticator.authenticate(request)
            if impersonation.wanted(request):
                request.user = impersonation.impersonated(request, context.authorizer)
            self._admit(request, kind)
            if info.verb == "list" and info.is_resource and request.flag("watch"):
                info.verb = "watch"
            context.authorizer.check(request)
            if info.is_resource:
                return await self._serve(request)
            if info.path.startswith(_HEALTH):
                return await context.health.answer(request)
            await self._front_app()(request.scope, request.receive, request.send)
            return None
        except StatusError as error:
            return error_response(error)
        except Exception:
            log.exception("%s %s", request.method, info.path)
            return error_response(internal("the server hit a bug; its log says more"))

    async def _serve(self, request: Request) -> Response | Stream | None:
        """Within the time that a request has, unless it is one of those that take as long as they take."""
        info = request.info
        if info.verb == "watch" or info.subresource in _LONG_RUNNING:
            return await self._machine.serve(request)
        deadline = asyncio.timeout(self._seconds(request))
        try:
            async with deadline:
                return await self._machine.serve(request)
        except TimeoutError:
            if not deadline.expired():
                raise
            raise timeout("request did not complete within requested timeout - context deadline exceeded") from None

    def _seconds(self, request: Request) -> float:
        """What the client asks for, at most ours."""
        limit, asked = self._context.options.request_timeout, request.query.get("timeout")
        if not asked:
            return limit
        try:
            seconds = duration(asked)
        except ValueError:
            why = f"time: invalid duration {quote(asked)}"
            raise bad_request(f"invalid timeout specified in the request URL - {why}") from None
        return seconds if 0 < seconds < limit else limit

    def _admit(self, request: Request, kind: str) -> None:
        """Turns away what is too much at once; those who repair a cluster always get in, as upstream has it."""
        limit = self._limits[kind]
        if limit and self._context.metrics.inflight[kind] > limit and MASTERS_GROUP not in request.user.groups:
            raise too_many_requests("Too many requests, please try again later.")

    def _front_app(self) -> Any:
        if self._front is None:
            from apiserver.routes.front import build  # FastAPI costs more to import than the rest of the server

            self._front = build(self._context)
        return self._front


def _labels(info: RequestInfo) -> tuple[str, ...]:
    if info.resource is None:
        return ("", "", "", "", info.verb.upper(), "")
    scope = "resource" if info.name else "namespace" if info.namespace else "cluster"
    verb = "APPLY" if info.verb == "apply" else info.verb.upper()
    return (info.group, info.plural, scope, info.subresource, verb, info.version)
