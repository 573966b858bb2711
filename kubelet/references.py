"""The ConfigMaps and Secrets that this node's pods refer to, each watched by its name - and no others.

That is what the node authorizer allows a kubelet. A change wakes the pods that refer to the object.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

from kubeclient import Client, Informer
from kubelet.pods import spec

Object = dict[str, Any]
Reference = tuple[str, str, str]  # kind, namespace, name

log = logging.getLogger(__name__)

_PLURALS = {"ConfigMap": "configmaps", "Secret": "secrets"}


def references_of(pod: Object) -> set[Reference]:
    namespace = pod["metadata"]["namespace"]
    return {(kind, namespace, name) for kind, name in _named(pod) if name}


def _named(pod: Object) -> Iterator[tuple[str, str]]:
    for secret in pod["spec"].get("imagePullSecrets") or []:
        yield "Secret", secret.get("name", "")
    for container in spec.every_container(pod):
        for source in container.get("envFrom") or []:
            yield from _pair(source, "configMapRef", "secretRef")
        for entry in container.get("env") or []:
            yield from _pair(entry.get("valueFrom") or {}, "configMapKeyRef", "secretKeyRef")
    for volume in pod["spec"].get("volumes") or []:
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"].get("name", "")
        elif "secret" in volume:
            yield "Secret", volume["secret"].get("secretName", "")
        elif "projected" in volume:
            for source in volume["projected"].get("sources") or []:
                yield from _pair(source, "configMap", "secret")


def _pair(source: Object, config_map: str, secret: str) -> Iterator[tuple[str, str]]:
    if source.get(config_map):
        yield "ConfigMap", source[config_map].get("name", "")
    if source.get(secret):
        yield "Secret", source[secret].get("name", "")


class _Watched:
    def __init__(self, informer: Informer) -> None:
        self.informer = informer
        self.task = asyncio.create_task(informer.run(), name=f"watch {informer.resource.plural}")
        self.users: set[str] = set()


class References:
    """``on_change(uid)`` is called for each pod that refers to an object that changed."""

    def __init__(self, client: Client, on_change: Callable[[str], None]) -> None:
        self._client, self._on_change = client, on_change
        self._watched: dict[Reference, _Watched] = {}
        self._of_pod: dict[str, set[Reference]] = {}

    def register(self, pod: Object) -> None:
        """Watch what the pod refers to; called again after each change of the pod."""
        uid, wanted = pod["metadata"]["uid"], references_of(pod)
        before = self._of_pod.get(uid, set())
        self._of_pod[uid] = wanted
        for reference in wanted - before:
            self._watch(reference).users.add(uid)
        for reference in before - wanted:
            self._leave(reference, uid)

    def unregister(self, uid: str) -> None:
        for reference in self._of_pod.pop(uid, ()):
            self._leave(reference, uid)

    def _watch(self, reference: Reference) -> _Watched:
        if reference not in self._watched:
            kind, namespace, name = reference
            resource = self._client.resource("v1", _PLURALS[kind])
            informer = Informer(resource, namespace=namespace, field_selector=f"metadata.name={name}")
            informer.on_any(lambda _obj: self._changed(reference))
            self._watched[reference] = _Watched(informer)
        return self._watched[reference]

    def _leave(self, reference: Reference, uid: str) -> None:
        watched = self._watched[reference]
        watched.users.discard(uid)
        if not watched.users:
            watched.task.cancel()
            del self._watched[reference]

    def _changed(self, reference: Reference) -> None:
        watched = self._watched.get(reference)
        if watched is not None and watched.informer.has_synced:
            for uid in list(watched.users):
                self._on_change(uid)

    async def wait_synced(self, pod: Object) -> None:
        """Until the server has said once what each of them is."""
        for reference in self._of_pod.get(pod["metadata"]["uid"], ()):
            watched = self._watched.get(reference)
            if watched is not None:
                await watched.informer.wait_synced()

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """Only of what some pod registered; None when there is no such object."""
        watched = self._watched.get((kind, namespace, name))
        return watched.informer.get(f"{namespace}/{name}") if watched else None

    async def close(self) -> None:
        tasks = [w.task for w in self._watched.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._watched.clear()
