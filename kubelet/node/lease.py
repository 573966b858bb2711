"""The node's heartbeat: a Lease in kube-node-lease, renewed every ten seconds."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from apimachinery.meta import now_micro
from kubeclient import ApiError, Client, TransportError

Object = dict[str, Any]

log = logging.getLogger(__name__)

NAMESPACE = "kube-node-lease"
DURATION, RENEW_SECONDS = 40, 10.0
_RETRY_FIRST, _RETRY_LAST = 0.2, 7.0


class NodeLease:
    """``node_uid()`` is the uid of the Node that now is: the lease goes with it, also when it is registered anew."""

    def __init__(self, client: Client, node_name: str, node_uid: Callable[[], str]) -> None:
        self._leases = client.resource("coordination.k8s.io/v1", "leases")
        self._name, self._node_uid = node_name, node_uid
        self._lease: Object | None = None
        self.renewed = 0.0  # loop time

    async def run(self) -> None:
        """Never returns. Trouble is logged and tried again soon: late heartbeats make a node NotReady."""
        retry = _RETRY_FIRST
        while True:
            try:
                await self._renew(self._node_uid())
                self.renewed = asyncio.get_running_loop().time()
                retry = _RETRY_FIRST
                await asyncio.sleep(RENEW_SECONDS)
            except (ApiError, TransportError) as error:
                self._lease = None
                log.info("node lease not renewed: %s; again in %.1f s", error or type(error).__name__, retry)
                await asyncio.sleep(retry)
                retry = min(retry * 2, _RETRY_LAST)

    async def _renew(self, node_uid: str) -> None:
        if self._lease is None:
            try:
                self._lease = await self._leases.get(self._name, NAMESPACE)
            except ApiError as error:
                if not error.not_found:
                    raise
                self._lease = await self._leases.create(self._fresh(node_uid))
                return
        owners = self._lease["metadata"].get("ownerReferences") or []
        if [o["uid"] for o in owners] != [node_uid]:
            self._lease["metadata"]["ownerReferences"] = self._fresh(node_uid)["metadata"]["ownerReferences"]
        spec = self._lease.setdefault("spec", {})
        spec.update(holderIdentity=self._name, leaseDurationSeconds=DURATION, renewTime=now_micro())
        self._lease = await self._leases.update(self._lease)

    def _fresh(self, node_uid: str) -> Object:
        owner = {"apiVersion": "v1", "kind": "Node", "name": self._name, "uid": node_uid}
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name, "namespace": NAMESPACE, "ownerReferences": [owner]},
            "spec": {"holderIdentity": self._name, "leaseDurationSeconds": DURATION, "renewTime": now_micro()},
        }
