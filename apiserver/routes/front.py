"""Everything that is not about a resource: discovery and the public keys here, the rest by :mod:`apiserver.routes.documents`."""

from collections.abc import Awaitable, Callable
from typing import Any

from apiserver.context import Context
from apiserver.request import Receive, Request, Scope, Send
from apiserver.routes import groups, oidc


def build(context: Context) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """An ASGI application; who may ask is decided before a request gets here."""
    documents: Any = None

    async def front(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal documents
        request = Request(scope, receive, send)
        # Every component asks for discovery when it starts, and must not wait until FastAPI is imported.
        answer = None
        if request.method in ("GET", "HEAD"):
            answer = groups.answer(request, context) or oidc.answer(request.info.path, context)
        if answer is not None:
            await answer.send(request)
            return
        if documents is None:
            from apiserver.routes.documents import build as build_documents

            documents = build_documents(context)
        await documents(scope, receive, send)

    return front
