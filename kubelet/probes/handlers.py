"""One probe or hook of each kind: httpGet, tcpSocket, exec, grpc. Pure questions: they know nothing of thresholds."""

import asyncio
from dataclasses import dataclass
from typing import Any

from kubelet.cri.api import RuntimeService, RuntimeServiceError
from kubelet.probes import http

Object = dict[str, Any]

_USER_AGENT = "kube-probe/1.33"
_MAX_OUTPUT = 10 * 1024


class HandlerError(Exception):
    """The handler cannot be carried out: neither good nor bad (upstream's probe.Unknown)."""


@dataclass(slots=True)
class Outcome:
    good: bool
    output: str = ""
    warning: bool = False


def resolve_port(port: int | str, container: Object) -> int:
    """A number, or the name of one of the container's ports."""
    if isinstance(port, int):
        number = port
    elif port.isdigit():
        number = int(port)
    else:
        number = next((p["containerPort"] for p in container.get("ports") or [] if p.get("name") == port), 0)
        if not number:
            raise HandlerError(f"couldn't find port: {port!r} in container {container['name']}")
    if not 0 < number < 65536:
        raise HandlerError(f"invalid port number: {number}")
    return number


def http_target(action: Object, container: Object, pod_ip: str) -> tuple[str, dict[str, str]]:
    """``(url, headers)`` of an httpGet action."""
    scheme = (action.get("scheme") or "HTTP").lower()
    host, port = action.get("host") or pod_ip, resolve_port(action["port"], container)
    if ":" in host:
        host = f"[{host}]"
    path = action.get("path") or "/"
    url = f"{scheme}://{host}:{port}{path if path.startswith('/') else '/' + path}"
    headers = {"Host": f"{host}:{port}", "User-Agent": _USER_AGENT, "Accept": "*/*"}
    for header in action.get("httpHeaders") or []:
        name = next((n for n in headers if n.lower() == header["name"].lower()), header["name"])
        headers[name] = header.get("value") or ""
    if not headers["Accept"]:
        del headers["Accept"]  # an empty value asks for no such header
    return url, headers


async def http_get(action: Object, container: Object, pod_ip: str, timeout: float) -> Outcome:
    url, headers = http_target(action, container, pod_ip)
    try:
        answer = await http.get(url, headers, timeout)
    except http.HttpError as error:
        return Outcome(False, str(error))
    if 300 <= answer.status < 400:
        return Outcome(True, f"Probe terminated redirects, Response body: {answer.body}", warning=True)
    if 200 <= answer.status < 400:
        return Outcome(True, answer.body)
    return Outcome(False, f"HTTP probe failed with statuscode: {answer.status}")


async def tcp_socket(action: Object, container: Object, pod_ip: str, timeout: float) -> Outcome:
    host, port = action.get("host") or pod_ip, resolve_port(action["port"], container)
    try:
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return Outcome(False, f"dial tcp {host}:{port}: i/o timeout")
    except OSError as error:
        return Outcome(False, f"dial tcp {host}:{port}: connect: {(error.strerror or str(error)).lower()}")
    writer.transport.abort()
    return Outcome(True)


async def exec_command(runtime: RuntimeService, container_id: str, command: list[str], timeout: float) -> Outcome:
    try:
        out, errors, code = await runtime.exec_sync(container_id, command, timeout)
    except TimeoutError:
        return Outcome(False, f"command timed out: {' '.join(command)!r} timed out after {timeout:g}s")
    except RuntimeServiceError as error:
        raise HandlerError(str(error)) from None
    return Outcome(code == 0, (out + errors)[:_MAX_OUTPUT].decode(errors="replace"))


async def grpc_health(action: Object, pod_ip: str, timeout: float) -> Outcome:
    # grpc is large and starts threads: only nodes with such a probe pay for it.
    from kubelet.probes.grpchealth import check

    serving, why = await check(f"{pod_ip}:{action['port']}", action.get("service") or "", timeout)
    return Outcome(serving, why)
