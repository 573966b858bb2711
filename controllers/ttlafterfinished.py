"""Jobs that ended and name a time to live are deleted when it is over."""

from typing import Any

from apimachinery import meta
from controllers.loop import Context, Loop
from kubeclient import ApiError
from kubeclient.informer import key_of

Object = dict[str, Any]


def expires(job: Object) -> float | None:
    """When (seconds since the epoch); None for a Job that goes on or has no time to live."""
    ttl = job["spec"].get("ttlSecondsAfterFinished")
    if ttl is None:
        return None
    for type_ in ("Complete", "Failed"):
        condition = meta.get_condition(job, type_)
        if condition is not None and condition.get("status") == "True":
            return meta.parse_time(condition["lastTransitionTime"]) + ttl
    return None


class TtlAfterFinishedLoop(Loop):
    name = "ttl-after-finished-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.jobs = self.watch("batch/v1", "jobs")
        self.api = self.client.resource("batch/v1", "jobs")
        self.jobs.on(self._changed, lambda old, new: self._changed(new))

    def _changed(self, job: Object) -> None:
        if not meta.is_deleting(job) and expires(job) is not None:
            self.queue.add(key_of(job))

    async def reconcile(self, key: str) -> None:
        job = self.jobs.get(key)
        when = expires(job) if job is not None else None
        if job is None or when is None or meta.is_deleting(job):
            return
        if when > self.clock():
            self.queue.add_after(key, when - self.clock())
            return
        try:
            # Asked for once more: somebody may just have given it more time.
            live = await self.api.get(meta.name(job), meta.namespace(job))
            again = expires(live)
            if meta.uid(live) != meta.uid(job) or again is None or again > self.clock():
                return
            await self.api.delete(
                meta.name(job),
                meta.namespace(job),
                propagation_policy="Foreground",
                uid=meta.uid(job),
                resource_version=live["metadata"]["resourceVersion"],
            )
        except ApiError as error:
            if not error.not_found:
                raise
