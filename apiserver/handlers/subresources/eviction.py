"""``pods/NAME/eviction``: a deletion that asks the pod's disruption budget first, as ``kubectl drain`` does."""

from typing import Any

from apimachinery import errors, meta
from apimachinery.errors import StatusError
from apimachinery.selectors import from_label_selector
from apiserver.context import Context
from apiserver.handlers import commit, decode
from apiserver.handlers.delete import check_options, delete_object
from apiserver.handlers.endpoint import Endpoint, copy_of
from apiserver.handlers.subresources.container import find_pod
from apiserver.request import Request
from apiserver.response import Response, json_response

Object = dict[str, Any]
_KIND = ("policy", "v1", "Eviction")
_MAX_DISRUPTED = 2000
_RETRY_SECONDS = 10


async def create(request: Request, endpoint: Endpoint, context: Context) -> Response:
    info = request.info
    eviction = await decode.read(request, endpoint.resource, decode.options(request).validation, kind=_KIND)
    name = (eviction.get("metadata") or {}).get("name") or info.name
    if name != info.name:
        raise errors.bad_request("name in URL does not match name in Eviction object")
    options: Object = eviction.get("deleteOptions") or {}
    check_options(options)
    dry_run = decode.dry_run(request, options)
    pod = await find_pod(request, endpoint)
    if not _ignores_budgets(pod):
        budget = _budget_of(pod, context)
        if budget is not None and not _unhealthy_may_go(pod, budget):
            await _spend(context, budget, info.namespace, name, dry_run=dry_run)
            # The budget was spent for this pod, not for a successor of its name.
            options.setdefault("preconditions", {}).setdefault("uid", pod["metadata"]["uid"])
    await delete_object(request, endpoint, context.admission, info.namespace, name, options, dry_run=dry_run)
    body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
    return json_response(body, request, 201)


def _ignores_budgets(pod: Object) -> bool:
    """What is over, has not begun or is going anyway disturbs nobody."""
    phase = (pod.get("status") or {}).get("phase")
    return phase in ("Succeeded", "Failed", "Pending") or meta.is_deleting(pod)


def _budget_of(pod: Object, context: Context) -> Object | None:
    budgets = context.endpoint("policy", "poddisruptionbudgets")
    labels = meta.labels(pod)
    found = []
    for entry in budgets.cache.entries(f"{meta.namespace(pod)}/"):
        budget = budgets.decode_entry(entry)
        if from_label_selector(budget.get("spec", {}).get("selector")).matches(labels):
            found.append(budget)
    if len(found) > 1:
        text = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        raise errors.internal(text)
    return found[0] if found else None


def _unhealthy_may_go(pod: Object, budget: Object) -> bool:
    """A pod that is not ready does not count as available, so its end may cost the budget nothing."""
    if meta.condition_is_true(pod, "Ready"):
        return False
    if budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status") or {}
    return status.get("currentHealthy", 0) >= status.get("desiredHealthy", 0) > 0


async def _spend(context: Context, budget: Object, namespace: str, pod: str, *, dry_run: bool) -> None:
    """Takes one disruption from the budget. Raises 429 when there is none."""
    endpoint = context.endpoint("policy", "poddisruptionbudgets")
    name = budget["metadata"]["name"]

    async def modify(current: Object) -> Object:
        new = copy_of(current)
        status = new.setdefault("status", {})
        _require_room(endpoint, new, name)
        status["disruptionsAllowed"] = status.get("disruptionsAllowed", 0) - 1
        status.setdefault("disruptedPods", {})[pod] = meta.now_rfc3339()
        return new

    await commit.update(endpoint, endpoint.key(namespace, name), name, modify, dry_run=dry_run)


def _require_room(endpoint: Endpoint, budget: Object, name: str) -> None:
    status = budget.get("status") or {}
    if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 0):
        why = f"The disruption budget {name} is still being processed by the server."
        raise _too_many(why, _RETRY_SECONDS)
    allowed = status.get("disruptionsAllowed", 0)
    if allowed < 0:
        raise errors.forbidden(endpoint.resource, name, "pdb disruptions allowed is negative")
    if len(status.get("disruptedPods") or {}) > _MAX_DISRUPTED:
        raise errors.forbidden(
            endpoint.resource, name, "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        )
    if allowed == 0:
        wanted, healthy = status.get("desiredHealthy", 0), status.get("currentHealthy", 0)
        raise _too_many(f"The disruption budget {name} needs {wanted} healthy pods and has {healthy} currently")


def _too_many(why: str, retry_seconds: int = 0) -> StatusError:
    """Without ``retry_seconds`` clients decide themselves when to try again: with it client-go waits inside of the request,
    and ``kubectl drain --timeout`` would wait with it."""
    error = StatusError(429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.")
    error.details = {"causes": [{"reason": "DisruptionBudget", "message": why}]}
    if retry_seconds:
        error.details["retryAfterSeconds"] = retry_seconds
    return error
