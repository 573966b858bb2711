"""Every namespace has a ServiceAccount "default"."""

from typing import Any

from apimachinery import meta
from controllers.loop import Context, Loop
from kubeclient import ApiError

Object = dict[str, Any]


class ServiceAccountLoop(Loop):
    name = "serviceaccount-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.namespaces = self.watch("v1", "namespaces")
        self.accounts = self.watch("v1", "serviceaccounts", field_selector="metadata.name=default")
        self.api = self.client.resource("v1", "serviceaccounts")
        self.namespaces.on(self._changed, lambda old, new: self._changed(new))
        self.accounts.on(delete=lambda account: self.queue.add(meta.namespace(account)))

    def _changed(self, namespace: Object) -> None:
        self.queue.add(meta.name(namespace))

    async def reconcile(self, key: str) -> None:
        namespace = self.namespaces.get(key)
        if namespace is None or is_terminating(namespace) or self.accounts.get(f"{key}/default"):
            return
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": key}}
        await create_unless_there(self.api.create(account))


def is_terminating(namespace: Object) -> bool:
    return (namespace.get("status") or {}).get("phase") == "Terminating" or meta.is_deleting(namespace)


async def create_unless_there(call: Any) -> None:
    """Awaits a create; that somebody was faster, or that the namespace is going away, is as good."""
    try:
        await call
    except ApiError as error:
        if not (error.already_exists or error.namespace_terminating or error.not_found):
            raise
