"""``/status``: the same object, of which only status (and some metadata) can be written."""

from apiserver.context import Context
from apiserver.handlers import patch as patching
from apiserver.handlers import read
from apiserver.handlers import update as updating
from apiserver.handlers.endpoint import Endpoint
from apiserver.request import Request
from apiserver.response import Response


async def get(request: Request, endpoint: Endpoint, context: Context) -> Response:
    return await read.get(request, endpoint)


async def update(request: Request, endpoint: Endpoint, context: Context) -> Response:
    prepare = endpoint.strategy.before_status_update
    return await updating.update(request, endpoint, context.admission, prepare)


async def patch(request: Request, endpoint: Endpoint, context: Context) -> Response:
    prepare = endpoint.strategy.before_status_update
    return await patching.patch_object(request, endpoint, context.admission, prepare)
