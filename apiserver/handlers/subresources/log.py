"""``pods/NAME/log``: the kubelet's ``/containerLogs``, passed on as it comes; ``follow`` goes on until one side ends."""

from urllib.parse import quote, urlencode

from apimachinery import errors
from apiserver.context import Context
from apiserver.handlers.decode import options_invalid
from apiserver.handlers.endpoint import Endpoint
from apiserver.handlers.subresources.container import choose_container, find_pod, node_of
from apiserver.kubelet import refuse_failure
from apiserver.request import Request
from apiserver.response import Response, Stream

_TEXT = b"text/plain"


async def get(request: Request, endpoint: Endpoint, context: Context) -> Response | Stream:
    options = _options(request)
    pod = await find_pod(request, endpoint)
    container = choose_container(pod, request.query.get("container", ""))
    if not pod["spec"].get("nodeName"):
        return Response(b"", 204, _TEXT)
    target = "/containerLogs/" + "/".join(map(quote, (request.info.namespace, request.info.name, container)))
    if options:
        target += "?" + urlencode(options)
    answer = await context.kubelets.request(node_of(pod, context), "GET", target)
    await refuse_failure(answer)
    connection = request.scope.get("connection")
    if connection is not None:
        connection.on_lost(answer.close)
    return Stream(answer.body(), content_type=_TEXT)


def _options(request: Request) -> dict[str, str]:
    """``PodLogOptions`` as the kubelet's query. Raises 422 for values that make no sense."""
    query, found = request.query, []
    options = {name: "true" for name in ("follow", "previous", "timestamps") if request.flag(name)}
    for name, least in (("tailLines", 0), ("limitBytes", 1), ("sinceSeconds", 1)):
        number = request.integer(name)
        if number is None:
            continue
        if number < least:
            found.append(
                errors.invalid_value(name, number, f"must be greater than {'or equal to ' if not least else ''}0")
            )
        options[name] = str(number)
    if query.get("sinceTime"):
        if "sinceSeconds" in options:
            text = "at most one of `sinceTime` or `sinceSeconds` may be specified"
            found.append(errors.forbidden_field("sinceSeconds", text))
        options["sinceTime"] = query["sinceTime"]
    stream = query.get("stream")
    if stream:
        if stream not in ("All", "Stdout", "Stderr"):
            found.append(errors.not_supported("stream", stream, ["All", "Stderr", "Stdout"]))
        options["stream"] = stream
    if found:
        error = options_invalid("PodLogOptions", found)
        error.message = error.message.replace("PodLogOptions.meta.k8s.io", "PodLogOptions")
        raise error
    return options
