"""``pods/NAME/binding``: the scheduler's decision. A pod is bound once; its ``PodScheduled`` condition becomes true."""

from typing import Any

from apimachinery import errors, meta
from apiserver.admission import Attributes
from apiserver.context import Context
from apiserver.handlers import commit, decode
from apiserver.handlers.endpoint import Endpoint, copy_of
from apiserver.request import Request
from apiserver.response import Response, json_response

Object = dict[str, Any]
_BINDING = ("", "v1", "Binding")


async def create(request: Request, endpoint: Endpoint, context: Context) -> Response:
    info = request.info
    options = decode.options(request)
    binding = await decode.read(request, endpoint.resource, options.validation, kind=_BINDING)
    return await bind(request, endpoint, context, binding, info.name, dry_run=options.dry_run)


async def create_old(request: Request, context: Context) -> Response:
    """``POST .../bindings``: the pod is the one that the binding is named after."""
    pods = context.endpoint("", "pods")
    options = decode.options(request)
    binding = await decode.read(request, pods.resource, options.validation, kind=_BINDING)
    name = (binding.get("metadata") or {}).get("name") or ""
    if not name:
        raise errors.bad_request("name is required for a Binding")
    return await bind(request, pods, context, binding, name, dry_run=options.dry_run)


async def bind(
    request: Request, endpoint: Endpoint, context: Context, binding: Object, name: str, *, dry_run: bool
) -> Response:
    """Sets ``spec.nodeName`` and what the binding's metadata brings along."""
    namespace = request.info.namespace
    metadata = binding.get("metadata") or {}
    target = binding.get("target") or {}
    node = _target(endpoint, target, name)
    if metadata.get("name") and metadata["name"] != name:
        raise errors.bad_request("name in URL does not match name in Binding object")
    attributes = Attributes(
        "CREATE", endpoint.resource, binding, None, request.user,
        namespace=namespace, name=name, subresource="binding", dry_run=dry_run, warnings=request.warnings,
    )  # fmt: skip
    await context.admission.admit(attributes)
    await context.admission.validate(attributes)

    async def modify(current: Object) -> Object:
        return _bound(endpoint, current, metadata, node)

    await commit.update(endpoint, endpoint.key(namespace, name), name, modify, dry_run=dry_run)
    body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
    return json_response(body, request, 201)


def _target(endpoint: Endpoint, target: Object, name: str) -> str:
    found = []
    if target.get("kind") not in (None, "", "Node"):
        found.append(errors.not_supported("target.kind", target["kind"], ["Node", "<empty>"]))
    node: str = target.get("name") or ""
    if not node:
        found.append(errors.required("target.name"))
    if found:
        raise errors.invalid(endpoint.resource, name, found, kind="Binding")
    return node


def _bound(endpoint: Endpoint, current: Object, metadata: Object, node: str) -> Object:
    name = current["metadata"]["name"]
    if metadata.get("uid") and metadata["uid"] != current["metadata"]["uid"]:
        why = f"Precondition failed: UID in precondition: {metadata['uid']}, UID in object meta: {current['metadata']['uid']}"
        raise errors.conflict(endpoint.resource, name, why)
    if meta.is_deleting(current):
        raise errors.conflict(endpoint.resource, name, f"pod {name} is being deleted, cannot be assigned to a host")
    if current["spec"].get("nodeName"):
        why = f"pod {name} is already assigned to node {errors.quote(current['spec']['nodeName'])}"
        raise errors.conflict(endpoint.resource, name, why)
    if current["spec"].get("schedulingGates"):
        raise errors.conflict(endpoint.resource, name, f"pod {name} has non-empty .spec.schedulingGates")
    new = copy_of(current)
    new["spec"]["nodeName"] = node
    if metadata.get("annotations"):
        new["metadata"].setdefault("annotations", {}).update(metadata["annotations"])
    condition = {"type": "PodScheduled", "status": "True", "lastProbeTime": None}
    meta.set_condition(new.setdefault("status", {}), condition)
    return new
