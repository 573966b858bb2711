"""Which endpoint the next connection goes to, when we forward it ourselves: each in turn, clients kept where asked."""

from collections import OrderedDict
from collections.abc import Callable, Sequence

from proxy.endpoint import Endpoint

_MAX_CLIENTS = 4096


class Balancer:
    """Round robin over the endpoints of one Service port. ``clock`` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._endpoints: list[Endpoint] = []
        self._next = 0
        self._affinity_seconds = 0
        self._clients: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def update(self, endpoints: Sequence[Endpoint], affinity_seconds: int) -> None:
        self._endpoints, self._affinity_seconds = list(endpoints), affinity_seconds
        if not affinity_seconds:
            self._clients.clear()

    def __len__(self) -> int:
        return len(self._endpoints)

    def choices(self, client_ip: str) -> list[Endpoint]:
        """All endpoints, the one to use first; the others are for when it does not answer."""
        if not self._endpoints:
            return []
        start = self._next % len(self._endpoints)
        self._next = start + 1
        order = [*self._endpoints[start:], *self._endpoints[:start]]
        known = self._clients.get(client_ip)
        if known is not None and self._clock() < known[1]:
            order.sort(key=lambda endpoint: endpoint.address != known[0])
        return order

    def used(self, client_ip: str, endpoint: Endpoint) -> None:
        """The client was connected to this endpoint: with affinity, it comes here again."""
        if not self._affinity_seconds:
            return
        self._clients[client_ip] = (endpoint.address, self._clock() + self._affinity_seconds)
        self._clients.move_to_end(client_ip)
        if len(self._clients) > _MAX_CLIENTS:
            self._clients.popitem(last=False)
