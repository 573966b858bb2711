"""delete and deletecollection: gracefully where the kind has a grace period, after the finalizers where there are some.

The rules are upstream's (``rest.BeforeDelete`` and the generic registry's ``Delete``): an object is removed at once, or marked with
``deletionTimestamp`` and ``deletionGracePeriodSeconds`` and removed by the last one who has to agree.
"""

import asyncio
import time
from typing import Any

from apimachinery import errors, meta
from apimachinery.errors import StatusError
from apimachinery.schema import DecodeError, parse_json, parse_yaml
from apiserver.admission import Attributes, Chain
from apiserver.handlers import commit, decode
from apiserver.handlers.create import written
from apiserver.handlers.endpoint import Endpoint, copy_of
from apiserver.handlers.read import listing
from apiserver.negotiation import negotiate
from apiserver.request import Request
from apiserver.response import Response, json_response
from apiserver.selection import select
from apiserver.storage.store import Changed

Object = dict[str, Any]
#: Kinds whose DELETE answers with the object even when it is gone; the others answer with a Status.
_ANSWER_WITH_OBJECT = frozenset(
    (
        "csidrivers",
        "csinodes",
        "storageclasses",
        "volumeattachments",
        "pods",
        "services",
        "serviceaccounts",
        "podtemplates",
        "resourcequotas",
        "persistentvolumes",
        "persistentvolumeclaims",
    )
)
#: Kinds whose dependents stay when a deletion does not say what is to become of them (upstream's, from before there was a choice).
_ORPHANING = ("Job", "ReplicationController")
_POLICIES = ("Orphan", "Background", "Foreground")
#: How many objects of a collection are deleted side by side.
_WORKERS = 16


async def delete(request: Request, endpoint: Endpoint, chain: Chain) -> Response:
    info = request.info
    negotiate(request.header(b"accept"), collection=False)
    options = await read_options(request)
    dry_run = decode.dry_run(request, options)
    obj, gone = await delete_object(request, endpoint, chain, info.namespace, info.name, options, dry_run=dry_run)
    if gone and endpoint.resource.plural not in _ANSWER_WITH_OBJECT:
        return json_response(success(endpoint, obj), request)
    asked_to_wait = options.get("orphanDependents") is False or options.get("propagationPolicy") == "Foreground"
    return written(request, endpoint, obj, 202 if not gone and asked_to_wait else 200)


async def delete_collection(request: Request, endpoint: Endpoint, chain: Chain) -> Response:
    """Deletes what the selectors choose; answers with the list of it, as upstream."""
    info = request.info
    negotiate(request.header(b"accept"), collection=True)
    options = await read_options(request)
    dry_run = decode.dry_run(request, options)
    found = await listing(request, endpoint, select(request, endpoint.strategy))
    objects = [endpoint.codec.decode_body(body) for body in found.bodies]
    gate = asyncio.Semaphore(_WORKERS)

    async def one(metadata: Object) -> None:
        async with gate:
            try:
                await delete_object(
                    request, endpoint, chain, metadata.get("namespace", info.namespace), metadata["name"],
                    dict(options), dry_run=dry_run,
                )  # fmt: skip
            except StatusError as error:
                if error.code != 404:
                    raise

    results = await asyncio.gather(*(one(obj["metadata"]) for obj in objects), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return Response(endpoint.plain.list(found.bodies, found.metadata))


async def read_options(request: Request) -> Object:
    """``DeleteOptions`` from the body, or from the query when there is no body."""
    raw = await request.body()
    options: Any = {}
    if raw:
        media = decode.media_type(request) or decode.JSON
        if media not in decode.WRITABLE:
            raise errors.unsupported_media_type(decode.WRITABLE)
        options = _parsed(raw, media)
    else:
        query = request.query
        if (grace := request.integer("gracePeriodSeconds")) is not None:
            options["gracePeriodSeconds"] = grace
        if query.get("propagationPolicy"):
            options["propagationPolicy"] = query["propagationPolicy"]
        if "orphanDependents" in query:
            options["orphanDependents"] = request.flag("orphanDependents")
    check_options(options)
    return options


def _parsed(raw: bytes, media: str) -> Any:
    if media == decode.PROTOBUF:
        return decode.from_protobuf(raw)
    try:
        value, _ = parse_json(raw) if media == decode.JSON else parse_yaml(raw)
    except DecodeError as error:
        raise errors.bad_request(f"couldn't get version/kind; {error}") from None
    if not isinstance(value, dict):
        raise errors.bad_request("couldn't get version/kind; json parse error: DeleteOptions has to be an object")
    kind = value.get("kind")
    if kind not in (None, "", "DeleteOptions"):
        raise errors.bad_request(f"decoded object cannot be converted to DeleteOptions: {kind}")
    return {k: v for k, v in value.items() if v is not None}


def check_options(options: Object) -> None:
    _typed(options, "gracePeriodSeconds", int)
    _typed(options, "propagationPolicy", str)
    _typed(options, "orphanDependents", bool)
    _typed(options, "preconditions", dict)
    _typed(options, "dryRun", list)
    preconditions = options.get("preconditions") or {}
    for field in ("uid", "resourceVersion"):
        _typed(preconditions, field, str)
    policy, found = options.get("propagationPolicy"), []
    if policy is not None and "orphanDependents" in options:
        text = "orphanDependents and deletionPropagation cannot be both set"
        found.append(errors.invalid_value("propagationPolicy", policy, text))
    if policy is not None and policy not in _POLICIES:
        found.append(errors.not_supported("propagationPolicy", policy, ["Background", "Foreground", "Orphan", "nil"]))
    if found:
        raise decode.options_invalid("DeleteOptions", found)


def _typed(options: Object, field: str, kind: type) -> None:
    value = options.get(field)
    if value is None:
        options.pop(field, None)
    elif type(value) is not kind:
        raise errors.bad_request(
            f"json: cannot unmarshal {type(value).__name__} into Go struct field DeleteOptions.{field}"
        )


async def delete_object(
    request: Request,
    endpoint: Endpoint,
    chain: Chain,
    namespace: str,
    name: str,
    options: Object,
    *,
    dry_run: bool,
) -> tuple[Object, bool]:
    """The object as it was left, and whether it is gone."""
    key = endpoint.key(namespace, name)
    entry = endpoint.cache.get(key)
    found = (endpoint.decode_entry(entry), entry.revision) if entry is not None else await endpoint.live(key)
    fresh = entry is None
    for _ in range(commit.MAX_RACES):
        if found is None:
            raise endpoint.not_found(name)
        current, revision = found
        try:
            new, gone = await _decide(request, endpoint, chain, current, options, dry_run=dry_run)
        except StatusError:
            if fresh:
                raise
            found, fresh = await endpoint.live(key), True
            continue
        if dry_run or (not gone and new == current):
            return new, gone
        try:
            storage_key = endpoint.storage_key(key)
            if gone:
                also = endpoint.release(current) if endpoint.release is not None else ()
                revision = await endpoint.store.delete(storage_key, revision, also=also)
            else:
                revision = await endpoint.store.replace(storage_key, endpoint.encode(new), revision)
        except Changed as changed:
            value = changed.current
            found = None if value is None else (endpoint.decode_value(value.value, value.revision), value.revision)
            fresh = True
            continue
        new["metadata"]["resourceVersion"] = str(revision)
        return new, gone
    raise errors.conflict(endpoint.resource, name)


async def _decide(
    request: Request, endpoint: Endpoint, chain: Chain, current: Object, options: Object, *, dry_run: bool
) -> tuple[Object, bool]:
    """What deleting means for this object now: its next state, or that it goes."""
    metadata = current["metadata"]
    _check_preconditions(endpoint, metadata, options.get("preconditions") or {})
    attributes = Attributes(
        "DELETE", endpoint.resource, None, current, request.user,
        namespace=metadata.get("namespace", ""), name=metadata["name"], dry_run=dry_run, warnings=request.warnings,
    )  # fmt: skip
    await chain.admit(attributes)
    await chain.validate(attributes)
    new = copy_of(current)
    if endpoint.resource.kind == "Namespace" and (new.get("spec") or {}).get("finalizers"):
        return _terminate_namespace(endpoint, new, options), False
    graceful, pending = _grace(endpoint, new, options)
    if pending:
        return current, False
    finalizers = _finalizers(endpoint, new, options)
    if finalizers != (metadata.get("finalizers") or []):
        new["metadata"]["finalizers"] = finalizers
    if graceful:
        if finalizers or new["metadata"]["deletionGracePeriodSeconds"] > 0:
            return new, False
        return new, True
    if finalizers:
        _mark(new)
        return new, False
    new["metadata"].pop("finalizers", None)
    return new, True


def _check_preconditions(endpoint: Endpoint, metadata: Object, preconditions: Object) -> None:
    uid, version = preconditions.get("uid"), preconditions.get("resourceVersion")
    if uid is not None and uid != metadata.get("uid"):
        why = (
            f"the UID in the precondition ({uid}) does not match the UID in record ({metadata.get('uid')}). "
            "The object might have been deleted and then recreated"
        )
        raise _mismatch(endpoint, metadata["name"], why)
    if version is not None and version != metadata["resourceVersion"]:
        why = (
            f"the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record "
            f"({metadata['resourceVersion']}). The object might have been modified"
        )
        raise _mismatch(endpoint, metadata["name"], why)


def _mismatch(endpoint: Endpoint, name: str, why: str) -> StatusError:
    """Upstream names the kind here where a conflict names the resource elsewhere."""
    resource = endpoint.resource
    what = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    details: Object = {"name": name, "kind": resource.kind}
    if resource.group:
        details["group"] = resource.group
    text = f"Operation cannot be fulfilled on {what} {errors.quote(name)}: {why}"
    return StatusError(409, "Conflict", text, details)


def _grace(endpoint: Endpoint, obj: Object, options: Object) -> tuple[bool, bool]:
    """(deleting gracefully now, already being deleted and nothing to change). Stamps ``obj``."""
    metadata = obj["metadata"]
    requested = options.get("gracePeriodSeconds")
    if requested is not None and requested < 0:
        requested = 1  # upstream's reading of a negative period
    period = endpoint.strategy.grace_period(obj, requested)
    if period is None:
        return False, False
    if metadata.get("deletionTimestamp"):
        given = metadata.get("deletionGracePeriodSeconds")
        if given is None:
            return False, False
        if requested is None or period >= given:
            # Nobody may lengthen it; what is due is due.
            return (False, given > 0 or bool(metadata.get("finalizers"))) if given == 0 else (False, True)
        due = meta.parse_time(metadata["deletionTimestamp"]) - given + period
        if due < time.time():
            # What was asked for is over: whoever ends the object still gets a second for it.
            due, period = time.time(), min(period, 1)
        metadata["deletionTimestamp"], metadata["deletionGracePeriodSeconds"] = meta.format_time(due), period
        return True, False
    metadata["deletionTimestamp"] = meta.format_time(time.time() + period)
    metadata["deletionGracePeriodSeconds"] = period
    _count_generation(metadata)
    return True, False


def _mark(obj: Object) -> None:
    """Being deleted, waiting only for finalizers."""
    metadata = obj["metadata"]
    if not metadata.get("deletionTimestamp"):
        metadata["deletionTimestamp"] = meta.now_rfc3339()
        _count_generation(metadata)
    metadata["deletionGracePeriodSeconds"] = 0


def _count_generation(metadata: Object) -> None:
    if metadata.get("generation", 0) > 0:
        metadata["generation"] += 1


def _finalizers(endpoint: Endpoint, obj: Object, options: Object) -> list[str]:
    """The object's finalizers plus what the propagation policy asks for; without a policy the kind's own holds."""
    current: list[str] = obj["metadata"].get("finalizers") or []
    policy = options.get("propagationPolicy")
    if policy is None and "orphanDependents" in options:
        policy = "Orphan" if options["orphanDependents"] else "Background"
    if policy is None and endpoint.resource.kind in _ORPHANING and meta.FOREGROUND_FINALIZER not in current:
        policy = "Orphan"
    if policy is None or endpoint.resource.kind == "Event":  # nothing depends on an event
        return current
    kept = [f for f in current if f not in (meta.ORPHAN_FINALIZER, meta.FOREGROUND_FINALIZER)]
    wanted = {"Orphan": meta.ORPHAN_FINALIZER, "Foreground": meta.FOREGROUND_FINALIZER}.get(policy)
    if wanted in current:
        return current
    return [*kept, wanted] if wanted else kept


def _terminate_namespace(endpoint: Endpoint, obj: Object, options: Object) -> Object:
    """A namespace goes when its controller has emptied it and taken its own finalizer off ``spec.finalizers``."""
    metadata = obj["metadata"]
    if not metadata.get("deletionTimestamp"):
        metadata["deletionTimestamp"] = meta.now_rfc3339()
    obj.setdefault("status", {})["phase"] = "Terminating"
    finalizers = _finalizers(endpoint, obj, options)
    if finalizers:
        metadata["finalizers"] = finalizers
    return obj


def success(endpoint: Endpoint, obj: Object) -> Object:
    resource = endpoint.resource
    details: Object = {"name": obj["metadata"]["name"]}
    if resource.group:
        details["group"] = resource.group
    details["kind"] = resource.plural
    details["uid"] = obj["metadata"].get("uid", "")
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
