"""Subresources that write one part of an object by rules of their own: ephemeral containers, resize, approval."""

from collections.abc import Awaitable, Callable
from typing import Any

from apiserver.context import Context
from apiserver.handlers import patch as patching
from apiserver.handlers import read
from apiserver.handlers import update as updating
from apiserver.handlers.endpoint import Endpoint
from apiserver.handlers.update import Prepare
from apiserver.registry.extension import CertificateRequestStrategy
from apiserver.registry.pod import PodStrategy
from apiserver.request import Request
from apiserver.response import Response

Object = dict[str, Any]
Handler = Callable[[Request, Endpoint, Context], Awaitable[Any]]


def approval(endpoint: Endpoint) -> Prepare:
    """Conditions can be added to a certificate request; the rest is a status update that changes nothing else."""
    strategy = endpoint.strategy
    assert isinstance(strategy, CertificateRequestStrategy), "only certificate requests are approved"

    return strategy.before_approval_update


def pods(endpoint: Endpoint) -> PodStrategy:
    assert isinstance(endpoint.strategy, PodStrategy), "a subresource of pods"
    return endpoint.strategy


def verbs(prepare: Callable[[Endpoint], Prepare]) -> dict[str, Handler]:
    """get, update and patch with ``prepare`` naming the strategy's word on the update."""

    async def get(request: Request, endpoint: Endpoint, context: Context) -> Response:
        return await read.get(request, endpoint)

    async def update(request: Request, endpoint: Endpoint, context: Context) -> Response:
        return await updating.update(request, endpoint, context.admission, prepare(endpoint))

    async def patch(request: Request, endpoint: Endpoint, context: Context) -> Response:
        return await patching.patch_object(request, endpoint, context.admission, prepare(endpoint))

    return {"get": get, "update": update, "patch": patch}
