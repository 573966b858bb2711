"""What admission does for volumes and claims: the default class, the finalizers that guard them in use, and when a claim may grow."""

from typing import Any

from apimachinery import quantity
from apiserver.admission.chain import Attributes, Plugin
from apiserver.admission.lister import Lister

Object = dict[str, Any]
CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
_DEFAULT = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
#: While this finalizer stands, a volume that is in use is not removed; the protection controllers take it off.
FINALIZERS = {
    "persistentvolumes": "kubernetes.io/pv-protection",
    "persistentvolumeclaims": "kubernetes.io/pvc-protection",
}


class DefaultStorageClass(Plugin):
    """A claim that names no class gets the default one. An empty name means: none."""

    handles = frozenset({"CREATE"})

    def __init__(self, classes: Lister) -> None:
        self._classes = classes

    async def admit(self, attributes: Attributes) -> None:
        if attributes.what != "persistentvolumeclaims" or attributes.obj is None:
            return
        spec = attributes.obj.setdefault("spec", {})
        annotations = attributes.obj["metadata"].get("annotations") or {}
        if CLASS_ANNOTATION in annotations or "storageClassName" in spec:
            return
        defaults = [c for c in self._classes.list() if _is_default(c)]
        if defaults:
            spec["storageClassName"] = newest(defaults)["metadata"]["name"]


def _is_default(storage_class: Object) -> bool:
    annotations = storage_class["metadata"].get("annotations") or {}
    return any(annotations.get(key) == "true" for key in _DEFAULT)


def newest(objects: list[Object]) -> Object:
    """Of several defaults the one that was made last; by name where that is a tie."""
    made = max(obj["metadata"]["creationTimestamp"] for obj in objects)
    last = (obj for obj in objects if obj["metadata"]["creationTimestamp"] == made)
    return min(last, key=lambda obj: str(obj["metadata"]["name"]))


class StorageObjectInUseProtection(Plugin):
    handles = frozenset({"CREATE"})

    async def admit(self, attributes: Attributes) -> None:
        finalizer = FINALIZERS.get(attributes.what)
        if finalizer is None or attributes.obj is None:
            return
        finalizers = attributes.obj["metadata"].setdefault("finalizers", [])
        if finalizer not in finalizers:
            finalizers.append(finalizer)


class PersistentVolumeClaimResize(Plugin):
    """A claim grows only when it is bound and its class allows that."""

    handles = frozenset({"UPDATE"})

    def __init__(self, classes: Lister) -> None:
        self._classes = classes

    async def validate(self, attributes: Attributes) -> None:
        new, old = attributes.obj, attributes.old
        if attributes.what != "persistentvolumeclaims" or new is None or old is None:
            return
        if quantity.compare(_size(new), _size(old)) <= 0:
            return
        if (old.get("status") or {}).get("phase") != "Bound":
            raise attributes.forbidden("Only bound persistent volume claims can be expanded")
        name = class_of(new)
        found = self._classes.get(name) if name and name == class_of(old) else None
        if found is None or not found.get("allowVolumeExpansion"):
            raise attributes.forbidden(
                "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must "
                "support resize"
            )


def class_of(claim: Object) -> str:
    annotations = claim["metadata"].get("annotations") or {}
    name = annotations.get(CLASS_ANNOTATION)
    return name if name is not None else claim["spec"].get("storageClassName") or ""


def _size(claim: Object) -> str:
    size: str = ((claim["spec"].get("resources") or {}).get("requests") or {}).get("storage", "0")
    return size
