"""After ``mk8s up -f``: wait until what was applied works, and show where it answers."""

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

from cluster.progress import Progress

if TYPE_CHECKING:
    from cluster.up import Result
    from kubeclient import Client

Object = dict[str, Any]


def wait_and_show(files: list[str], result: "Result", progress: Progress, timeout: float) -> int:
    """1 when something is not available in time; says what."""
    return asyncio.run(_wait_and_show(files, result, progress, timeout))


async def _wait_and_show(files: list[str], result: "Result", progress: Progress, timeout: float) -> int:
    from cli.selection import read_manifests
    from kubeclient import Client, Config

    manifests = list(read_manifests([f for f in files if f != "-"], False))
    deadline = time.monotonic() + timeout
    async with Client(Config.load(str(result.home.kubeconfig)), user_agent="mk8s-up") as client:
        for manifest in manifests:
            meta = manifest.get("metadata") or {}
            name, namespace = meta.get("name", ""), meta.get("namespace") or "default"
            if manifest.get("kind") == "Deployment":
                async with progress.spinning(f"waiting for deployment {name}"):
                    wrong = await _available(client, name, namespace, deadline)
                if wrong:
                    progress.note(f"deployment {name} is not available: {wrong}")
                    return 1
                progress.done(f"deployment {name} is available")
        for manifest in manifests:
            meta = manifest.get("metadata") or {}
            if manifest.get("kind") == "Service":
                name, namespace = meta.get("name", ""), meta.get("namespace") or "default"
                async with progress.spinning(f"waiting for service {name} to answer"):
                    url = await _answering(client, result, name, namespace, deadline)
                if url:
                    progress.done(f"service {name} answers at {url}")
    return 0


async def _available(client: "Client", name: str, namespace: str, deadline: float) -> str:
    """Empty once the newest generation is fully available, else what its status says at the deadline."""
    deployments = client.resource("apps/v1", "deployments")
    while True:
        deployment = await deployments.get(name, namespace)
        status, wanted = deployment.get("status") or {}, deployment["spec"].get("replicas", 1)
        seen = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
        if seen and status.get("availableReplicas", 0) >= wanted and status.get("updatedReplicas", 0) >= wanted:
            return ""
        if time.monotonic() > deadline:
            messages = [c.get("message", "") for c in status.get("conditions") or [] if c.get("status") != "True"]
            return "; ".join(messages) or f"{status.get('availableReplicas', 0)} of {wanted} replicas"
        await asyncio.sleep(0.05)


async def _answering(client: "Client", result: "Result", name: str, namespace: str, deadline: float) -> str:
    """The URL of a NodePort that takes connections; empty for a Service that has none."""
    service = await client.resource("v1", "services").get(name, namespace)
    ports = [
        p["nodePort"] for p in service["spec"].get("ports") or [] if p.get("nodePort") and p.get("protocol") == "TCP"
    ]
    if not ports:
        return ""
    address = result.spec.node_address(result.spec.node_names[0])
    while time.monotonic() < deadline:
        if await _answers(address, ports[0]):
            return f"http://{address}:{ports[0]}/"
        await asyncio.sleep(0.05)
    return ""


async def _answers(address: str, port: int) -> bool:
    """Whether anything comes back for a GET: a connection alone may only have reached a forwarder."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection(address, port)
            try:
                writer.write(f"GET / HTTP/1.0\r\nHost: {address}\r\n\r\n".encode())
                return bool(await reader.read(1))
            finally:
                writer.close()
    return False
