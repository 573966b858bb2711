"""Lifecycle hooks: what runs in a container right after it started and right before it is stopped."""

import asyncio
from typing import Any

from kubelet.cri.api import RuntimeService
from kubelet.probes import handlers
from kubelet.probes.handlers import HandlerError

Object = dict[str, Any]

_HTTP_SECONDS = 30.0


class HookFailed(Exception):
    """The text is for the event."""


async def run(runtime: RuntimeService, handler: Object, container: Object, container_id: str, pod_ip: str) -> None:
    """Raises HookFailed. Whoever calls bounds its time."""
    try:
        if "exec" in handler:
            command = handler["exec"].get("command") or []
            outcome = await handlers.exec_command(runtime, container_id, command, 0)
            if not outcome.good:
                raise HookFailed(f"command '{' '.join(command)}' exited with a failure: {outcome.output.strip()}")
        elif "httpGet" in handler:
            outcome = await handlers.http_get(handler["httpGet"], container, pod_ip, _HTTP_SECONDS)
            if not outcome.good:
                raise HookFailed(outcome.output)
        elif "sleep" in handler:
            await asyncio.sleep(handler["sleep"].get("seconds") or 0)
        elif "tcpSocket" in handler:
            pass  # upstream never implemented it: valid, and does nothing
        else:
            raise HookFailed("Invalid handler")
    except HandlerError as error:
        raise HookFailed(str(error)) from None
