"""Approves kubelets' requests for their client certificates, when who asks may have one (a SubjectAccessReview)."""

import logging
from typing import Any

from controllers.loop import Context, Loop

log = logging.getLogger(__name__)
Object = dict[str, Any]
_GROUP = "certificates.k8s.io"


class ApprovingLoop(Loop):
    name = "certificatesigningrequest-approving-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.requests = self.watch(f"{_GROUP}/v1", "certificatesigningrequests")
        self.api = self.client.resource(f"{_GROUP}/v1", "certificatesigningrequests")
        self.reviews = self.client.resource("authorization.k8s.io/v1", "subjectaccessreviews")
        self.requests.on_any(lambda request: self.queue.add(request["metadata"]["name"]))

    async def reconcile(self, key: str) -> None:
        request = self.requests.get(key)
        if request is None or (request.get("status") or {}).get("certificate"):
            return
        from controllers.certificates import (
            requests as csr,
        )  # cryptography costs 10 MB, and most clusters see no request

        if csr.condition(request, "Approved") or csr.condition(request, "Denied"):
            return
        asked = csr.parse(request)
        if not csr.is_kubelets(asked, request):
            return
        own = csr.common_name(asked) == request["spec"].get("username")
        for subresource, whose in (("selfnodeclient", "self kubelet"), ("nodeclient", "kubelet")):
            if (own or subresource == "nodeclient") and await self._may(request, subresource):
                await self._approve(request, f"Auto approving {whose} client certificate after SubjectAccessReview.")
                return
        log.info("%s: a kubelet's request, but who asks may not have its certificate", key)

    async def _may(self, request: Object, subresource: str) -> bool:
        spec = request["spec"]
        attributes = {"group": _GROUP, "resource": "certificatesigningrequests", "verb": "create"}
        asked = {
            "user": spec.get("username", ""),
            "uid": spec.get("uid", ""),
            "groups": spec.get("groups") or [],
            "extra": spec.get("extra") or {},
            "resourceAttributes": {**attributes, "subresource": subresource},
        }
        answer = await self.reviews.create(
            {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": asked}
        )
        return bool(answer["status"].get("allowed"))

    async def _approve(self, request: Object, message: str) -> None:
        status = request.get("status") or {}
        approved = {"type": "Approved", "status": "True", "reason": "AutoApproved", "message": message}
        conditions = [*(status.get("conditions") or ()), approved]
        await self.api.update({**request, "status": {**status, "conditions": conditions}}, subresource="approval")
