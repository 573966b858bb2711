"""exec, attach and port-forward: the upgrade goes to the kubelet, then bytes flow both ways untouched.

WebSocket (v4/v5.channel.k8s.io) and SPDY/3.1 look the same from here: whatever the two ends agreed on, the API server only
checks who asks for what and joins two connections.
"""

from collections.abc import Mapping
from urllib.parse import quote, urlencode

from apimachinery import errors
from apimachinery.errors import StatusError
from apiserver import backend
from apiserver.admission import Attributes
from apiserver.authentication.authenticator import without_token
from apiserver.backend import BackendError
from apiserver.context import Context
from apiserver.handlers.endpoint import Endpoint
from apiserver.handlers.subresources.container import choose_container, find_pod, node_of
from apiserver.kubelet import refuse_failure
from apiserver.request import Request

#: What the kubelet must see of the client's request: the upgrade and nothing of the client's credentials.
_PASSED = ("connection", "upgrade", "x-stream-protocol-version")


_PROTOCOL = b"sec-websocket-protocol"


async def execute(request: Request, endpoint: Endpoint, context: Context) -> None:
    commands = request.query_all("command")
    if not any(commands):
        raise errors.bad_request("you must specify at least 1 command for the container")
    await _container_stream(request, endpoint, context, "exec", [("command", c) for c in commands])


async def attach(request: Request, endpoint: Endpoint, context: Context) -> None:
    await _container_stream(request, endpoint, context, "attach", [])


async def port_forward(request: Request, endpoint: Endpoint, context: Context) -> None:
    pod = await find_pod(request, endpoint)
    node = node_of(pod, context)
    target = f"/portForward/{quote(request.info.namespace)}/{quote(request.info.name)}"
    ports = [("port", p) for value in request.query_all("ports") for p in value.split(",")]
    await _join(request, endpoint, context, node, target, ports)


async def _container_stream(
    request: Request, endpoint: Endpoint, context: Context, action: str, parameters: list[tuple[str, str]]
) -> None:
    pod = await find_pod(request, endpoint)
    container = choose_container(pod, request.query.get("container", ""))
    if pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        phase = pod["status"]["phase"]
        raise errors.bad_request(f"cannot {action} into a container in a completed pod; current phase is {phase}")
    # The API's names and the kubelet's differ.
    for ours, theirs in (("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")):
        if request.flag(ours):
            parameters.append((theirs, "1"))
    names = (request.info.namespace, request.info.name, container)
    target = f"/{action}/" + "/".join(map(quote, names))
    await _join(request, endpoint, context, node_of(pod, context), target, parameters)


async def _join(
    request: Request,
    endpoint: Endpoint,
    context: Context,
    node: Mapping[str, object],
    target: str,
    parameters: list[tuple[str, str]],
) -> None:
    info = request.info
    attributes = Attributes(
        "CONNECT", endpoint.resource, None, None, request.user,
        namespace=info.namespace, name=info.name, subresource=info.subresource, warnings=request.warnings,
    )  # fmt: skip
    await context.admission.admit(attributes)
    await context.admission.validate(attributes)
    if "upgrade" not in request.header(b"connection").lower():
        raise errors.bad_request("Upgrade request required")
    headers = [
        (name.decode(), without_token(value.decode("latin-1")) if name == _PROTOCOL else value.decode("latin-1"))
        for name, value in request.scope["headers"]
        if name.decode() in _PASSED or name.startswith(b"sec-websocket-")
    ]
    headers = [(name, value) for name, value in headers if value]
    if parameters:
        target += "?" + urlencode(parameters)
    location = context.kubelets.location(dict(node))
    headers.append(("Host", location.authority))
    try:
        answer = await backend.send(location, request.method, target, headers)
    except BackendError as error:
        raise StatusError(500, "", f"error dialing backend: {error}", {}) from None
    if answer.status != 101:
        await refuse_failure(answer)
        answer.close()
        raise StatusError(500, "", f"invalid upgrade response: status code {answer.status}", {})
    await backend.splice(answer, *request.scope["connection"].take_over())
