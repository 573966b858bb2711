"""watch: a stream of events from the cache, one JSON document a line."""

import asyncio
import random
from collections.abc import AsyncIterator

import orjson

from apimachinery.errors import StatusError
from apiserver.cacher import Watcher
from apiserver.handlers.endpoint import Endpoint
from apiserver.handlers.read import check_list_options, parse_resource_version
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
    form = endpoint.form(negotiate(request.header(b"accept"), collection=False), query.get("includeObject", ""))
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
        if version:
            await cacher.wait_for(version)
        elif version is None:
            await cacher.consistent()
        if initial is not None:
            since = None if initial else version or cacher.revision
        else:
            since = version or None
        watcher = endpoint.cache.watch(selection.scope, selection.matches, form, since)
    except StatusError as error:
        return Stream(_failed(error), content_type=content_type)
    if initial and bookmarks:
        watcher.put_bookmark(cacher.revision, initial_events_end=True)
    connection = request.scope.get("connection")
    if connection is not None:
        connection.on_lost(watcher.close)
    return Stream(_events(watcher, endpoint, seconds, bookmarks), content_type=content_type)


async def _failed(error: StatusError) -> AsyncIterator[bytes]:
    yield orjson.dumps({"type": "ERROR", "object": error.status()}) + b"\n"


async def _events(watcher: Watcher, endpoint: Endpoint, seconds: float, bookmarks: bool) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    last_bookmark = end - _LAST_BOOKMARK_SECONDS if bookmarks and seconds > 2 * _LAST_BOOKMARK_SECONDS else end
    try:
        while True:
            now = loop.time()
            if now >= end:
                return
            until = (last_bookmark if now < last_bookmark else end) - now
            data = await watcher.take(min(until, BOOKMARK_SECONDS) if bookmarks else end - now)
            if data:
                yield data
            elif watcher.closed:
                return
            elif bookmarks and loop.time() < end:
                watcher.put_bookmark(endpoint.cacher.revision)
    finally:
        watcher.close()
