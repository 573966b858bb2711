"""``nodes/NAME/proxy/...``: a request passed on to the node's kubelet, for those who want its stats, metrics or configuration."""

from urllib.parse import quote

from apiserver.context import Context
from apiserver.handlers.endpoint import Endpoint
from apiserver.handlers.subresources.container import find_node
from apiserver.request import Request
from apiserver.response import Stream

_PASSED = (b"accept", b"content-type")
#: Of the kubelet's answer: what describes the body. Length and encoding of the transfer are our own.
_RETURNED = ("content-type", "content-encoding")


async def node(request: Request, endpoint: Endpoint, context: Context) -> Stream:
    """Any method; the answer is the kubelet's, whatever it is."""
    info = request.info
    target = "/" + quote(info.rest, safe="/~!$&'()*+,;=:@")
    if request.scope["query_string"]:
        target += "?" + request.scope["query_string"].decode("latin-1")
    headers = [(k.decode(), v.decode("latin-1")) for k, v in request.scope["headers"] if k in _PASSED]
    headers.append(("Connection", "close"))
    body = await request.body()
    answer = await context.kubelets.request(find_node(info.name, context), request.method, target, headers, body)
    connection = request.scope.get("connection")
    if connection is not None:
        connection.on_lost(answer.close)
    returned = [(k.encode(), v.encode("latin-1")) for k, v in answer.headers.items() if k in _RETURNED[1:]]
    content_type = answer.headers.get("content-type", "application/octet-stream").encode("latin-1")
    return Stream(answer.body(), answer.status, content_type, returned)
