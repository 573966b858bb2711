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
_ENFORCED = "kubernetes.io/enforce-mountable-secrets"


class ServiceAccounts(Plugin):
    def __init__(self, context: Any) -> None:
        self._context = context

    async def admit(self, attributes: Attributes) -> None:
        if attributes.what != "pods" or attributes.operation != "CREATE" or attributes.obj is None:
            return
        pod = attributes.obj
        spec = pod["spec"]
        if _MIRROR in (pod["metadata"].get("annotations") or {}):
            return
        if not spec.get("serviceAccountName"):
            spec["serviceAccountName"] = "default"
        spec["serviceAccount"] = spec["serviceAccountName"]  # the old name of the field, kept for old clients
        account = await self._account(attributes, spec["serviceAccountName"])
        if _automounts(spec, account):
            _mount_token(spec)
        if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            spec["imagePullSecrets"] = account["imagePullSecrets"]

    async def validate(self, attributes: Attributes) -> None:
        created = attributes.what == "pods" and attributes.operation == "CREATE"
        if attributes.obj is None or not (created or attributes.what == "pods/ephemeralcontainers"):
            return
        spec = attributes.obj["spec"]
        if _MIRROR in (attributes.obj["metadata"].get("annotations") or {}):
            if why := _mirror_problem(spec):
                raise attributes.forbidden(why)
            return
        account = await self._account(attributes, spec.get("serviceAccountName") or "default")
        if (account["metadata"].get("annotations") or {}).get(_ENFORCED) == "true" and (why := _foreign(spec, account)):
            raise attributes.forbidden(why)

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
        raise attributes.forbidden(text)


def _mirror_problem(spec: Object) -> str:
    """A kubelet makes mirror pods of its own manifests: they may not lend it an identity or anybody's secrets."""
    if spec.get("serviceAccountName"):
        return "a mirror pod may not reference service accounts"
    volumes = spec.get("volumes") or ()
    sources = [s for v in volumes for s in (v.get("projected") or {}).get("sources") or ()]
    held = any(_holds_secret(v) for v in volumes) or any("secret" in s for s in sources)
    read = any(True for _, container in _containers(spec) for _ in _secrets_of(container))
    if held or read or spec.get("imagePullSecrets"):
        return "a mirror pod may not reference secrets"
    if any("serviceAccountToken" in s for s in sources):
        return "a mirror pod may not use ServiceAccountToken volume projections"
    return ""


def _holds_secret(volume: Object) -> bool:
    if "secret" in volume or "azureFile" in volume:
        return True
    sources = [s for s in volume.values() if isinstance(s, dict)]
    return any(field in s for s in sources for field in ("secretRef", "nodePublishSecretRef"))


def _containers(spec: Object) -> list[tuple[str, Object]]:
    kinds = (
        ("init container", "initContainers"),
        ("container", "containers"),
        ("ephemeral container", "ephemeralContainers"),
    )
    return [(kind, c) for kind, field in kinds for c in spec.get(field) or ()]


def _secrets_of(container: Object) -> list[tuple[str, str]]:
    """The secrets in a container's environment, with the words that say where."""
    found: list[tuple[str, str]] = []
    for variable in container.get("env") or ():
        if reference := (variable.get("valueFrom") or {}).get("secretKeyRef"):
            found.append((f"envVar {variable.get('name', '')}", reference.get("name", "")))
    for source in container.get("envFrom") or ():
        if reference := source.get("secretRef"):
            found.append(("envFrom", reference.get("name", "")))
    return found


def _foreign(spec: Object, account: Object) -> str:
    """What the pod refers to and the account does not list, when the account's list is binding."""
    own = {s.get("name") for s in account.get("secrets") or ()}
    name = account["metadata"]["name"]
    refused = f"is not allowed because service account {name} does not reference that"
    for volume in spec.get("volumes") or ():
        secret = (volume.get("secret") or {}).get("secretName")
        if secret is not None and secret not in own:
            return f'volume with secret.secretName="{secret}" {refused} secret'
    for kind, container in _containers(spec):
        for where, secret in _secrets_of(container):
            if secret not in own:
                who = f"{kind} {container.get('name', '')} with {where} referencing"
                return f'{who} secret.secretName="{secret}" {refused} secret'
    pulls = {s.get("name") for s in account.get("imagePullSecrets") or ()}
    for i, reference in enumerate(spec.get("imagePullSecrets") or ()):
        if reference.get("name") not in pulls:
            return f'imagePullSecrets[{i}].name="{reference.get("name", "")}" {refused} imagePullSecret'
    return ""


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
