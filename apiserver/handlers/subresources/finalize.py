"""``namespaces/NAME/finalize``: the namespace controller takes its finalizer off; the last one gone, the namespace goes."""

from typing import Any

from apiserver.context import Context
from apiserver.handlers import update as updating
from apiserver.handlers.endpoint import Endpoint, copy_of
from apiserver.request import Request
from apiserver.response import Response

Object = dict[str, Any]


async def update(request: Request, endpoint: Endpoint, context: Context) -> Response:
    def prepare(new: Object, current: Object) -> None:
        """Only ``spec.finalizers`` can be written this way."""
        finalizers = (new.get("spec") or {}).get("finalizers") or []
        sent = {k: new["metadata"].get(k) for k in ("finalizers", "managedFields")}
        kept = copy_of(current)
        new.clear()
        new.update(kept)
        for field, value in sent.items():
            new["metadata"].pop(field, None)
            if value:
                new["metadata"][field] = value
        new.setdefault("spec", {})
        if finalizers:
            new["spec"]["finalizers"] = finalizers
        else:
            new["spec"].pop("finalizers", None)

    return await updating.update(request, endpoint, context.admission, prepare)
