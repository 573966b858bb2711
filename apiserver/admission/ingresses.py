"""DefaultIngressClass: an Ingress that names no class gets the default one."""

from apiserver.admission.chain import Attributes, Plugin
from apiserver.admission.claims import newest
from apiserver.admission.lister import Lister

_DEFAULT = "ingressclass.kubernetes.io/is-default-class"
#: How an Ingress named its class before there was a field for it.
_OLD = "kubernetes.io/ingress.class"


class DefaultIngressClass(Plugin):
    handles = frozenset({"CREATE"})

    def __init__(self, classes: Lister) -> None:
        self._classes = classes

    async def admit(self, attributes: Attributes) -> None:
        resource = attributes.resource
        if (resource.group, attributes.what) != ("networking.k8s.io", "ingresses") or attributes.obj is None:
            return
        spec = attributes.obj.setdefault("spec", {})
        if "ingressClassName" in spec or _OLD in (attributes.obj["metadata"].get("annotations") or {}):
            return
        defaults = [c for c in self._classes.list() if (c["metadata"].get("annotations") or {}).get(_DEFAULT) == "true"]
        if defaults:
            spec["ingressClassName"] = newest(defaults)["metadata"]["name"]
