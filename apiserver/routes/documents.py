"""The FastAPI application of what is neither a resource nor discovery: version, metrics, schemas.

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
        return _document({"paths": sorted({*found, *roots, "/api", "/apis"} - {"/"})})

    @app.get("/openapi/v3")
    async def openapi_index() -> Response:
        return _document(documents.v3_index())

    @app.get("/openapi/v3/{group_version:path}")
    async def openapi_v3(group_version: str, request: Request) -> Response:
        if group_version not in documents.document_names():
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
