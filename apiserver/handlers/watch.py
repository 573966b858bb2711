"""watch: a stream of events from the cache, one JSON document a line."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import orjson

from apimachinery.errors import StatusError
from apiserver.cacher import Watcher
from apiserver.handlers.endpoint import Endpoint
from apiserver.handlers.listoptions import check_list_options, parse_resource_version
from apiserver.negotiation import negotiate
from apiserver.request import Request
from apiserver.response import Stream
from apiserver.selection import select

#: Watches without ``timeoutSeconds`` end after this long, at random up to twice as long (upstream's min-request-timeout).
MIN_SECONDS = 1800.0
BOOKMARK_SECONDS = 60.0
#: A watch about to end sends a last bookmark this long before, so that its client resumes from there.
_LAST_BOOKMARK_SECONDS = 2.0
_WATCH_TYPE = b"application/json;stream=watch"


async def watch(request: Request, endpoint: Endpoint) -> Stream:
    query = request.query
    form = endpoint.form(
        negotiate(request.header(b"accept"), collection=False, stream=True), query.get("includeObject", "")
    )
    check_list_options(query, watch=True)
    selection = select(request, endpoint.strategy)
    version = parse_resource_version(query.get("resourceVersion", ""))
    timeout = request.integer("timeoutSeconds") or 0
    seconds = float(timeout) if timeout > 0 else MIN_SECONDS * (1 + random.random())
    bookmarks = request.flag("allowWatchBookmarks")
    initial = request.flag("sendInitialEvents") if "sendInitialEvents" in query else None
    content_type = _WATCH_TYPE if "stream=watch" in request.header(b"accept") else b"application/json"

    # What goes wrong from here on is told inside the stream, as upstream does.
    try:
        cacher = endpoint.cacher
        if version is None:
            await cacher.consistent()
        elif initial:
            await cacher.wait_for(version)
        if initial is not None:
            since = None if initial else version or cacher.revision
        else:
            since = version or None
        watcher = endpoint.cache.watch(selection.scope, selection.matches, form, since, selection.index)
    except StatusError as error:
        return Stream(_failed(error), content_type=content_type)
    if initial and bookmarks:
        watcher.put_bookmark(cacher.revision, initial_events_end=True)
    events = _Watch(watcher, endpoint, seconds, bookmarks)
    connection = request.scope.get("connection")
    if connection is None:
        return Stream(events.pulled(), content_type=content_type)
    connection.on_lost(watcher.close)
    return Stream(events.pushed(connection), content_type=content_type)


async def _failed(error: StatusError) -> AsyncIterator[bytes]:
    yield orjson.dumps({"type": "ERROR", "object": error.status()}) + b"\n"


class _Watch:
    """One watch under way: when it ends, when it says that it still lives."""

    def __init__(self, watcher: Watcher, endpoint: Endpoint, seconds: float, bookmarks: bool) -> None:
        self._watcher = watcher
        self._endpoint = endpoint
        self._bookmarks = bookmarks
        self._time = asyncio.get_running_loop().time
        self._end = self._time() + seconds
        early = bookmarks and seconds > 2 * _LAST_BOOKMARK_SECONDS
        self._last_bookmark = self._end - _LAST_BOOKMARK_SECONDS if early else self._end

    def _pause(self) -> float:
        """How long to wait before the next bookmark, or the end; 0 when it is over."""
        now = self._time()
        if not self._bookmarks or now >= self._end:
            return max(self._end - now, 0.0)
        return min((self._last_bookmark if now < self._last_bookmark else self._end) - now, BOOKMARK_SECONDS)

    def _bookmark(self) -> None:
        if self._bookmarks and self._time() < self._end:
            self._watcher.put_bookmark(self._endpoint.cacher.revision)

    async def pushed(self, connection: Any) -> AsyncIterator[bytes]:
        """Yields once, so that the head is sent; then the watcher writes to the connection by itself."""
        watcher = self._watcher
        try:
            yield b""
            watcher.push_to(connection.push)
            connection.on_writable(watcher.flush)
            while pause := self._pause():
                if await watcher.ended(pause):
                    break
                self._bookmark()
            watcher.flush()
            if watcher.waiting:
                connection.transport.abort()  # cut off: a client that does not read would not see the end either
        finally:
            watcher.close()
            connection.on_writable(None)

    async def pulled(self) -> AsyncIterator[bytes]:
        watcher = self._watcher
        try:
            while pause := self._pause():
                data = await watcher.take(pause)
                if data:
                    yield data
                elif watcher.closed:
                    return
                else:
                    self._bookmark()
        finally:
            watcher.close()
