"""Which pods belong to which Service, kept as they change, so that no sync scans a namespace."""

from collections.abc import Callable, Iterable
from typing import Any

from apimachinery import meta
from controllers import pods
from kubeclient import Informer
from kubeclient.informer import key_of

Object = dict[str, Any]


def _chosen(service: Object) -> dict[str, str]:
    """The selector; a Service without one has its endpoints made by others."""
    spec = service["spec"]
    return {} if spec.get("type") == "ExternalName" else spec.get("selector") or {}


def _endpoint_facts(pod: Object) -> tuple[Any, ...]:
    """All of a pod that an endpoint shows; any other change of the pod is no news."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    return (
        status.get("podIPs"),
        status.get("podIP"),
        spec.get("nodeName"),
        spec.get("hostname"),
        spec.get("subdomain"),
        pods.is_ready(pod),
        pods.is_terminal(pod),
        meta.is_deleting(pod),
        meta.uid(pod),
    )


class ServicePods:
    """Built before the informers run; see :meth:`on_change`."""

    def __init__(self, services: Informer, pods: Informer) -> None:
        self._services, self._pods = services, pods
        self._listeners: list[Callable[[str], None]] = []
        self._members: dict[str, set[str]] = {}
        self._services_of: dict[str, set[str]] = {}
        services.add_index("namespace", lambda service: [meta.namespace(service)])
        pods.add_index("namespace", lambda pod: [meta.namespace(pod)])
        services.on(self._service_added, self._service_updated, self._service_deleted)
        pods.on(self._pod_added, self._pod_updated, self._pod_deleted)

    def on_change(self, listener: Callable[[str], None]) -> None:
        """Called with a Service's key when its endpoints may look different now."""
        self._listeners.append(listener)

    def _changed(self, key: str) -> None:
        for listener in self._listeners:
            listener(key)

    def of(self, key: str) -> list[Object]:
        """The pods that the Service selects, whatever their state."""
        found = (self._pods.get(name) for name in self._members.get(key, ()))
        return [pod for pod in found if pod is not None]

    def count(self, key: str) -> int:
        return len(self._members.get(key, ()))

    # --- services

    def _service_added(self, service: Object) -> None:
        key, wanted = key_of(service), _chosen(service).items()
        members = set()
        if wanted:
            for pod in self._pods.by_index("namespace", meta.namespace(service)):
                if wanted <= meta.labels(pod).items():
                    members.add(key_of(pod))
        for pod_key in self._members.get(key, set()) - members:
            self._services_of[pod_key].discard(key)
        for pod_key in members:
            self._services_of.setdefault(pod_key, set()).add(key)
        self._members[key] = members
        self._changed(key)

    def _service_updated(self, old: Object, new: Object) -> None:
        if _chosen(old) == _chosen(new):
            self._changed(key_of(new))
        else:
            self._service_added(new)

    def _service_deleted(self, service: Object) -> None:
        key = key_of(service)
        for pod_key in self._members.pop(key, ()):
            self._services_of[pod_key].discard(key)
        self._changed(key)

    # --- pods

    def _matching(self, pod: Object) -> set[str]:
        labels = meta.labels(pod).items()
        found = set()
        for service in self._services.by_index("namespace", meta.namespace(pod)):
            wanted = _chosen(service).items()
            if wanted and wanted <= labels:
                found.add(key_of(service))
        return found

    def _place(self, pod_key: str, now: set[str]) -> Iterable[str]:
        before = self._services_of.get(pod_key, set())
        for key in before - now:
            self._members[key].discard(pod_key)
        for key in now - before:
            self._members.setdefault(key, set()).add(pod_key)
        if now:
            self._services_of[pod_key] = now
        else:
            self._services_of.pop(pod_key, None)
        return before | now

    def _pod_added(self, pod: Object) -> None:
        for key in self._place(key_of(pod), self._matching(pod)):
            self._changed(key)

    def _pod_updated(self, old: Object, new: Object) -> None:
        if meta.labels(old) != meta.labels(new):
            self._pod_added(new)
        elif _endpoint_facts(old) != _endpoint_facts(new):
            for key in self._services_of.get(key_of(new), ()):
                self._changed(key)

    def _pod_deleted(self, pod: Object) -> None:
        for key in self._place(key_of(pod), set()):
            self._changed(key)
