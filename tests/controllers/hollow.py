"""Nodes without containers: registers Nodes, binds pods round robin, and says that they run.

The controllers cannot tell: they only see what scheduler and kubelets write. Also a thing to play with:

    python -m tests.controllers.hollow KUBECONFIG --nodes 2
"""

import argparse
import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from typing import Any

from apimachinery import meta
from kubeclient import ApiError, Client, Config, Controller, Informer
from kubeclient.informer import key_of

Object = dict[str, Any]


_NODE_INFO = {
    "architecture": "amd64",
    "bootID": "hollow",
    "containerRuntimeVersion": "hollow://1.0",
    "kernelVersion": "none",
    "kubeProxyVersion": "",
    "kubeletVersion": "v1.33.1",
    "machineID": "hollow",
    "operatingSystem": "linux",
    "osImage": "Hollow",
    "systemUUID": "hollow",
}


class Hollow:
    """``silent`` nodes stop their heartbeats and neither start nor end pods.

    Pods of ``broken_images`` run but never get ready."""

    def __init__(self, client: Client, nodes: list[str], *, heartbeat: float = 10.0) -> None:
        self.client, self.names, self.heartbeat = client, nodes, heartbeat
        self.silent: set[str] = set()
        self._eligible = list(nodes)
        self.broken_images: set[str] = set()
        self._next = itertools.count()
        self._addresses = itertools.count(10)
        self.pods = Informer(client.resource("v1", "pods"))
        self.controller = Controller("hollow", self._sync, workers=16)
        self.pods.on_any(lambda pod: self.controller.queue.add(key_of(pod)))
        self._api = client.resource("v1", "pods")

    def exclude(self, node: str) -> None:
        """Nothing more is bound to it, as a scheduler that sees its taint would do."""
        self._eligible.remove(node)

    def _choose(self, pod: Object) -> str:
        required = ((pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}).get(
            "requiredDuringSchedulingIgnoredDuringExecution"
        )
        if required:
            return str(required["nodeSelectorTerms"][0]["matchFields"][0]["values"][0])
        return self._eligible[next(self._next) % len(self._eligible)]

    async def run(self) -> None:
        await asyncio.gather(*(self._register(name) for name in self.names))
        async with asyncio.TaskGroup() as group:
            group.create_task(self.pods.run())
            group.create_task(self.controller.run())
            group.create_task(self._beat())

    async def _register(self, name: str) -> None:
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
            "status": {
                "capacity": {"cpu": "64", "memory": "64Gi", "pods": "1000"},
                "allocatable": {"cpu": "64", "memory": "64Gi", "pods": "1000"},
                "conditions": [
                    _node_condition("Ready", "True", "KubeletReady", "hollow kubelet is posting ready status")
                ],
                "addresses": [
                    {"type": "InternalIP", "address": _address(self.names.index(name))},
                    {"type": "Hostname", "address": name},
                ],
                "nodeInfo": _NODE_INFO,
            },
        }
        with contextlib.suppress(ApiError):
            await self.client.resource("v1", "nodes").create(node)
        await self.set_ready(name, "True")
        await self._renew(name)

    async def set_ready(self, name: str, state: str) -> None:
        condition = _node_condition("Ready", state, "Hollow", "as told")
        patch = {"status": {"conditions": [condition]}}
        await self.client.resource("v1", "nodes").patch(name, patch, subresource="status")

    async def _renew(self, name: str) -> None:
        leases = self.client.resource("coordination.k8s.io/v1", "leases")
        spec = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": meta.now_micro()}
        try:
            await leases.patch(name, {"spec": spec}, "kube-node-lease")
        except ApiError as error:
            if not error.not_found:
                raise
            lease = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": name, "namespace": "kube-node-lease"},
                "spec": spec,
            }
            await leases.create(lease)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self.heartbeat)
            for name in self.names:
                if name not in self.silent:
                    await self._renew(name)
                    await self.set_ready(name, "True")

    async def _sync(self, key: str) -> None:
        pod = self.pods.get(key)
        if pod is None:
            return
        node = pod["spec"].get("nodeName")
        namespace, name = meta.split_key(key)
        if not node:
            if meta.is_deleting(pod):
                return
            target = {"apiVersion": "v1", "kind": "Node", "name": self._choose(pod)}
            binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
            await self._api.create(binding, namespace, name=name, subresource="binding")
        elif node in self.silent or node not in self.names:
            return
        elif meta.is_deleting(pod):
            with contextlib.suppress(ApiError):
                await self._api.delete(name, namespace, grace_period_seconds=0, uid=meta.uid(pod))
        elif (pod.get("status") or {}).get("phase", "Pending") == "Pending":
            await self._api.patch(name, self._running(pod), namespace, subresource="status")
        elif pod["spec"].get("restartPolicy") == "Never" and pod["status"]["phase"] == "Running":
            image = pod["spec"]["containers"][0]["image"]
            await self._api.patch(name, self._ended(pod, image), namespace, subresource="status")

    def _running(self, pod: Object) -> Object:
        containers = pod["spec"]["containers"]
        good = containers[0]["image"] not in self.broken_images
        ready = "True" if good else "False"
        number = next(self._addresses)
        now = meta.now_rfc3339()
        ip = f"10.200.{number // 250}.{number % 250}"
        conditions = [
            {"type": type_, "status": ready, "lastTransitionTime": now} for type_ in ("Ready", "ContainersReady")
        ]
        return {
            "status": {
                "phase": "Running",
                "hostIP": _address(self.names.index(pod["spec"]["nodeName"])),
                "podIP": ip,
                "podIPs": [{"ip": ip}],
                "startTime": now,
                "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": now}, *conditions],
                "containerStatuses": [
                    {
                        "name": container["name"],
                        "image": container["image"],
                        "imageID": f"hollow://{container['image']}",
                        "containerID": f"hollow://{pod['metadata']['name']}/{container['name']}",
                        "ready": good,
                        "started": True,
                        "restartCount": 0,
                        "state": {"running": {"startedAt": now}},
                    }
                    for container in containers
                ],
            }
        }

    def _ended(self, pod: Object, image: str) -> Object:
        """Pods that should not be restarted end at once; an image ``fail:N`` ends with that exit code."""
        code = int(image.removeprefix("fail:")) if image.startswith("fail:") else 0
        reason = "Error" if code else "Completed"
        ended = {"exitCode": code, "reason": reason, "finishedAt": meta.now_rfc3339(), "startedAt": meta.now_rfc3339()}
        name = pod["spec"]["containers"][0]["name"]
        container = {"name": name, "image": image, "imageID": "", "ready": False, "restartCount": 0}
        container["state"] = {"terminated": ended}
        conditions = [dict(c) for c in pod["status"]["conditions"]]
        for condition in conditions:
            if condition["type"] in ("Ready", "ContainersReady"):
                condition.update(status="False", lastTransitionTime=meta.now_rfc3339())
        phase = "Failed" if code else "Succeeded"
        return {"status": {"phase": phase, "conditions": conditions, "containerStatuses": [container]}}


def _address(index: int) -> str:
    return f"192.0.2.{index + 1}"


def _node_condition(type_: str, state: str, reason: str, message: str) -> Object:
    now = meta.now_rfc3339()
    return {
        "type": type_,
        "status": state,
        "reason": reason,
        "message": message,
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    }


@contextlib.asynccontextmanager
async def hollow_nodes(client: Client, *names: str, heartbeat: float = 10.0) -> AsyncIterator[Hollow]:
    hollow = Hollow(client, list(names), heartbeat=heartbeat)
    task = asyncio.ensure_future(hollow.run())
    try:
        yield hollow
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _play(kubeconfig: str, count: int) -> None:
    async with Client(Config.load(kubeconfig)) as client:
        await Hollow(client, [f"hollow-{n}" for n in range(1, count + 1)]).run()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("kubeconfig")
    parser.add_argument("--nodes", type=int, default=2)
    given = parser.parse_args()
    asyncio.run(_play(given.kubeconfig, given.nodes))
