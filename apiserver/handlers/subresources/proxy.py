"""``pods/NAME/proxy/...``, ``services/NAME/proxy/...``, ``nodes/NAME/proxy/...``: any request passed on to what runs there.

NAME may be ``name``, ``name:port`` or ``scheme:name:port``. The answer is the backend's, with links that lead back through the
proxy; an upgrade (a WebSocket) joins the two connections. The client's credentials stay here.
"""

import ipaddress
import posixpath
import random
import ssl
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

from apimachinery import errors
from apimachinery.errors import StatusError
from apiserver import backend
from apiserver.admission import Attributes
from apiserver.authentication.authenticator import without_token
from apiserver.backend import Answer, BackendError, Location
from apiserver.context import Context
from apiserver.handlers.endpoint import Endpoint
from apiserver.handlers.subresources.container import find_node
from apiserver.handlers.subresources.links import Links
from apiserver.request import Request
from apiserver.response import Response, Stream

Object = dict[str, Any]
#: Of one connection only, or somebody's credentials here: never passed on.
_HOP = frozenset((
    "connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer",
    "transfer-encoding", "upgrade", "expect",
))  # fmt: skip
_CREDENTIALS = ("authorization", "impersonate-")
_FORWARDED = ("x-forwarded-for", "x-forwarded-uri")
#: Of an answer: uvicorn tells the date itself; who may read a page from elsewhere is not for the backend to say.
_NOT_RETURNED = _HOP | {
    "date", "access-control-allow-credentials", "access-control-allow-headers", "access-control-allow-methods",
    "access-control-allow-origin",
}  # fmt: skip
#: A page that is larger than this is passed on with its links as they are.
_MAX_PAGE = 16 << 20
#: What may stand in a path as it is.
_SAFE = "/~!$&'()*+,;=:@"
_PORTS = {"": 80, "http": 80, "https": 443}


async def node(request: Request, endpoint: Endpoint, context: Context) -> Response | Stream | None:
    """The node's kubelet, or whatever listens on another port of the node."""
    scheme, name, port = split_name(request.info.name, "node")
    kubelet = context.kubelets.location(find_node(name, context))
    if not port or port == str(kubelet.port):
        return await _pass_on(request, endpoint, context, kubelet)
    return await _pass_on(request, endpoint, context, _location(scheme, _allowed(kubelet.host), port))


async def pod(request: Request, endpoint: Endpoint, context: Context) -> Response | Stream | None:
    scheme, name, port = split_name(request.info.name, "pod")
    await endpoint.cacher.consistent()
    found = _lookup(endpoint, request.info.namespace, name)
    if found is None:
        raise endpoint.not_found(name)
    if not port:
        ports = [c["ports"][0]["containerPort"] for c in found["spec"].get("containers") or () if c.get("ports")]
        port = str(ports[0]) if ports else ""
    return await _pass_on(request, endpoint, context, _location(scheme, _allowed(_pod_ip(found), found, context), port))


async def service(request: Request, endpoint: Endpoint, context: Context) -> Response | Stream | None:
    """One of the Service's ready pods, by chance. Endpoints that are no pods are not led to, as upstream."""
    namespace = request.info.namespace
    scheme, name, port = split_name(request.info.name, "service")
    await endpoint.cacher.consistent()
    if port.isdigit():
        found = _lookup(endpoint, namespace, name)
        if found is None:
            raise endpoint.not_found(name)
        names = [p.get("name", "") for p in found["spec"].get("ports") or () if p["port"] == int(port)]
        if not names:
            text = f"no service port {int(port)} found for service {errors.quote(name)}"
            raise errors.service_unavailable(text)
        port = names[0]
    endpoints = context.endpoint("", "endpoints")
    found = _lookup(endpoints, namespace, name)
    if found is None:
        raise endpoints.not_found(name)
    subsets = found.get("subsets") or []
    if not subsets:
        raise errors.service_unavailable(f"no endpoints available for service {errors.quote(name)}")
    for subset in random.sample(subsets, len(subsets)):
        number = next((p["port"] for p in subset.get("ports") or () if p.get("name", "") == port), None)
        addresses = subset.get("addresses") or []
        for address in random.sample(addresses, len(addresses)) if number is not None else ():
            backing = _pod_behind(address, namespace, context)
            if backing is not None:
                host = _allowed(address["ip"], backing, context)
                return await _pass_on(request, endpoint, context, _location(scheme, host, str(number)))
    raise errors.service_unavailable(f"no endpoints available for service {errors.quote(request.info.name)}")


# --- where to


def split_name(text: str, what: str) -> tuple[str, str, str]:
    """Scheme, name and port, empty when not given. Raises 400."""
    parts = text.split(":")
    scheme, name, port = {1: ("", *parts, ""), 2: ("", *parts), 3: tuple(parts)}.get(len(parts), ("", "", ""))
    if not name or scheme not in _PORTS:
        raise errors.bad_request(f"invalid {what} request {errors.quote(text)}")
    return scheme, name, port


def _location(scheme: str, host: str, port: str) -> Location:
    if port and not (port.isdigit() and int(port) < 65536):
        # Upstream finds out when it dials.
        text = f"error trying to reach service: dial tcp: lookup tcp/{port}: unknown port"
        raise errors.service_unavailable(text)
    tls = None
    if scheme == "https":
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # as upstream: encrypted, but whoever answers is believed
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    return Location(host, int(port) if port else _PORTS[scheme], tls)


def _allowed(host: str, pod: Object | None = None, context: Context | None = None) -> str:
    """An address that one may be led to: none of the API server's own machine, which pods' statuses might name.

    A pod on a node whose own address is a loopback address (all of a cluster without network namespaces) is there, and so
    may be asked.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise errors.bad_request("address not allowed") from None
    if pod is not None and context is not None and address.is_loopback and pod["spec"].get("nodeName"):
        home = find_node(pod["spec"]["nodeName"], context)
        if context.kubelets.location(home).host == host:
            return host
    if address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified:
        raise errors.bad_request("address not allowed")
    return host


def _pod_ip(pod: Object) -> str:
    ips = (pod.get("status") or {}).get("podIPs") or [{}]
    return str(ips[0].get("ip") or "")


def _pod_behind(address: Object, namespace: str, context: Context) -> Object | None:
    reference = address.get("targetRef") or {}
    if reference.get("namespace") != namespace:
        return None
    found = _lookup(context.endpoint("", "pods"), namespace, reference.get("name", ""))
    return found if found is not None and _pod_ip(found) == address["ip"] else None


def _lookup(endpoint: Endpoint, namespace: str, name: str) -> Object | None:
    entry = endpoint.cache.get(endpoint.key(namespace, name))
    return None if entry is None else endpoint.decode_entry(entry)


# --- there and back


async def _pass_on(
    request: Request, endpoint: Endpoint, context: Context, location: Location
) -> Response | Stream | None:
    info, path = request.info, request.scope["path"]
    attributes = Attributes(
        "CONNECT", endpoint.resource, None, None, request.user,
        namespace=info.namespace, name=info.name, subresource="proxy", warnings=request.warnings,
    )  # fmt: skip
    await context.admission.admit(attributes)
    await context.admission.validate(attributes)
    target, prefix = _target(path)
    query = request.scope["query_string"].decode("latin-1")
    suffix = f"?{query}" if query else ""
    if not upgrading(request) and not target and request.method in ("GET", "HEAD"):
        # So that the relative links of a page mean what lies below the proxy.
        return Response(b"", 301, headers=[(b"location", f"{quote(path, safe=_SAFE)}/{suffix}".encode("latin-1"))])
    headers = _headers(request, prefix + target)
    return await _exchange(request, location, quote(target or "/", safe=_SAFE) + suffix, headers, prefix)


def upgrading(request: Request) -> bool:
    return "upgrade" in request.header(b"connection").lower()


def _target(path: str) -> tuple[str, str]:
    """The path behind the proxy, and the path of the proxy itself."""
    parts = path.split("/")
    below = 1 + parts.index("proxy", 4)
    rest = "/".join(parts[below:])
    cleaned = posixpath.normpath("/" + rest).replace("//", "/") if rest else ""
    if len(parts) > below and not parts[-1] and not cleaned.endswith("/"):
        cleaned += "/"
    return cleaned, "/".join(parts[:below])


def _headers(request: Request, uri: str) -> list[tuple[str, str]]:
    named = {word.strip().lower() for word in request.header(b"connection").split(",")}
    kept: list[tuple[str, str]] = []
    for raw, value in request.scope["headers"]:
        name = raw.decode("latin-1")
        if name in _HOP or name in named or name.startswith(_CREDENTIALS) or name in _FORWARDED:
            continue
        text = value.decode("latin-1")
        kept.append((name, without_token(text) if name == "sec-websocket-protocol" else text))
    client = request.scope.get("client")
    before = request.header(b"x-forwarded-for")
    if client:
        kept.append(("X-Forwarded-For", f"{before}, {client[0]}" if before else client[0]))
    kept.append(("X-Forwarded-Uri", quote(uri, safe=_SAFE)))
    if upgrading(request):
        kept += [("Connection", "Upgrade"), ("Upgrade", request.header(b"upgrade"))]
    else:
        kept.append(("Connection", "close"))
        if request.header(b"transfer-encoding"):
            kept.append(("Transfer-Encoding", "chunked"))
    return kept


async def _exchange(
    request: Request, location: Location, target: str, headers: list[tuple[str, str]], prefix: str
) -> Response | Stream | None:
    upgrade = upgrading(request)
    try:
        answer = await backend.send(location, request.method, target, headers, b"" if upgrade else _body(request))
    except BackendError as error:
        if upgrade:
            raise StatusError(500, "", f"error dialing backend: {error}", {}) from None
        raise errors.service_unavailable(f"error trying to reach service: {error}") from None
    if answer.status == 101:
        await backend.splice(answer, *request.scope["connection"].take_over())
        return None
    if upgrade and answer.status < 400:
        answer.close()
        raise StatusError(500, "", f"invalid upgrade response: status code {answer.status}", {})
    connection = request.scope.get("connection")
    if connection is not None:
        connection.on_lost(answer.close)
    links = Links(prefix, location.authority, request.header(b"host"))
    return Passed(answer, links)


async def _body(request: Request) -> AsyncIterator[bytes]:
    """As it comes, of any length; chunks when the client sends chunks."""
    chunked = bool(request.header(b"transfer-encoding"))
    more = True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            return
        data, more = message.get("body", b""), message.get("more_body", False)
        if data:
            yield b"%x\r\n%b\r\n" % (len(data), data) if chunked else data
    if chunked:
        yield b"0\r\n\r\n"


class Passed(Stream):
    """A backend's answer on its way to the client."""

    def __init__(self, answer: Answer, links: Links) -> None:
        super().__init__(answer.body(), answer.status)
        self._answer, self._links = answer, links

    async def send(self, request: Request) -> None:
        named = {word.strip().lower() for word in self._answer.headers.get("connection", "").split(",")}
        headers = [(k, v) for k, v in self._answer.listed if k not in _NOT_RETURNED and k not in named]
        chunks = self.chunks
        if "location" in self._answer.headers:
            headers = [(k, self._links.url(v) if k == "location" else v) for k, v in headers]
        elif self._answer.headers.get("content-type", "").partition(";")[0].strip() == "text/html":
            chunks, whole = await self._page()
            if whole is not None:
                headers = [(k, v) for k, v in headers if k != "content-length"]
                headers.append(("content-length", str(whole)))
        if not any(k == "cache-control" for k, _ in headers):
            headers.append(("cache-control", "no-cache, private"))
        encoded = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in headers]
        await request.send({"type": "http.response.start", "status": self.status, "headers": encoded})
        try:
            async for chunk in chunks:
                await request.send({"type": "http.response.body", "body": chunk, "more_body": True})
        except BackendError:
            # The client has to see that something is missing: an answer that ends in order would hide it.
            connection = request.scope.get("connection")
            if connection is not None:
                connection.transport.abort()
            return
        await request.send({"type": "http.response.body", "body": b""})

    async def _page(self) -> tuple[AsyncIterator[bytes], int | None]:
        """The page with its links changed, and its length; or as it comes when it is too long or ends too early."""
        held, size, failure = [], 0, None
        try:
            async for chunk in self.chunks:
                held.append(chunk)
                size += len(chunk)
                if size > _MAX_PAGE:
                    return _chained(held, self.chunks), None
        except BackendError as error:
            failure = error
        if failure is not None or not held:
            return _chained(held, self.chunks, failure), None
        page = self._links.page(b"".join(held), self._answer.headers.get("content-encoding", ""))
        return _chained([page], self.chunks), len(page)


async def _chained(
    held: list[bytes], rest: AsyncIterator[bytes], failure: BackendError | None = None
) -> AsyncIterator[bytes]:
    for chunk in held:
        yield chunk
    if failure is not None:
        raise failure
    async for chunk in rest:
        yield chunk
