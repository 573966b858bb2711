"""Discovery at its paths: ``/api``, ``/apis`` and what is below them, legacy or aggregated as the client asks."""

from typing import Any

import orjson

from apiserver.context import Context
from apiserver.request import Request
from apiserver.response import Response
from apiserver.routes import discovery

_TEXT = b"text/plain; charset=utf-8"


def answer(request: Request, context: Context) -> Response | None:
    """None for a path that is not discovery's."""
    match request.info.path.strip("/").split("/"):
        case ["api"]:
            return _groups(request, [""], lambda: discovery.api_versions(context.address))
        case ["apis"]:
            return _groups(request, discovery.groups(), discovery.api_group_list)
        case ["api", version]:
            return _resources("", version)
        case ["apis", group]:
            if group not in discovery.groups():
                return _not_found()
            return _document({"kind": "APIGroup", "apiVersion": "v1", **discovery.api_group(group)})
        case ["apis", group, version]:
            return _resources(group, version)
    return None


def _document(document: Any, *headers: tuple[bytes, bytes]) -> Response:
    return Response(orjson.dumps(document), headers=headers)


def _not_found() -> Response:
    return Response(b"404 page not found\n", 404, _TEXT)


def _resources(group: str, version: str) -> Response:
    try:
        return _document(discovery.api_resource_list(group, version))
    except KeyError:
        return _not_found()


def _groups(request: Request, groups: list[str], legacy: Any) -> Response:
    """The aggregated form for clients that ask for it, with an ETag so that they ask for it in full only once."""
    vary = (b"vary", b"Accept")
    for wanted in request.header(b"accept").split(","):
        parts = dict(p.strip().partition("=")[::2] for p in wanted.split(";"))
        if "application/json" not in parts:
            continue
        version = parts.get("v", "")
        if parts.get("g") == discovery.AGGREGATED_GROUP and version in ("v2", "v2beta1"):
            body = discovery.encode(discovery.aggregated(groups, version))
            tag = discovery.etag(body)
            headers, public = ((b"etag", tag.encode()), vary), (b"cache-control", b"public")
            media = f"application/json;g={discovery.AGGREGATED_GROUP};v={version};as=APIGroupDiscoveryList".encode()
            # Also with 304: caches put the new headers onto the old body, and the type says how to read that.
            status, body = (304, b"") if request.header(b"if-none-match") == tag else (200, body)
            return Response(body, status, media, headers, public)
        if not parts.get("g"):
            break
    return _document(legacy(), vary)
