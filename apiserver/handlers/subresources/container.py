"""Which container of which pod on which node a log, exec or attach is about."""

from typing import Any

from apimachinery import errors
from apiserver.context import Context
from apiserver.handlers.endpoint import Endpoint
from apiserver.request import Request

Object = dict[str, Any]


async def find_pod(request: Request, endpoint: Endpoint) -> Object:
    info = request.info
    await endpoint.cacher.consistent()
    entry = endpoint.cache.get(endpoint.key(info.namespace, info.name))
    if entry is None:
        raise endpoint.not_found(info.name)
    return endpoint.decode_entry(entry)


def choose_container(pod: Object, asked: str) -> str:
    """The container asked for, or the only one. Raises upstream's 400."""
    name, spec = pod["metadata"]["name"], pod["spec"]
    containers = [c["name"] for c in spec.get("containers") or ()]
    others = [c["name"] for field in ("initContainers", "ephemeralContainers") for c in spec.get(field) or ()]
    if asked:
        if asked not in containers and asked not in others:
            raise errors.bad_request(f"container {asked} is not valid for pod {name}")
        return asked
    if len(containers) == 1:
        return containers[0]
    if not containers:
        raise errors.bad_request(f"a container name must be specified for pod {name}")
    text = f"a container name must be specified for pod {name}, choose one of: [{' '.join(containers)}]"
    inits = [c["name"] for c in spec.get("initContainers") or ()]
    if inits:
        text += f" or one of the init containers: [{' '.join(inits)}]"
    raise errors.bad_request(text)


def node_of(pod: Object, context: Context) -> Object:
    """The Node that runs the pod. Raises 400 for one that is not scheduled, 404 for a node that is gone."""
    name = pod["spec"].get("nodeName")
    if not name:
        raise errors.bad_request(f"pod {pod['metadata']['name']} does not have a host assigned")
    return find_node(name, context)


def find_node(name: str, context: Context) -> Object:
    endpoint = context.endpoint("", "nodes")
    entry = endpoint.cache.get(name)
    if entry is None:
        raise endpoint.not_found(name)
    return endpoint.decode_entry(entry)
