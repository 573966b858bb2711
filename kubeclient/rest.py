"""The verbs of the Kubernetes API over HTTPS and JSON.

    client = Client(Config.load(path))
    pods = client.resource("v1", "pods")
    pod = await pods.get("web-0", "default")
    async for event in pods.watch("default", resource_version=rv): ...

Objects are plain dicts. Every answer that is not a success raises :class:`ApiError` with the server's Status.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from kubeclient.config import Config
from kubeclient.http import ConnectionBroken, HttpClient, Response, TransportError

log = logging.getLogger(__name__)

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

#: Metadata alone where the server can do that, the whole object where it cannot.
PARTIAL_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"

#: How often a call is repeated that the server turned away with 429 or 503 and Retry-After, as in client-go.
MAX_RETRIES = 10

Object = dict[str, Any]


class ApiError(Exception):
    """What the server said no with: ``code`` (HTTP), ``reason`` (``NotFound``, ``Conflict`` ...), ``message``, ``status``."""

    def __init__(self, code: int, status: Object) -> None:
        self.code = code
        self.status = status
        self.reason: str = status.get("reason") or ""
        self.message: str = status.get("message") or f"the server answered {code}"
        super().__init__(self.message)

    @property
    def not_found(self) -> bool:
        return self.code == 404

    @property
    def already_exists(self) -> bool:
        return self.reason == "AlreadyExists"

    @property
    def conflict(self) -> bool:
        return self.reason == "Conflict"

    @property
    def expired(self) -> bool:
        """The resourceVersion or continue token is too old: list again."""
        return self.code == 410

    @property
    def namespace_terminating(self) -> bool:
        """Creating here is futile (and no error of ours): the namespace is going away."""
        causes = (self.status.get("details") or {}).get("causes") or []
        return any(cause.get("reason") == "NamespaceTerminating" for cause in causes)


@dataclass(slots=True)
class WatchEvent:
    """``type`` is ADDED, MODIFIED, DELETED or BOOKMARK; an ERROR is raised as :class:`ApiError`."""

    type: str
    object: Object


class Client:
    """One connection pool to one API server, under one identity. Close it with ``await client.close()``."""

    def __init__(self, config: Config, *, user_agent: str = "minik8s", timeout: float = 30.0) -> None:
        self.config, self._timeout = config, timeout
        self._http = HttpClient(
            config.server,
            config.ssl_context() if config.server.startswith("https") else None,
            server_name=config.tls_server_name,
            headers={"user-agent": user_agent, "accept-encoding": "identity"},
        )

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.close()

    def resource(self, api_version: str, plural: str, *, metadata_only: bool = False) -> "ResourceClient":
        """``metadata_only``: ask for PartialObjectMetadata, for those who need to know objects but not their contents."""
        return ResourceClient(self, api_version, plural, accept=PARTIAL_METADATA if metadata_only else "")

    async def wait_ready(self, *, interval: float = 0.05) -> None:
        """Until the server says that it is ready: components start beside it, and a refused connection costs little.

        A server that answers but lets nobody ask for its health (401, 403) counts as ready.
        """
        while True:
            try:
                await self.request("GET", "/readyz", timeout=5.0)
                return
            except ApiError as error:
                if error.code < 500:
                    return
            except TransportError:
                pass
            await asyncio.sleep(interval)

    def _headers(self, headers: Mapping[str, str] | None = None) -> dict[str, str]:
        merged = {"accept": "application/json", **(headers or {})}
        token = self.config.bearer_token()
        if token:
            merged["authorization"] = f"Bearer {token}"
        return merged

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Response:
        """One call; ``body`` is encoded as JSON unless it is bytes. Raises ApiError, or TransportError.

        ``timeout``: the longest silence in seconds.

        Turned away with Retry-After, it waits and asks again. A GET is also repeated when the connection broke.
        """
        content = body if isinstance(body, bytes | None) else orjson.dumps(body)
        sent = self._headers(headers)
        if content is not None:
            sent["content-type"] = content_type
        for attempt in range(MAX_RETRIES + 1):
            try:
                response = await self._http.request(
                    method,
                    path,
                    params=_clean(params),
                    content=content,
                    headers=sent,
                    timeout=self._timeout if timeout is None else timeout,
                )
            except ConnectionBroken:
                # A keep-alive connection that the server closed meanwhile; only a read is safe to repeat.
                if method != "GET" or attempt >= 2:
                    raise
                continue
            if response.status_code in (429, 503) and "retry-after" in response.headers and attempt < MAX_RETRIES:
                await asyncio.sleep(_retry_after(response))
                continue
            if response.is_success:
                return response
            raise _error(response.status_code, response.content)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def json(self, method: str, path: str, **kwargs: Any) -> Any:
        return orjson.loads((await self.request(method, path, **kwargs)).content)

    async def stream(
        self,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        read_timeout: float | None = None,
    ) -> AsyncIterator[bytes]:
        """The raw bytes of a GET as they arrive (logs, watches). ``read_timeout``: longest silence in seconds."""
        answer = self._http.stream(
            path,
            params=_clean(params),
            headers=self._headers(headers),
            timeout=self._timeout,
            read_timeout=read_timeout,
        )
        # Closed here and now, not by the collector: an abandoned watch must not keep its connection.
        async with contextlib.aclosing(answer):
            response = await anext(answer)
            assert isinstance(response, Response)
            if not response.is_success:
                content = b"".join([chunk async for chunk in answer if isinstance(chunk, bytes)])
                raise _error(response.status_code, content)
            async for chunk in answer:
                assert isinstance(chunk, bytes)
                yield chunk

    async def watch(
        self,
        path: str,
        *,
        params: Mapping[str, Any],
        headers: Mapping[str, str] | None = None,
        read_timeout: float | None = None,
    ) -> AsyncIterator[WatchEvent]:
        """The events of a watch, one JSON document a line, until the server ends the stream."""
        tail = b""
        async for chunk in self.stream(path, params=params, headers=headers, read_timeout=read_timeout):
            *lines, tail = (tail + chunk).split(b"\n")
            for line in lines:
                if not line:
                    continue
                event = orjson.loads(line)
                if event["type"] == "ERROR":
                    raise ApiError(event["object"].get("code") or 500, event["object"])
                yield WatchEvent(event["type"], event["object"])


class ResourceClient:
    """The verbs on one resource. ``namespace`` is left out for cluster-scoped kinds and for lists over all namespaces.

    ``accept`` is the media type that reads ask for (see :data:`PARTIAL_METADATA`).
    """

    def __init__(self, client: Client, api_version: str, plural: str, *, accept: str = "") -> None:
        self.client, self.api_version, self.plural = client, api_version, plural
        self._accept = {"accept": accept} if accept else None
        self._root = f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        parts = [self._root]
        if namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name:
            parts.append(name)
        if subresource:
            parts.append(subresource)
        return "/".join(parts)

    async def get(
        self,
        name: str,
        namespace: str | None = None,
        *,
        subresource: str | None = None,
        resource_version: str = "",
    ) -> Object:
        params = {"resourceVersion": resource_version}
        path = self.path(namespace, name, subresource)
        return await self.client.json("GET", path, params=params, headers=self._accept)

    async def list(
        self,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str = "",
        limit: int = 0,
        continue_: str = "",
    ) -> Object:
        """A whole List object; items carry no kind, as upstream leaves them."""
        params = {
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
            "resourceVersion": resource_version,
            "limit": limit or "",
            "continue": continue_,
        }
        return await self.client.json("GET", self.path(namespace), params=params, headers=self._accept)

    async def watch(
        self,
        namespace: str | None = None,
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
        timeout_seconds: int = 0,
        bookmarks: bool = True,
    ) -> AsyncIterator[WatchEvent]:
        """Events after ``resource_version``, until the server ends the stream. Raises ApiError for an ERROR event."""
        params = {
            "watch": "true",
            "resourceVersion": resource_version,
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
            "timeoutSeconds": timeout_seconds or "",
            "allowWatchBookmarks": "true" if bookmarks else "",
        }
        # Bookmarks come about once a minute; three silent minutes mean a dead connection.
        read_timeout = 180.0 if bookmarks else None
        path, headers = self.path(namespace), self._accept
        async for event in self.client.watch(path, params=params, headers=headers, read_timeout=read_timeout):
            yield event

    async def create(
        self,
        obj: Object,
        namespace: str | None = None,
        *,
        name: str | None = None,
        subresource: str | None = None,
    ) -> Object:
        """``name`` and ``subresource`` for POSTs such as ``pods/web-0/binding`` and ``serviceaccounts/x/token``."""
        namespace = namespace or obj.get("metadata", {}).get("namespace")
        return await self.client.json("POST", self.path(namespace, name, subresource), body=obj)

    async def update(self, obj: Object, *, subresource: str | None = None) -> Object:
        """Replace; 409 unless ``metadata.resourceVersion`` is the current one (or empty)."""
        meta = obj["metadata"]
        path = self.path(meta.get("namespace"), meta["name"], subresource)
        return await self.client.json("PUT", path, body=obj)

    async def update_status(self, obj: Object) -> Object:
        return await self.update(obj, subresource="status")

    async def patch(
        self,
        name: str,
        patch: Any,
        namespace: str | None = None,
        *,
        content_type: str = MERGE_PATCH,
        subresource: str | None = None,
        field_manager: str = "",
        force: bool = False,
    ) -> Object:
        params = {"fieldManager": field_manager, "force": "true" if force else ""}
        path = self.path(namespace, name, subresource)
        return await self.client.json("PATCH", path, body=patch, content_type=content_type, params=params)

    async def delete(
        self,
        name: str,
        namespace: str | None = None,
        *,
        grace_period_seconds: int | None = None,
        propagation_policy: str | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
    ) -> Object:
        options: Object = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if grace_period_seconds is not None:
            options["gracePeriodSeconds"] = grace_period_seconds
        if propagation_policy:
            options["propagationPolicy"] = propagation_policy
        preconditions = {k: v for k, v in (("uid", uid), ("resourceVersion", resource_version)) if v}
        if preconditions:
            options["preconditions"] = preconditions
        return await self.client.json("DELETE", self.path(namespace, name), body=options)

    async def delete_collection(
        self, namespace: str | None = None, *, label_selector: str = "", field_selector: str = ""
    ) -> Object:
        params = {"labelSelector": label_selector, "fieldSelector": field_selector}
        return await self.client.json("DELETE", self.path(namespace), params=params)


def _clean(params: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return {k: v for k, v in params.items() if v not in ("", None)} if params else None


def _retry_after(response: Response) -> float:
    try:
        return min(float(response.headers["retry-after"]), 60.0)
    except ValueError:
        return 1.0


def _error(code: int, content: bytes) -> ApiError:
    try:
        status = orjson.loads(content)
    except orjson.JSONDecodeError:
        status = None
    if not isinstance(status, dict) or status.get("kind") != "Status":
        text = content.decode(errors="replace").strip()[:500]
        status = {"kind": "Status", "status": "Failure", "code": code, "message": text}
    return ApiError(code, status)
