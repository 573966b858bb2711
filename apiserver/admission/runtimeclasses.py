"""RuntimeClass: what a pod's runtime class says about overhead and nodes becomes part of the pod."""

from typing import Any

from apimachinery.errors import quote
from apiserver.admission.chain import Attributes, Plugin
from apiserver.admission.lister import Lister
from apiserver.handlers.endpoint import Endpoint

Object = dict[str, Any]
_MISMATCH = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"


class RuntimeClasses(Plugin):
    handles = frozenset({"CREATE"})

    def __init__(self, endpoint: Endpoint, classes: Lister) -> None:
        self._endpoint = endpoint
        self._classes = classes

    async def admit(self, attributes: Attributes) -> None:
        if attributes.what != "pods" or attributes.obj is None:
            return
        runtime_class = await self._class(attributes)
        if runtime_class is None:
            return
        spec = attributes.obj["spec"]
        if overhead := (runtime_class.get("overhead") or {}).get("podFixed"):
            if spec.get("overhead") and spec["overhead"] != overhead:
                raise attributes.forbidden(_MISMATCH)
            spec["overhead"] = dict(overhead)
        if scheduling := runtime_class.get("scheduling"):
            _schedule(attributes, spec, scheduling)

    async def validate(self, attributes: Attributes) -> None:
        if attributes.what != "pods" or attributes.obj is None:
            return
        given = attributes.obj["spec"].get("overhead")
        if not given and not attributes.obj["spec"].get("runtimeClassName"):
            return
        runtime_class = await self._class(attributes)
        defined = ((runtime_class or {}).get("overhead") or {}).get("podFixed")
        if defined:
            if given != defined:
                raise attributes.forbidden(_MISMATCH)
        elif given:
            raise attributes.forbidden(
                "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
            )

    async def _class(self, attributes: Attributes) -> Object | None:
        assert attributes.obj is not None, "the callers have checked"
        name = attributes.obj["spec"].get("runtimeClassName")
        if not name:
            return None
        found = self._classes.get(name)
        if found is not None:
            return found
        live = await self._endpoint.live(name)  # perhaps it was made a moment ago
        if live is None:
            raise attributes.forbidden(f"pod rejected: RuntimeClass {quote(name)} not found")
        return live[0]


def _schedule(attributes: Attributes, spec: Object, scheduling: Object) -> None:
    """A pod of the class only goes to nodes that have the runtime."""
    wanted = scheduling.get("nodeSelector") or {}
    given = spec.get("nodeSelector") or {}
    for key, value in sorted(wanted.items()):
        if given.get(key, value) != value:
            raise attributes.forbidden(
                f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; "
                f"pod.spec.nodeSelector[{key}] = {given[key]}"
            )
    if wanted:
        spec["nodeSelector"] = {**given, **wanted}
    tolerations = spec.get("tolerations") or []
    added = [t for t in scheduling.get("tolerations") or () if t not in tolerations]
    if added:
        spec["tolerations"] = [*tolerations, *added]
