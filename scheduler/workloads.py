"""Which workload a pod belongs to: the Services that select it and the selector of the controller that made it."""

from apimachinery.selectors import Selector, from_label_selector, from_set
from kubeclient import Informer
from scheduler.pod import PodInfo

_BY_NAMESPACE = "namespace"


class WorkloadSelectors:
    """``owners`` maps (API group, kind) of controllers to their informers; kinds that the server does not have are absent."""

    def __init__(self, services: Informer, owners: dict[tuple[str, str], Informer]) -> None:
        self._services, self._owners = services, owners
        services.add_index(_BY_NAMESPACE, lambda service: [service["metadata"]["namespace"]])

    def selector(self, pod: PodInfo) -> Selector | None:
        labels: dict[str, str] = {}
        for service in self._services.by_index(_BY_NAMESPACE, pod.namespace):
            wanted = (service.get("spec") or {}).get("selector")
            if wanted and wanted.items() <= pod.labels.items():
                labels |= wanted
        owner = self._owner_selector(pod)
        if isinstance(owner, dict):
            labels |= owner
            owner = None
        requirements = from_set(labels).requirements + (owner.requirements if owner is not None else ())
        return Selector(requirements) if requirements else None

    def _owner_selector(self, pod: PodInfo) -> Selector | dict[str, str] | None:
        for reference in pod.pod["metadata"].get("ownerReferences") or ():
            if not reference.get("controller"):
                continue
            group = reference["apiVersion"].rpartition("/")[0]
            informer = self._owners.get((group, reference["kind"]))
            owner = informer.get(f"{pod.namespace}/{reference['name']}") if informer is not None else None
            selector = owner["spec"].get("selector") if owner is not None else None
            if not selector:
                return None
            # A ReplicationController's is a plain map.
            return selector if reference["kind"] == "ReplicationController" else from_label_selector(selector)
        return None
