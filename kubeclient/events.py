"""Records core/v1 Events, the way ``kubectl describe`` shows them: the same happening again raises a count.

Recording never blocks or fails the work it tells about: events go through a bounded queue and are dropped (with one
log line) when the server cannot keep up. Nor may it flood the server: see :mod:`kubeclient.eventspam`.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from datetime import UTC, datetime

from kubeclient.eventspam import COMBINED, Aggregator, SpamFilter
from kubeclient.http import TransportError
from kubeclient.rest import ApiError, Client, Object

log = logging.getLogger(__name__)

_QUEUE_LIMIT = 1000
_CACHE_LIMIT = 4096


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def reference(obj: Object) -> Object:
    """An ObjectReference to ``obj``, which must carry kind and apiVersion."""
    meta = obj["metadata"]
    found = {
        "kind": obj["kind"],
        "namespace": meta.get("namespace"),
        "name": meta["name"],
        "uid": meta.get("uid"),
        "apiVersion": obj["apiVersion"],
        "resourceVersion": meta.get("resourceVersion"),
    }
    return {k: v for k, v in found.items() if v}


class EventRecorder:
    """``component`` is the event source (``default-scheduler``, ``kubelet``); ``host`` the node, when there is one."""

    def __init__(self, client: Client, component: str, host: str = "") -> None:
        self._events = client.resource("v1", "events")
        self._source = {"component": component, **({"host": host} if host else {})}
        self._host = host
        self._queue: asyncio.Queue[tuple[Object, tuple[str, ...]]] = asyncio.Queue(_QUEUE_LIMIT)
        self._spam, self._similar = SpamFilter(), Aggregator()
        self._seen: OrderedDict[tuple[str, ...], Object] = OrderedDict()

    def event(self, obj: Object, type_: str, reason: str, message: str, *, field_path: str = "") -> None:
        """``type_`` is Normal or Warning. ``field_path`` names a part, such as ``spec.containers{web}``."""
        involved = reference(obj)
        if field_path:
            involved["fieldPath"] = field_path
        clock = time.monotonic()
        group: tuple[str, ...] = (
            involved["kind"],
            involved.get("uid", ""),
            involved["name"],
            involved.get("fieldPath", ""),
            type_,
            reason,
        )
        combined = self._similar.combines(group, message, clock)
        if combined:
            message = COMBINED + message
        if not self._spam.allows(f"{involved['kind']} {involved.get('uid') or involved['name']}", clock):
            return
        now = _now()
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{involved['name']}.{time.time_ns():x}",
                # Events about cluster-scoped objects live in "default".
                "namespace": involved.get("namespace") or "default",
            },
            "involvedObject": involved,
            "reason": reason,
            "message": message[:1024],
            "type": type_,
            "source": self._source,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
            "reportingComponent": self._source["component"],
            "reportingInstance": self._host,
        }
        try:
            self._queue.put_nowait((event, group if combined else (*group, message)))
        except asyncio.QueueFull:
            log.warning("event dropped, %d wait already: %s %s", _QUEUE_LIMIT, reason, message)

    async def run(self) -> None:
        """Sends what is recorded; never returns."""
        while True:
            event, key = await self._queue.get()
            try:
                await self._send(event, key)
            except ApiError as error:
                if not error.namespace_terminating:
                    log.info("event %s not recorded: %s", event["reason"], error)
            except TransportError as error:
                log.info("event %s not recorded: %s", event["reason"], error or type(error).__name__)

    async def _send(self, event: Object, key: tuple[str, ...]) -> None:
        """Events of one ``key`` are one object in the server, with a count and the last message."""
        earlier = self._seen.get(key)
        if earlier is not None:
            meta, count = earlier["metadata"], earlier["count"] + 1
            patch = {"count": count, "lastTimestamp": event["lastTimestamp"], "message": event["message"]}
            try:
                self._seen[key] = await self._events.patch(meta["name"], patch, meta["namespace"])
                return
            except ApiError as error:
                if not error.not_found:  # it has expired: tell it anew
                    raise
        self._seen[key] = await self._events.create(event)
        self._seen.move_to_end(key)
        if len(self._seen) > _CACHE_LIMIT:
            self._seen.popitem(last=False)
