"""The FastAPI application of everything that is not about a resource.

It is built with the first request that needs it: FastAPI takes longer to import than the rest of the server, and a
cluster's own components never ask for these documents.
"""

import gzip
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, Response

from apiserver.context import Context
from apiserver.openapi import documents, v2_protobuf
from apiserver.openapi.rendered import V2, V2_PROTOBUF, Rendered
from apiserver.routes import discovery, version


def build(context: Context) -> FastAPI:
    """Routes only; who may ask is decided before a request gets here."""
    rendered = Rendered()
    app = FastAPI(title="minik8s", version=version.GIT_VERSION, docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/version")
    @app.get("/version/")
    async def get_version() -> Response:
        return _document(version.document())

    @app.get("/metrics")
    async def metrics() -> Response:
        return PlainTextResponse(context.metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/")
    async def paths() -> Response:
        found = [p for p in (getattr(r, "path", "{") for r in app.routes) if "{" not in p]
        roots = {r.api_root for r in context.endpoints}
        return _document({"paths": sorted({*found, *roots} - {"/"})})

    @app.get("/api")
    async def legacy_versions(request: Request) -> Response:
        return _discovery(request, [""], lambda: discovery.api_versions(context.address))

    @app.get("/apis")
    async def groups(request: Request) -> Response:
        return _discovery(request, discovery.groups(), discovery.api_group_list)

    @app.get("/api/{api_version}")
    async def core_resources(api_version: str) -> Response:
        return _resources("", api_version)

    @app.get("/apis/{group}")
    async def one_group(group: str) -> Response:
        if group not in discovery.groups():
            return _not_found()
        return _document({"kind": "APIGroup", "apiVersion": "v1", **discovery.api_group(group)})

    @app.get("/apis/{group}/{api_version}")
    async def group_resources(group: str, api_version: str) -> Response:
        return _resources(group, api_version)

    @app.get("/openapi/v3")
    async def openapi_index() -> Response:
        return _document(documents.v3_index())

    @app.get("/openapi/v3/{group_version:path}")
    async def openapi_v3(group_version: str, request: Request) -> Response:
        if group_version not in documents.group_versions():
            return _not_found()
        headers = {"vary": "Accept"}
        if "hash" in request.query_params:
            headers["cache-control"] = "public, immutable"  # the address changes with the content
        return _compressed(request, await rendered.get(group_version), headers)

    @app.get("/openapi/v2")
    async def openapi_v2(request: Request) -> Response:
        wanted = request.headers.get("accept", "").split(",")[0].strip()
        if wanted == v2_protobuf.MEDIA_TYPE:
            body, media_type = await rendered.get(V2_PROTOBUF), "application/octet-stream"
        else:
            body, media_type = await rendered.get(V2), "application/json"
        return _compressed(request, body, {"vary": "Accept"}, media_type)

    @app.exception_handler(404)
    async def not_found(request: Request, error: Exception) -> Response:
        return _not_found()

    return app


def _compressed(
    request: Request, body: bytes, headers: dict[str, str], media_type: str = "application/json"
) -> Response:
    """``body`` is compressed already; who does not accept that gets it unpacked."""
    tag = discovery.etag(body)
    headers = {**headers, "etag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["content-encoding"] = "gzip"
    else:
        body = gzip.decompress(body)
    return Response(body, media_type=media_type, headers=headers)


def _not_found() -> Response:
    return PlainTextResponse("404 page not found\n", 404)


def _document(document: Any, headers: dict[str, str] | None = None, media_type: str = "application/json") -> Response:
    return Response(orjson.dumps(document), media_type=media_type, headers=headers)


def _resources(group: str, api_version: str) -> Response:
    try:
        return _document(discovery.api_resource_list(group, api_version))
    except KeyError:
        return _not_found()


def _discovery(request: Request, groups: list[str], legacy: Any) -> Response:
    """The aggregated form for clients that ask for it, with an ETag so that they ask for it in full only once."""
    for wanted in request.headers.get("accept", "").split(","):
        parts = dict(p.strip().partition("=")[::2] for p in wanted.split(";"))
        if "application/json" not in parts:
            continue
        api_version = parts.get("v", "")
        if parts.get("g") == discovery.AGGREGATED_GROUP and api_version in ("v2", "v2beta1"):
            body = discovery.encode(discovery.aggregated(groups, api_version))
            tag = discovery.etag(body)
            headers = {"etag": tag, "vary": "Accept", "cache-control": "public"}
            if request.headers.get("if-none-match") == tag:
                return Response(status_code=304, headers=headers)
            media = f"application/json;g={discovery.AGGREGATED_GROUP};v={api_version};as=APIGroupDiscoveryList"
            return Response(body, media_type=media, headers=headers)
        if not parts.get("g"):
            break
    return _document(legacy(), {"vary": "Accept"})
