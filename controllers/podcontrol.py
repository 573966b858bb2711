"""Creating and deleting pods in number, with the events that tell of it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import orjson

from apimachinery import meta
from controllers import pods
from kubeclient import ApiError, Client, EventRecorder, TransportError

Object = dict[str, Any]

#: How many calls one process has under way at once; more would only wait inside the API server.
_IN_FLIGHT = 32

#: What a failed call raises.
CallError = (ApiError, TransportError)


async def slow_start(count: int, call: Callable[[], Awaitable[None]]) -> tuple[int, Exception | None]:
    """Calls ``count`` times in batches of 1, 2, 4...: how many succeeded, and the first error of the batch that failed.

    A quota or an admission webhook that refuses one pod refuses all: one failure ends it, so a thousand wanted
    pods cost one refusal and not a thousand.
    """
    succeeded, batch = 0, 1
    while succeeded < count:
        size = min(batch, count - succeeded)
        results = await asyncio.gather(*(call() for _ in range(size)), return_exceptions=True)
        errors = [r for r in results if isinstance(r, BaseException)]
        succeeded += size - len(errors)
        for error in errors:
            if not isinstance(error, CallError):
                raise error
        if errors:
            assert isinstance(errors[0], Exception)
            return succeeded, errors[0]
        batch *= 2
    return succeeded, None


class PodControl:
    def __init__(self, client: Client, recorder: EventRecorder) -> None:
        self._client = client
        self._pods = client.resource("v1", "pods")
        self._recorder = recorder
        self._slots = asyncio.Semaphore(_IN_FLIGHT)

    async def create(self, owner: Object, pod: Object | bytes) -> Object:
        """``pod`` as bytes when many alike are created. Raises what the call raises, after an event that says so."""
        async with self._slots:
            try:
                path = self._pods.path(meta.namespace(owner))
                created: Object = await self._client.json("POST", path, body=pod)
            except CallError as error:
                if not (isinstance(error, ApiError) and error.namespace_terminating):
                    self._recorder.event(owner, "Warning", "FailedCreate", f"Error creating: {error}")
                raise
        self._recorder.event(owner, "Normal", "SuccessfulCreate", f"Created pod: {meta.name(created)}")
        return created

    async def create_many(self, owner: Object, template: Object, count: int) -> tuple[int, Exception | None]:
        body = orjson.dumps(pods.from_template(template, owner))

        async def one() -> None:
            await self.create(owner, body)

        return await slow_start(count, one)

    async def delete(self, owner: Object, pod: Object) -> None:
        """Raises what the call raises, after an event; a pod that is gone already counts as deleted."""
        async with self._slots:
            try:
                await self._pods.delete(meta.name(pod), meta.namespace(pod), uid=meta.uid(pod))
            except CallError as error:
                if isinstance(error, ApiError) and (error.not_found or error.conflict):
                    return
                self._recorder.event(owner, "Warning", "FailedDelete", f"Error deleting: {error}")
                raise
        self._recorder.event(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {meta.name(pod)}")

    async def delete_many(
        self, owner: Object, victims: Iterable[Object], failed: Callable[[Object], None]
    ) -> Exception | None:
        """All at once; ``failed`` hears of each that stays. Returns the first error."""

        async def one(pod: Object) -> Exception | None:
            try:
                await self.delete(owner, pod)
            except CallError as error:
                failed(pod)
                return error
            return None

        results = await asyncio.gather(*(one(pod) for pod in victims))
        return next((error for error in results if error is not None), None)
