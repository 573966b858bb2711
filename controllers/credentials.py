"""Each controller under a service account of its own (``--use-service-account-credentials``).

So a controller may do what its role ``system:controller:NAME`` says and no more, and an audit log tells which one it was. Tokens
come from TokenRequest, with the first call that needs one: a controller with nothing to do asks for none. All share one set of
connections without a client certificate, for that would be who they are.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

from apimachinery.meta import parse_time
from kubeclient import ApiError, Client
from kubeclient.http import HttpClient, Response

log = logging.getLogger(__name__)
NAMESPACE = "kube-system"
_SECONDS = 3600
#: A token is renewed when so much of its life is over.
_USED_UP = 0.8


class Accounts:
    """``root`` is the manager's own client: it may ask for tokens and make the accounts."""

    def __init__(self, root: Client, user_agent: str) -> None:
        self._root, self._user_agent = root, user_agent
        config = replace(root.config, cert=b"", key=b"", token="", token_file="")
        self._http = HttpClient(
            config.server,
            config.ssl_context() if config.server.startswith("https") else None,
            server_name=config.tls_server_name,
            headers={"accept-encoding": "identity"},
        )
        self._clients: dict[str, _AccountClient] = {}

    def client(self, account: str) -> Client:
        if account not in self._clients:
            self._clients[account] = _AccountClient(self._root, self._http, account, self._user_agent)
        return self._clients[account]

    async def close(self) -> None:
        await self._http.close()


class _AccountClient(Client):
    """Closing it does nothing: its connections are everybody's."""

    def __init__(self, root: Client, http: HttpClient, account: str, user_agent: str) -> None:
        self.config, self._timeout = root.config, 30.0
        self._http = http
        self._root, self._account = root, account
        self._agent = f"{user_agent}/system:serviceaccount:{NAMESPACE}:{account}"
        self._token, self._renew_at = "", 0.0
        self._renewing = asyncio.Lock()

    async def close(self) -> None:
        return

    def _headers(self, headers: Mapping[str, str] | None = None) -> dict[str, str]:
        return {
            "accept": "application/json",
            "user-agent": self._agent,
            **(headers or {}),
            "authorization": f"Bearer {self._token}",
        }

    async def request(self, *args: Any, **kwargs: Any) -> Response:
        await self._ensure_token()
        used = self._token
        try:
            return await super().request(*args, **kwargs)
        except ApiError as error:
            # The account may have been deleted and made anew: the old token is worth nothing then.
            if error.code != 401:
                raise
            if self._token == used:
                self._renew_at = 0.0
        await self._ensure_token()
        return await super().request(*args, **kwargs)

    async def stream(self, *args: Any, **kwargs: Any) -> AsyncIterator[bytes]:
        await self._ensure_token()
        answer = super().stream(*args, **kwargs)
        async with contextlib.aclosing(answer):  # type: ignore[type-var]
            async for chunk in answer:
                yield chunk

    async def _ensure_token(self) -> None:
        if time.time() < self._renew_at:
            return
        async with self._renewing:
            if time.time() < self._renew_at:
                return
            began = time.time()
            try:
                status = await self._request_token()
            except ApiError as error:
                if not error.not_found:
                    raise
                await self._make_account()
                status = await self._request_token()
            self._token = status["token"]
            self._renew_at = began + (parse_time(status["expirationTimestamp"]) - began) * _USED_UP

    async def _request_token(self) -> dict[str, Any]:
        asked = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": _SECONDS},
        }
        accounts = self._root.resource("v1", "serviceaccounts")
        answer = await accounts.create(asked, NAMESPACE, name=self._account, subresource="token")
        status: dict[str, Any] = answer["status"]
        return status

    async def _make_account(self) -> None:
        metadata = {"name": self._account, "namespace": NAMESPACE}
        try:
            await self._root.resource("v1", "serviceaccounts").create(
                {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
            )
        except ApiError as error:
            if not error.already_exists:
                raise
