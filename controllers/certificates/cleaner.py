"""Removes certificate requests that nobody needs any more: an hour after they were decided, a day when nobody did."""

import asyncio
import base64
import datetime
import logging
from typing import Any

from apimachinery.meta import parse_time
from controllers.loop import Context, Loop
from kubeclient import ApiError

log = logging.getLogger(__name__)
Object = dict[str, Any]
_EVERY_SECONDS, _DECIDED_SECONDS, _PENDING_SECONDS = 3600.0, 3600.0, 24 * 3600.0


def is_over(request: Object, now: float) -> bool:
    """Whether a request may go."""
    status = request.get("status") or {}
    certificate, conditions = status.get("certificate"), status.get("conditions") or []
    if not certificate and not conditions:
        return parse_time(request["metadata"]["creationTimestamp"]) < now - _PENDING_SECONDS
    for condition in conditions:
        if condition["type"] == "Approved" and not certificate:
            continue
        if parse_time(condition["lastUpdateTime"]) < now - _DECIDED_SECONDS:
            return True
    return _has_expired(base64.b64decode(certificate), now) if certificate else False


def _has_expired(certificate: bytes, now: float) -> bool:
    from cryptography import x509  # costs 10 MB, and most clusters see no request

    try:
        until = x509.load_pem_x509_certificates(certificate)[0].not_valid_after_utc
    except ValueError:
        return False
    return until < datetime.datetime.fromtimestamp(now, datetime.UTC)


class CleanerLoop(Loop):
    name = "certificatesigningrequest-cleaner-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.requests = self.watch("certificates.k8s.io/v1", "certificatesigningrequests")
        self.api = self.client.resource("certificates.k8s.io/v1", "certificatesigningrequests")

    async def run(self) -> None:
        await asyncio.gather(*(informer.wait_synced() for informer in self.informers))
        while True:
            await self.sweep()
            await asyncio.sleep(_EVERY_SECONDS)

    async def sweep(self) -> None:
        for request in self.requests.list():
            if is_over(request, self.clock()):
                name = request["metadata"]["name"]
                try:
                    await self.api.delete(name)
                except ApiError as error:
                    if not error.not_found:
                        log.warning("%s: %s", name, error)
