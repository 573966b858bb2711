"""What is not plain reading or writing of an object: status, scale, binding, eviction, token, log, exec and so on.

``SUBRESOURCES`` maps ``pods/binding``, or only ``status`` where all kinds do the same, to handlers by verb.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from apiserver.context import Context
from apiserver.handlers.endpoint import Endpoint
from apiserver.handlers.subresources import binding, eviction, finalize, log, parts, proxy, scale, status, token, tunnel
from apiserver.request import Request

#: The answer, or None when the handler has taken the connection over.
Handler = Callable[[Request, Endpoint, Context], Awaitable[Any]]

#: The last one is OPTIONS and whatever else is no verb.
_ANY = ("get", "create", "update", "patch", "delete", "")

SUBRESOURCES: dict[str, dict[str, Handler]] = {
    "status": {"get": status.get, "update": status.update, "patch": status.patch},
    "scale": {"get": scale.get, "update": scale.update, "patch": scale.patch},
    "pods/binding": {"create": binding.create},
    "pods/eviction": {"create": eviction.create},
    "pods/ephemeralcontainers": parts.verbs(lambda e: parts.pods(e).before_ephemeral_containers_update),
    "pods/resize": parts.verbs(lambda e: parts.pods(e).before_resize),
    "certificatesigningrequests/approval": parts.verbs(parts.approval),
    "pods/log": {"get": log.get},
    "pods/exec": {"get": tunnel.execute, "create": tunnel.execute},
    "pods/attach": {"get": tunnel.attach, "create": tunnel.attach},
    "pods/portforward": {"get": tunnel.port_forward, "create": tunnel.port_forward},
    "nodes/proxy": dict.fromkeys(_ANY, proxy.node),
    "pods/proxy": dict.fromkeys(_ANY, proxy.pod),
    "services/proxy": dict.fromkeys(_ANY, proxy.service),
    "serviceaccounts/token": {"create": token.create},
    "namespaces/finalize": {"update": finalize.update},
}
