"""A claim that a pod uses, and a volume that a claim uses, are not removed while that lasts: a finalizer holds them."""

from typing import Any

from apimachinery import meta
from controllers import pods
from controllers.loop import Context, Loop
from kubeclient import ApiError, ResourceClient
from kubeclient.informer import key_of

Object = dict[str, Any]
CLAIM_FINALIZER, VOLUME_FINALIZER = "kubernetes.io/pvc-protection", "kubernetes.io/pv-protection"


def claims_of(pod: Object) -> list[str]:
    """The names of the claims that a pod uses or, by its ephemeral volumes, may own."""
    found = []
    for volume in pod["spec"].get("volumes") or ():
        if (claim := volume.get("persistentVolumeClaim")) is not None:
            found.append(claim["claimName"])
        elif volume.get("ephemeral") is not None:
            found.append(f"{meta.name(pod)}-{volume['name']}")
    return found


def uses(pod: Object, claim: Object) -> bool:
    """Only a pod that has a node counts: a kubelet starts no pod with a claim that is being deleted."""
    if not pod["spec"].get("nodeName"):
        return False
    name = meta.name(claim)
    for volume in pod["spec"].get("volumes") or ():
        if (volume.get("persistentVolumeClaim") or {}).get("claimName") == name:
            return True
        ephemeral = volume.get("ephemeral") is not None and f"{meta.name(pod)}-{volume['name']}" == name
        if ephemeral and not pods.is_terminal(pod) and meta.is_controlled_by(claim, pod):
            return True
    return False


class ClaimProtectionLoop(Loop):
    name = "persistentvolumeclaim-protection-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.claims = self.watch("v1", "persistentvolumeclaims")
        self.pods = self.watch("v1", "pods")
        self.pods.add_index("claim", lambda pod: [f"{meta.namespace(pod)}/{name}" for name in claims_of(pod)])
        self.api = self.client.resource("v1", "persistentvolumeclaims")
        self.pod_api = self.client.resource("v1", "pods")
        self.claims.on(self._claim_seen, lambda old, new: self._claim_seen(new))
        self.pods.on(update=self._pod_updated, delete=self._pod_changed)

    def _claim_seen(self, claim: Object) -> None:
        if meta.is_deleting(claim) or not has_finalizer(claim, CLAIM_FINALIZER):
            self.queue.add(key_of(claim))

    def _pod_updated(self, old: Object, new: Object) -> None:
        if pods.is_terminal(new) and not pods.is_terminal(old):
            self._pod_changed(new)

    def _pod_changed(self, pod: Object) -> None:
        for name in claims_of(pod):
            claim = self.claims.get(f"{meta.namespace(pod)}/{name}")
            if claim is not None and meta.is_deleting(claim):
                self.queue.add(key_of(claim))

    async def reconcile(self, key: str) -> None:
        claim = self.claims.get(key)
        if claim is None:
            return
        if not meta.is_deleting(claim):
            await add_finalizer(self.api, claim, CLAIM_FINALIZER)
        elif has_finalizer(claim, CLAIM_FINALIZER) and not await self._in_use(claim):
            await remove_finalizer(self.api, claim, CLAIM_FINALIZER)

    async def _in_use(self, claim: Object) -> bool:
        """First by the cache, then by the server: a pod that was bound a moment ago must not lose its data."""
        if any(uses(pod, claim) for pod in self.pods.by_index("claim", key_of(claim))):
            return True
        listed = await self.pod_api.list(meta.namespace(claim))
        return any(uses(pod, claim) for pod in listed["items"])


class VolumeProtectionLoop(Loop):
    name = "persistentvolume-protection-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.volumes = self.watch("v1", "persistentvolumes")
        self.api = self.client.resource("v1", "persistentvolumes")
        self.volumes.on(self._seen, lambda old, new: self._seen(new))

    def _seen(self, volume: Object) -> None:
        if meta.is_deleting(volume) or not has_finalizer(volume, VOLUME_FINALIZER):
            self.queue.add(key_of(volume))

    async def reconcile(self, key: str) -> None:
        volume = self.volumes.get(key)
        if volume is None:
            return
        if not meta.is_deleting(volume):
            await add_finalizer(self.api, volume, VOLUME_FINALIZER)
        elif (volume.get("status") or {}).get("phase") != "Bound":
            await remove_finalizer(self.api, volume, VOLUME_FINALIZER)


# --- finalizers -------------------------------------------------------------------------------------------------


def has_finalizer(obj: Object, finalizer: str) -> bool:
    return finalizer in (obj["metadata"].get("finalizers") or ())


async def add_finalizer(api: ResourceClient, obj: Object, finalizer: str) -> None:
    if not has_finalizer(obj, finalizer):
        await _write(api, obj, [*(obj["metadata"].get("finalizers") or ()), finalizer])


async def remove_finalizer(api: ResourceClient, obj: Object, finalizer: str) -> None:
    if has_finalizer(obj, finalizer):
        await _write(api, obj, [f for f in obj["metadata"]["finalizers"] if f != finalizer])


async def _write(api: ResourceClient, obj: Object, finalizers: list[str]) -> None:
    """Guarded by the revision that was looked at; a lost race is looked at again."""
    try:
        await api.update({**obj, "metadata": {**obj["metadata"], "finalizers": finalizers}})
    except ApiError as error:
        if not error.not_found:
            raise
