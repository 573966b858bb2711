"""Container events to whoever listens: level-triggered, so what nobody has read yet is kept once, not twice."""

import asyncio
from collections.abc import AsyncIterator

from kubelet.cri.api import ContainerEvent


class _Subscription:
    def __init__(self) -> None:
        self.waiting: dict[tuple[str, str, str], ContainerEvent] = {}
        self.arrived = asyncio.Event()
        self.closed = False


class EventHub:
    def __init__(self) -> None:
        self._subscriptions: list[_Subscription] = []

    def publish(self, sandbox: str, container: str, kind: str) -> None:
        for subscription in self._subscriptions:
            subscription.waiting.setdefault((sandbox, container, kind), ContainerEvent(sandbox, container, kind))
            subscription.arrived.set()

    def subscribe(self) -> AsyncIterator[ContainerEvent]:
        """From this call on (not from the first ``anext``); ends when the hub closes."""
        subscription = _Subscription()
        self._subscriptions.append(subscription)
        return self._deliver(subscription)

    async def _deliver(self, subscription: _Subscription) -> AsyncIterator[ContainerEvent]:
        try:
            while True:
                while subscription.waiting:
                    yield subscription.waiting.pop(next(iter(subscription.waiting)))
                if subscription.closed:
                    return
                subscription.arrived.clear()
                await subscription.arrived.wait()
        finally:
            self._subscriptions.remove(subscription)

    def close(self) -> None:
        for subscription in self._subscriptions:
            subscription.closed = True
            subscription.arrived.set()
