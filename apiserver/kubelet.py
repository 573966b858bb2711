"""Connections to kubelets: where they are, and what the API server makes of what they refuse."""

import ssl
from typing import Any

from apimachinery import errors
from apimachinery.errors import StatusError
from apiserver import backend
from apiserver.backend import Answer, BackendError, Headers, Location
from apiserver.options import Options

Object = dict[str, Any]
_ADDRESS_TYPES = ("InternalIP", "ExternalIP", "Hostname", "InternalDNS", "ExternalDNS")
_MAX_ERROR_BODY = 50 * 1024


class Kubelets:
    """Reaches the kubelet of a node by the address and port that its Node object shows."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._context: ssl.SSLContext | None = None

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            options = self._options
            context = ssl.create_default_context(cafile=options.kubelet_certificate_authority or None)
            if not options.kubelet_certificate_authority:
                # As upstream without --kubelet-certificate-authority: encrypted, but whoever answers is believed.
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            if options.kubelet_client_certificate:
                context.load_cert_chain(options.kubelet_client_certificate, options.kubelet_client_key or None)
            self._context = context
        return self._context

    def location(self, node: Object) -> Location:
        return Location(*_address(node), self._tls())

    async def request(self, node: Object, method: str, target: str, headers: Headers = ()) -> Answer:
        """Sends a request and reads the head of the answer. Raises upstream's 500 when the kubelet cannot be reached."""
        location = self.location(node)
        try:
            return await backend.send(location, method, target, [("Host", location.authority), *headers])
        except BackendError as error:
            text = f'{method.title()} "{location.url(target)}": {error}'
            raise StatusError(500, "InternalError", text, {"causes": [{"message": text}]}) from None


async def refuse_failure(answer: Answer) -> None:
    """Raises what upstream makes of a kubelet's error: its text is the user's message."""
    if 200 <= answer.status < 300:
        return
    text = b""
    async for chunk in answer.body():
        text += chunk
        if len(text) >= _MAX_ERROR_BODY:
            break
    message = text.decode("utf-8", "replace").strip()
    if answer.status == 400:
        raise errors.bad_request(message)
    if answer.status == 404:
        details = {"causes": [{"reason": "UnexpectedServerResponse", "message": message}]}
        text_ = "the server could not find the requested resource"
        raise StatusError(404, "NotFound", f"{text_} {message}".strip(), details)
    if answer.status == 403:
        raise StatusError(403, "Forbidden", message or "the kubelet refuses", {})
    raise errors.internal(message or f"the kubelet answered {answer.status}")


def _address(node: Object) -> tuple[str, int]:
    status = node.get("status") or {}
    by_type = {a["type"]: a["address"] for a in reversed(status.get("addresses") or [])}
    port = (((status.get("daemonEndpoints") or {}).get("kubeletEndpoint")) or {}).get("Port") or 10250
    for kind in _ADDRESS_TYPES:
        if by_type.get(kind):
            return by_type[kind], port
    raise errors.internal(f"no preferred addresses found; known addresses: {list(by_type.values())}")
