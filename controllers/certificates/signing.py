"""Signs approved requests with ``--cluster-signing-cert-file``, or says why not in the condition ``Failed``."""

import base64
import datetime
from typing import Any

from apimachinery import meta
from controllers.loop import Context, Loop

Object = dict[str, Any]


class SigningLoop(Loop):
    name = "certificatesigningrequest-signing-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._authority: Any = None
        self.requests = self.watch("certificates.k8s.io/v1", "certificatesigningrequests")
        self.api = self.client.resource("certificates.k8s.io/v1", "certificatesigningrequests")
        self.requests.on_any(lambda request: self.queue.add(request["metadata"]["name"]))

    async def reconcile(self, key: str) -> None:
        request = self.requests.get(key)
        if request is None or (request.get("status") or {}).get("certificate"):
            return
        from controllers.certificates import (
            requests as csr,
        )  # cryptography costs 10 MB, and most clusters see no request

        signer, usages = request["spec"]["signerName"], request["spec"].get("usages") or []
        if signer not in csr.SIGNERS or not csr.condition(request, "Approved") or csr.condition(request, "Failed"):
            return
        asked = csr.parse(request)
        status = dict(request.get("status") or {})
        try:
            csr.check(asked, usages, signer)
        except csr.NotGranted as error:
            failed = {"type": "Failed", "status": "True", "reason": "SignerValidationFailure", "message": str(error)}
            failed["lastUpdateTime"] = meta.now_rfc3339()
            status["conditions"] = [*(status.get("conditions") or ()), failed]
        else:
            now = datetime.datetime.fromtimestamp(self.clock(), datetime.UTC)
            certificate = self._load().sign(asked, usages, request["spec"].get("expirationSeconds"), now)
            status["certificate"] = base64.b64encode(certificate).decode()
        await self.api.update_status({**request, "status": status})

    def _load(self) -> Any:
        if self._authority is None:
            from controllers.certificates.authority import Authority

            options = self.context.options
            self._authority = Authority.load(
                options.cluster_signing_cert_file, options.cluster_signing_key_file, options.cluster_signing_duration
            )
        return self._authority
