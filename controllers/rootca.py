"""Every namespace has the ConfigMap ``kube-root-ca.crt``, by which its pods trust the API server."""

from pathlib import Path
from typing import Any

from apimachinery import meta
from controllers.loop import Context, Loop
from controllers.serviceaccount import create_unless_there, is_terminating

Object = dict[str, Any]

NAME = "kube-root-ca.crt"
_DESCRIPTION = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of "
    "Kubernetes clusters."
)


class RootCaLoop(Loop):
    name = "root-ca-certificate-publisher-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        path = context.options.root_ca_file
        self.certificate = Path(path).read_text() if path else context.client.config.ca.decode()
        self.namespaces = self.watch("v1", "namespaces")
        self.maps = self.watch("v1", "configmaps", field_selector=f"metadata.name={NAME}")
        self.api = self.client.resource("v1", "configmaps")
        self.namespaces.on(self._changed, lambda old, new: self._changed(new))
        self.maps.on(None, lambda old, new: self.queue.add(meta.namespace(new)), self._gone)

    def _changed(self, namespace: Object) -> None:
        self.queue.add(meta.name(namespace))

    def _gone(self, config_map: Object) -> None:
        self.queue.add(meta.namespace(config_map))

    async def reconcile(self, key: str) -> None:
        namespace = self.namespaces.get(key)
        if namespace is None or is_terminating(namespace):
            return
        current = self.maps.get(f"{key}/{NAME}")
        data = {"ca.crt": self.certificate}
        if current is None:
            metadata = {"name": NAME, "namespace": key, "annotations": {"kubernetes.io/description": _DESCRIPTION}}
            wanted = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
            await create_unless_there(self.api.create(wanted))
        elif current.get("data") != data:
            metadata = {
                **current["metadata"],
                "annotations": {**meta.annotations(current), "kubernetes.io/description": _DESCRIPTION},
            }
            await self.api.update({**current, "metadata": metadata, "data": data})
