"""Tells the API server each pod's status: the last one wins, only what changed is sent, and a pod that is over is deleted there.

A status that only says "creating" waits a moment: most containers run by then, and one patch tells it all.
"""

import logging
from typing import Any

from kubeclient import ApiError, Client, Controller, WorkQueue
from kubeclient.rest import STRATEGIC_MERGE_PATCH

Object = dict[str, Any]

log = logging.getLogger(__name__)

PATIENCE = 0.1
_KEYED = {"conditions": "type", "podIPs": "ip", "hostIPs": "ip"}


def status_patch(old: Object, new: Object) -> Object:
    """The strategic merge patch that turns the one status into the other; empty when they are the same."""
    patch: Object = {}
    for field in old.keys() | new.keys():
        before, after = old.get(field), new.get(field)
        if before == after:
            continue
        if field in _KEYED and before:
            patch[field] = _merged(before, after or [], _KEYED[field])
        else:
            patch[field] = after
    return patch


def _merged(before: list[Object], after: list[Object], key: str) -> list[Object]:
    known = {entry[key]: entry for entry in before}
    kept = {entry[key] for entry in after}
    changed: list[Object] = []
    for entry in after:
        if entry != known.get(entry[key]):
            earlier = known.get(entry[key], {})
            changed.append({**{name: None for name in earlier if name not in entry}, **entry})
    return changed + [{"$patch": "delete", key: name} for name in known if name not in kept]


class StatusWriter:
    def __init__(self, client: Client) -> None:
        self._pods = client.resource("v1", "pods")
        self._queue: WorkQueue[str] = WorkQueue("pod status", max_delay=10.0)
        self._loop = Controller("pod status", self._sync, workers=4, queue=self._queue)
        self._wanted: dict[str, tuple[Object, Object]] = {}  # uid -> (pod, status)
        self._known: dict[str, Object] = {}  # uid -> the status that the server has
        self._over: dict[str, Object] = {}  # uid -> the pod to be deleted

    async def run(self) -> None:
        await self._loop.run()

    def get(self, uid: str) -> Object | None:
        """The status last set, whether or not it was sent."""
        found = self._wanted.get(uid)
        return found[1] if found else None

    def seen(self, pod: Object) -> None:
        """The server showed this pod: its status is what patches are made against."""
        self._known[pod["metadata"]["uid"]] = pod.get("status") or {}

    def set(self, pod: Object, status: Object) -> None:
        uid = pod["metadata"]["uid"]
        before = self._wanted.get(uid)
        self._wanted[uid] = pod, status
        if before is not None and before[1] == status:
            return
        known = self._known.get(uid) or {}
        if not status_patch(known, status):
            return
        waiting = status.get("phase") == "Pending" and (known.get("phase") or "Pending") == "Pending"
        if waiting and not _trouble(status):
            self._queue.add_after(uid, PATIENCE)
        else:
            self._queue.add(uid)

    def over(self, pod: Object) -> None:
        """Nothing of the pod is left here and its deletion was asked for: the object may go, after its last status."""
        self._over[pod["metadata"]["uid"]] = pod
        self._queue.add(pod["metadata"]["uid"])

    def forget(self, uid: str) -> None:
        self._wanted.pop(uid, None)
        self._known.pop(uid, None)
        self._over.pop(uid, None)

    async def _sync(self, uid: str) -> None:
        try:
            await self._send(uid)
            pod = self._over.get(uid)
            if pod is not None:
                meta = pod["metadata"]
                await self._pods.delete(meta["name"], meta["namespace"], grace_period_seconds=0, uid=uid)
                self._over.pop(uid, None)
        except ApiError as error:
            if error.not_found or (error.conflict and "uid" in error.message.lower()):
                self._over.pop(uid, None)  # gone, or another pod of that name: nothing to tell of this one
                return
            raise

    async def _send(self, uid: str) -> None:
        wanted = self._wanted.get(uid)
        if wanted is None:
            return
        pod, status = wanted
        patch = status_patch(self._known.get(uid) or {}, status)
        if not patch:
            return
        meta = pod["metadata"]
        answer = await self._pods.patch(
            meta["name"],
            {"metadata": {"uid": uid}, "status": patch},
            meta["namespace"],
            content_type=STRATEGIC_MERGE_PATCH,
            subresource="status",
        )
        if uid in self._known or uid in self._wanted:
            self._known[uid] = answer.get("status") or {}


def _trouble(status: Object) -> bool:
    """Whether a container waits for something that somebody should hear of now."""
    entries = (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))
    for entry in entries:
        reason = (entry["state"].get("waiting") or {}).get("reason")
        if reason not in (None, "ContainerCreating", "PodInitializing") or "running" in entry["state"]:
            return True
    return False
