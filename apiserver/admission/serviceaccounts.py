"""ServiceAccount: every pod runs as an account, ``default`` unless it names one, and gets its token as a volume."""

import asyncio
from typing import Any

from apimachinery import errors, meta
from apiserver.admission.chain import Attributes, Plugin

Object = dict[str, Any]
MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
_VOLUME_PREFIX = "kube-api-access-"
_TOKEN_SECONDS = 3607  # an hour, and an odd remainder by which upstream's own tokens are told apart
#: How long a pod waits for an account that a controller is about to make.
_DEFAULT_ATTEMPTS, _DEFAULT_INTERVAL_SECONDS = 30, 0.05
_MIRROR = "kubernetes.io/config.mirror"


class ServiceAccounts(Plugin):
    handles = frozenset({"CREATE"})

    def __init__(self, context: Any) -> None:
        self._context = context

    async def admit(self, attributes: Attributes) -> None:
        if attributes.what != "pods" or attributes.obj is None:
            return
        pod = attributes.obj
        spec = pod["spec"]
        if _MIRROR in (pod["metadata"].get("annotations") or {}):
            self._check_mirror(attributes, spec)
            return
        if not spec.get("serviceAccountName"):
            spec["serviceAccountName"] = "default"
        spec["serviceAccount"] = spec["serviceAccountName"]  # the old name of the field, kept for old clients
        account = await self._account(attributes, spec["serviceAccountName"])
        if _automounts(spec, account):
            _mount_token(spec)
        if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            spec["imagePullSecrets"] = account["imagePullSecrets"]

    def _check_mirror(self, attributes: Attributes, spec: Object) -> None:
        if spec.get("serviceAccountName"):
            why = "a mirror pod may not reference service accounts"
            raise errors.forbidden(attributes.resource, attributes.name, why)

    async def _account(self, attributes: Attributes, name: str) -> Object:
        """The account; a namespace that was just made gets its ``default`` one from a controller, in a moment."""
        endpoint = self._context.endpoint("", "serviceaccounts")
        key = f"{attributes.namespace}/{name}"
        live = None
        for attempt in range(_DEFAULT_ATTEMPTS if name == "default" else 1):
            if attempt:
                await asyncio.sleep(_DEFAULT_INTERVAL_SECONDS)
            entry = endpoint.cache.get(key)
            if entry is not None:
                found: Object = endpoint.decode_entry(entry)
                return found
            live = live if attempt else await endpoint.live(key)
            if live is not None:
                return live[0]
        text = f"error looking up service account {key}: serviceaccount {errors.quote(name)} not found"
        raise errors.forbidden(attributes.resource, attributes.name or "", text)


def _automounts(spec: Object, account: Object) -> bool:
    for holder in (spec, account):
        if "automountServiceAccountToken" in holder:
            return bool(holder["automountServiceAccountToken"])
    return True


def _mount_token(spec: Object) -> None:
    """A projected volume with a bound token, the CA and the namespace, in every container that has nothing mounted there."""
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    bare = [c for c in containers if all(m.get("mountPath") != MOUNT_PATH for m in c.get("volumeMounts") or ())]
    if not bare:
        return
    volumes = spec.setdefault("volumes", [])
    existing = next((v["name"] for v in volumes if v.get("name", "").startswith(_VOLUME_PREFIX)), None)
    name = existing or _VOLUME_PREFIX + meta.random_suffix()
    for container in bare:
        mount = {"name": name, "readOnly": True, "mountPath": MOUNT_PATH}
        container.setdefault("volumeMounts", []).append(mount)
    if existing is None:
        volumes.append({"name": name, "projected": _projection()})


def _projection() -> Object:
    namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    return {
        "defaultMode": 0o644,
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": _TOKEN_SECONDS, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [namespace]}},
        ],
    }
