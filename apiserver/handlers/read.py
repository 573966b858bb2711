"""get and list: consistent, cached or historical, as ``resourceVersion`` and ``resourceVersionMatch`` ask."""

from typing import Any, NamedTuple

import orjson

from apimachinery import errors
from apimachinery.errors import StatusError
from apiserver.cacher import Entry
from apiserver.cacher.cacher import too_large_resource_version
from apiserver.forms import list_metadata
from apiserver.handlers.endpoint import Endpoint
from apiserver.handlers.listoptions import Continue, check_list_options, parse_resource_version
from apiserver.negotiation import negotiate
from apiserver.pieces import Pieces, whole
from apiserver.request import Request
from apiserver.response import Response, wants_pretty
from apiserver.selection import Selection, select

_PAGE = 500
_EXPIRED_LIST = "The resourceVersion for the provided list is too old."
_EXPIRED_CONTINUE = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter."
)
_INCONSISTENT_CONTINUE = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)


async def get(request: Request, endpoint: Endpoint) -> Response:
    info, query = request.info, request.query
    form = negotiate(request.header(b"accept"), collection=False)
    wanted = parse_resource_version(query.get("resourceVersion", ""))
    if wanted is None:
        await endpoint.cacher.consistent()
    else:
        await endpoint.cacher.wait_for(wanted)
    entry = endpoint.cache.get(endpoint.key(info.namespace, info.name))
    if entry is None:
        raise endpoint.not_found(info.name)
    return body_response(request, endpoint.form(form, query.get("includeObject", "")).object(entry.body))


def body_response(request: Request, data: bytes | Pieces) -> Response:
    if wants_pretty(request):
        data = orjson.dumps(orjson.loads(whole(data)), option=orjson.OPT_INDENT_2) + b"\n"
    return Response(data)


class Listing(NamedTuple):
    """What a list request found: the bodies and what the list's metadata says."""

    bodies: list[bytes]
    metadata: dict[str, Any]


async def list_(request: Request, endpoint: Endpoint) -> Response:
    query = request.query
    form = negotiate(request.header(b"accept"), collection=True)
    selection = select(request, endpoint.strategy)
    found = await listing(request, endpoint, selection)
    shaped = endpoint.form(form, query.get("includeObject", ""))
    return body_response(request, shaped.list(found.bodies, found.metadata))


async def listing(request: Request, endpoint: Endpoint, selection: Selection) -> Listing:
    query, cacher = request.query, endpoint.cacher
    check_list_options(query, watch=False)
    limit = max(request.integer("limit") or 0, 0)
    match, asked = query.get("resourceVersionMatch", ""), query.get("resourceVersion", "")
    if query.get("continue"):
        token = Continue.decode(query["continue"])
        if asked not in ("", "0"):
            raise errors.bad_request("specifying resource version is not allowed when using continue")
        return await _continue(endpoint, selection, token, limit)
    version = parse_resource_version(asked, "invalid resource version: ")
    if version and (match == "Exact" or (not match and limit)):
        return await _historical(endpoint, selection, version, limit)
    if version is None:
        await cacher.consistent()
    else:
        await cacher.wait_for(version)
    if version == 0:
        limit = 0  # upstream's cache answers such a list whole
    return _from_cache(endpoint, selection, limit)


def _from_cache(endpoint: Endpoint, selection: Selection, limit: int) -> Listing:
    revision = endpoint.cacher.revision
    entries = selection.entries(endpoint.cache)
    if not limit or len(entries) <= limit:
        return Listing([e.body for e in entries], list_metadata(revision))
    page = entries[:limit]
    remaining = len(entries) - limit if selection.matches is None else None
    start = page[-1].key[_prefix_length(selection) :] + "\0"
    token = Continue(revision, start).encode()
    return Listing([e.body for e in page], list_metadata(revision, token, remaining))


def _prefix_length(selection: Selection) -> int:
    return len(selection.scope) if selection.scope.endswith("/") else 0


async def _continue(endpoint: Endpoint, selection: Selection, token: Continue, limit: int) -> Listing:
    try:
        return await _pages(endpoint, selection, max(token.revision, 0), token.start, limit)
    except StatusError as error:
        if error.code != 410:
            raise
        # The client may go on without a snapshot from where it was.
        raise _inconsistent(token) from None


def _inconsistent(token: Continue) -> StatusError:
    error = errors.expired(_INCONSISTENT_CONTINUE)
    status = error.status

    def with_token() -> dict[str, Any]:
        body = status()
        body["metadata"] = {"continue": Continue(-1, token.start).encode()}
        return body

    error.status = with_token  # type: ignore[method-assign]
    return error


async def _historical(endpoint: Endpoint, selection: Selection, revision: int, limit: int) -> Listing:
    cacher = endpoint.cacher
    if revision > cacher.revision:
        await cacher.consistent()
        if revision > cacher.revision:
            raise too_large_resource_version(revision, cacher.revision)
    try:
        return await _pages(endpoint, selection, revision, "", limit)
    except StatusError as error:
        if error.code != 410:
            raise
        raise errors.expired(_EXPIRED_LIST) from None


async def _pages(endpoint: Endpoint, selection: Selection, revision: int, start: str, limit: int) -> Listing:
    """A list read from the store as it was at ``revision``; pages are read until ``limit`` objects match."""
    scope = selection.scope
    prefix = endpoint.cache.prefix + scope
    next_key = prefix + start
    bodies: list[bytes] = []
    while True:
        wanted = limit - len(bodies) if limit and selection.matches is None else _PAGE if limit else 0
        page = await endpoint.store.range(prefix, start=next_key, revision=revision, limit=wanted)
        revision = revision or page.revision
        for i, item in enumerate(page.items):
            key = item.key[len(endpoint.cache.prefix) :]
            entry = Entry(key, endpoint.codec.body(item.value, item.revision), item.revision)
            if scope and not scope.endswith("/") and key != scope:
                continue
            if selection.matches is None or selection.matches(endpoint.cache.attributes(entry)):
                bodies.append(entry.body)
            if limit and len(bodies) == limit and (page.more or i + 1 < len(page.items)):
                remaining = page.total - i - 1 if selection.matches is None else None
                token = Continue(revision, item.key[len(prefix) :] + "\0").encode()
                return Listing(bodies, list_metadata(revision, token, remaining))
        if not page.more:
            return Listing(bodies, list_metadata(revision))
        next_key = page.items[-1].key + "\0"
