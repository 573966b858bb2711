"""From an understood request to the handler: which verb on which endpoint, or which subresource."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from apimachinery.errors import StatusError
from apiserver.authorization.action import action_of, forbidden
from apiserver.context import Context
from apiserver.handlers import reviews
from apiserver.handlers.create import create
from apiserver.handlers.delete import delete, delete_collection
from apiserver.handlers.endpoint import Endpoint
from apiserver.handlers.events import EventLeases
from apiserver.handlers.patch import patch_object
from apiserver.handlers.read import get, list_
from apiserver.handlers.subresources import SUBRESOURCES, binding
from apiserver.handlers.update import update
from apiserver.handlers.watch import watch
from apiserver.request import Request
from apiserver.response import Response, Stream, text_response

Answer = Response | Stream
Handler = Callable[[Request, Endpoint], Awaitable[Answer]]


class Machine:
    """Serves every resource of the context's endpoints."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._chain = context.admission
        self._events = EventLeases(context.store, context.options.event_ttl)
        self._verbs: dict[str, Handler] = {
            "get": get,
            "list": list_,
            "watch": watch,
            "create": self._create,
            "update": self._update,
            "patch": self._patch,
            "delete": lambda request, endpoint: delete(request, endpoint, self._chain),
            "deletecollection": lambda request, endpoint: delete_collection(request, endpoint, self._chain),
        }

    async def serve(self, request: Request) -> Answer | None:
        """None when the handler has already answered (an upgraded connection)."""
        info = request.info
        resource = info.resource
        if resource is None:
            return text_response("404 page not found\n", 404)
        if resource.deprecation:
            request.warnings.append(resource.deprecation)
        if info.subresource:
            return await self._subresource(request)
        if not resource.stored and info.verb == "create" and not info.name:
            return await self._ask(request)
        endpoint = self._context.endpoints.get(resource)
        if info.verb not in resource.verbs or endpoint is None or (info.verb == "create" and info.name):
            raise _not_allowed()
        if resource.namespaced and not info.namespace and (info.name or info.verb == "create"):
            # An object of a namespaced kind has no place outside of a namespace.
            if info.verb == "create":
                raise _not_allowed()
            return text_response("404 page not found\n", 404)
        return await self._verbs[info.verb](request, endpoint)

    async def _subresource(self, request: Request) -> Answer | None:
        info = request.info
        assert info.resource is not None, "the caller has checked"
        if info.subresource not in info.resource.subresources or not info.name:
            return text_response("404 page not found\n", 404)
        if info.rest and info.subresource != "proxy":
            return text_response("404 page not found\n", 404)
        name = f"{info.plural}/{info.subresource}"
        handlers = SUBRESOURCES.get(name) or SUBRESOURCES.get(info.subresource)
        if handlers is None:
            raise StatusError(501, "NotImplemented", f"{name} is not served yet")
        handler = handlers.get(info.verb)
        if handler is None:
            raise _not_allowed()
        return await handler(request, self._context.endpoints[info.resource], self._context)

    async def _ask(self, request: Request) -> Answer:
        """What is POSTed but never stored: reviews, and the old way to bind a pod."""
        resource = request.info.resource
        assert resource is not None, "the caller has checked"
        if resource.namespaced and not request.info.namespace:
            raise _not_allowed()
        if resource.kind == "Binding":
            return await binding.create_old(request, self._context)
        return await reviews.create(request, self._context)

    async def _create(self, request: Request, endpoint: Endpoint) -> Answer:
        lease = await self._events.lease() if endpoint.resource.kind == "Event" else 0
        return await create(request, endpoint, self._chain, lease)

    async def _update(self, request: Request, endpoint: Endpoint) -> Answer:
        lease = await self._events.lease() if endpoint.resource.kind == "Event" else 0
        return await update(request, endpoint, self._chain, lease=lease, check_create=self._check_create)

    async def _patch(self, request: Request, endpoint: Endpoint) -> Answer:
        lease = await self._events.lease() if endpoint.resource.kind == "Event" else 0
        return await patch_object(request, endpoint, self._chain, lease=lease, check_create=self._check_create)

    def _check_create(self, request: Request) -> None:
        """403 unless the client may create the object that it meant to change and that is not there."""
        action = replace(action_of(request), verb="create")
        if not self._context.authorizer.allows(request.user, action):
            raise forbidden(request.user, action, self._context.authorizer.decide(request.user, action)[1])


def _not_allowed() -> StatusError:
    """What upstream's router says where a path has other methods."""
    return StatusError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {})
