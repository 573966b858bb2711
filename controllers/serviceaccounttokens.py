"""Secrets of type ``kubernetes.io/service-account-token``: filled with a token of their account, gone when the account is.

The old kind of token, without an end; whoever wants one makes the Secret and names the account in an annotation.
"""

import base64
from pathlib import Path
from typing import Any

from apimachinery import meta
from controllers.loop import Context, Loop
from kubeclient import ApiError
from kubeclient.informer import key_of

Object = dict[str, Any]
TYPE = "kubernetes.io/service-account-token"
_NAME, _UID = "kubernetes.io/service-account.name", "kubernetes.io/service-account.uid"
_CLAIM = "kubernetes.io/serviceaccount/"


class ServiceAccountTokenLoop(Loop):
    name = "serviceaccount-token-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._key: Any = None
        path = context.options.root_ca_file
        self.certificate = Path(path).read_bytes() if path else context.client.config.ca
        self.secrets = self.watch("v1", "secrets", field_selector=f"type={TYPE}")
        self.accounts = self.watch("v1", "serviceaccounts")
        self.api = self.client.resource("v1", "secrets")
        self.secrets.on_any(lambda secret: self.queue.add(key_of(secret)))
        self.secrets.add_index("account", lambda secret: [f"{meta.namespace(secret)}/{account_name(secret)}"])
        self.accounts.on_any(self._account_changed)

    def _account_changed(self, account: Object) -> None:
        for secret in self.secrets.by_index("account", key_of(account)):
            self.queue.add(key_of(secret))

    async def reconcile(self, key: str) -> None:
        secret = self.secrets.get(key)
        if secret is None or meta.is_deleting(secret):
            return
        account = await self._account(secret)
        if account is None:
            try:
                await self.api.delete(meta.name(secret), meta.namespace(secret), uid=meta.uid(secret))
            except ApiError as error:
                if not (error.not_found or error.conflict):
                    raise
            return
        wanted = self._filled(secret, account)
        if wanted is not None:
            await self.api.update(wanted)

    async def _account(self, secret: Object) -> Object | None:
        """The account that the secret names, if it is still that one; the server is asked before a secret is deleted."""
        namespace, name = meta.namespace(secret), account_name(secret)
        uid = meta.annotations(secret).get(_UID, "")
        account = self.accounts.get(f"{namespace}/{name}")
        if account is None or (uid and meta.uid(account) != uid):
            try:
                account = await self.client.resource("v1", "serviceaccounts").get(name, namespace)
            except ApiError as error:
                if not error.not_found:
                    raise
                return None
        return account if not uid or meta.uid(account) == uid else None

    def _filled(self, secret: Object, account: Object) -> Object | None:
        """The secret as it should be; None when it is."""
        data = dict(secret.get("data") or {})
        wanted = {**data, "namespace": _encoded(meta.namespace(secret).encode())}
        if self.certificate:
            wanted["ca.crt"] = _encoded(self.certificate)
        if not data.get("token"):
            wanted["token"] = _encoded(self._token(secret, account).encode())
        annotations = {**meta.annotations(secret), _NAME: meta.name(account), _UID: meta.uid(account)}
        if wanted == data and annotations == meta.annotations(secret):
            return None
        return {**secret, "metadata": {**secret["metadata"], "annotations": annotations}, "data": wanted}

    def _token(self, secret: Object, account: Object) -> str:
        if self._key is None:
            from componentbase.tokenkeys import Keys  # cryptography costs 10 MB, and most clusters have no such secret

            self._key = Keys(self.context.options.service_account_private_key_file, ()).signing()
        namespace, name = meta.namespace(account), meta.name(account)
        claims = {
            "iss": "kubernetes/serviceaccount",
            f"{_CLAIM}namespace": namespace,
            f"{_CLAIM}secret.name": meta.name(secret),
            f"{_CLAIM}service-account.name": name,
            f"{_CLAIM}service-account.uid": meta.uid(account),
            "sub": f"system:serviceaccount:{namespace}:{name}",
        }
        token: str = self._key.sign(claims)
        return token


def account_name(secret: Object) -> str:
    return meta.annotations(secret).get(_NAME, "")


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()
