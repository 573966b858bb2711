"""Service account tokens for pods: asked for with TokenRequest, bound to the pod, renewed at 80 % of their life or after a day."""

import logging
import time
from typing import Any

from apimachinery.meta import parse_time
from kubeclient import Client

Object = dict[str, Any]

log = logging.getLogger(__name__)

_DEFAULT_SECONDS = 3600
_DAY = 24 * 3600.0


class _Token:
    def __init__(self, value: str, issued: float, expires: float) -> None:
        self.value, self.expires = value, expires
        self.renew_at = issued + min((expires - issued) * 0.8, _DAY)


class Tokens:
    def __init__(self, client: Client) -> None:
        self._accounts = client.resource("v1", "serviceaccounts")
        self._tokens: dict[tuple[str, str, int], _Token] = {}

    @staticmethod
    def _key(pod: Object, source: Object) -> tuple[str, str, int]:
        seconds = int(source.get("expirationSeconds") or _DEFAULT_SECONDS)
        return pod["metadata"]["uid"], source.get("audience") or "", seconds

    async def ensure(self, pod: Object, source: Object) -> None:
        """Have a token that is good for a while. A failed renewal keeps the old one as long as it lives."""
        key = self._key(pod, source)
        token, now = self._tokens.get(key), time.time()
        if token is not None and now < token.renew_at:
            return
        try:
            self._tokens[key] = await self._request(pod, key)
        except Exception:
            if token is None or now >= token.expires:
                raise
            log.warning("token of pod %s not renewed", pod["metadata"]["name"], exc_info=True)

    async def _request(self, pod: Object, key: tuple[str, str, int]) -> _Token:
        _, audience, seconds = key
        meta = pod["metadata"]
        request: Object = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "expirationSeconds": seconds,
                "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]},
            },
        }
        if audience:
            request["spec"]["audiences"] = [audience]
        name = pod["spec"].get("serviceAccountName") or "default"
        issued = time.time()
        answer = await self._accounts.create(request, meta["namespace"], name=name, subresource="token")
        status = answer["status"]
        return _Token(status["token"], issued, parse_time(status["expirationTimestamp"]))

    def get(self, pod: Object, source: Object) -> str:
        return self._tokens[self._key(pod, source)].value

    def renewal_in(self, uid: str) -> float | None:
        """Seconds until one of the pod's tokens should be renewed."""
        due = [token.renew_at for key, token in self._tokens.items() if key[0] == uid]
        return max(1.0, min(due) - time.time()) if due else None

    def forget(self, uid: str) -> None:
        for key in [k for k in self._tokens if k[0] == uid]:
            del self._tokens[key]
