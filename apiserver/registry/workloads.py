"""Deployments, ReplicaSets, StatefulSets, DaemonSets, ReplicationControllers, ControllerRevisions, PodTemplates."""

from typing import Any

from apimachinery import meta, names
from apimachinery.errors import FieldError, Literal, forbidden_field, invalid_value, not_supported, quote, required
from apimachinery.table import Column
from apiserver.registry.objectmeta import IMMUTABLE, NON_NEGATIVE
from apiserver.registry.pod import pod_warnings
from apiserver.registry.pod_defaults import default_template
from apiserver.registry.pod_rules import validate_template
from apiserver.registry.rolling import validate_rolling_daemons, validate_rolling_ordinals, validate_rolling_update
from apiserver.registry.strategy import AGE, NAME, Object, Strategy
from apiserver.registry.templated import (
    CONTAINERS,
    IMAGES,
    SELECTOR,
    container_cells,
    labels_cell,
    mismatch,
    non_negative,
    selector_cell,
    selector_is_immutable,
    validate_endless,
    validate_selector,
    validate_workload_template,
)
from apiserver.registry.workload_status import collisions_only_grow, no_more_than_ready, no_more_than_replicas


class Workload(Strategy):
    """Spec with a pod template, status written by a controller, generation counting changes of the spec."""

    has_status = True
    has_generation = True

    def prepare_for_update(self, new: Object, old: Object) -> None:
        super().prepare_for_update(new, old)
        # Deployments also count a change of annotations: rollback information used to live there.
        if self.counts_annotations and new["metadata"].get("annotations") != old["metadata"].get("annotations"):
            new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1

    counts_annotations = False

    def prepare_for_status_update(self, new: Object, old: Object) -> None:
        super().prepare_for_status_update(new, old)
        if "labels" in old["metadata"]:
            new["metadata"]["labels"] = old["metadata"]["labels"]
        else:
            new["metadata"].pop("labels", None)

    def warnings(self, obj: Object, old: Object | None = None) -> list[str]:
        template = (obj.get("spec") or {}).get("template") or {}
        return pod_warnings(template.get("spec") or {}, "spec.template.spec")


# --- Deployment -------------------------------------------------------------------------------------------------


class DeploymentStrategy(Workload):
    counts_annotations = True
    columns = (
        NAME,
        Column("Ready", description="Number of the pod with ready state"),
        Column(
            "Up-to-date",
            description="Total number of non-terminated pods targeted by this deployment that have the desired template spec.",
        ),
        Column(
            "Available",
            description="Total number of available non-terminating pods (ready for at least minReadySeconds) targeted by "
            "this deployment.",
        ),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    )

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        spec.setdefault("replicas", 1)
        strategy = spec.setdefault("strategy", {})
        if not strategy.get("type"):
            strategy["type"] = "RollingUpdate"
        if strategy["type"] == "RollingUpdate":
            rolling = strategy.setdefault("rollingUpdate", {})
            rolling.setdefault("maxUnavailable", "25%")
            rolling.setdefault("maxSurge", "25%")
        spec.setdefault("revisionHistoryLimit", 10)
        spec.setdefault("progressDeadlineSeconds", 600)
        default_template(spec.setdefault("template", {}))

    def rules(self, obj: Object) -> list[FieldError]:
        spec = obj["spec"]
        found = non_negative(spec, "spec", "replicas")
        found += validate_selector(spec, "spec", what="deployment")
        found += validate_workload_template(spec, "spec", "ReplicaSet")
        found += _deployment_strategy(spec["strategy"])
        found += non_negative(spec, "spec", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds")
        deadline = spec.get("progressDeadlineSeconds")
        if deadline is not None and deadline <= spec.get("minReadySeconds", 0):
            found.append(
                invalid_value("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")
            )
        return found

    def update_rules(self, new: Object, old: Object) -> list[FieldError]:
        return selector_is_immutable(new, old)

    def status_rules(self, new: Object, old: Object) -> list[FieldError]:
        status = new.get("status") or {}
        fields = ("observedGeneration", "replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
        found = non_negative(status, "status", *fields, "unavailableReplicas", "collisionCount")
        found += no_more_than_replicas(status, "updatedReplicas", "readyReplicas", "availableReplicas")
        return found + no_more_than_ready(status, "readyReplicas") + collisions_only_grow(new, old)

    def cells(self, obj: Object, now: float) -> list[Any]:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        return [
            obj["metadata"]["name"],
            f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
            status.get("updatedReplicas", 0),
            status.get("availableReplicas", 0),
            self.age(obj, now),
            *container_cells(spec.get("template") or {}),
            selector_cell(spec.get("selector")),
        ]


def _deployment_strategy(strategy: Object) -> list[FieldError]:
    kind = strategy.get("type", "")
    if kind == "Recreate":
        if "rollingUpdate" in strategy:
            detail = "may not be specified when strategy `type` is 'Recreate'"
            return [forbidden_field("spec.strategy.rollingUpdate", detail)]
        return []
    if kind == "RollingUpdate":
        if "rollingUpdate" not in strategy:
            return [required("spec.strategy.rollingUpdate", "this should be defaulted and never be nil")]
        return validate_rolling_update(strategy["rollingUpdate"], "spec.strategy.rollingUpdate")
    shown = _go_strategy("DeploymentStrategy", strategy, "RollingUpdateDeployment")
    return [not_supported("spec.strategy", shown, ("Recreate", "RollingUpdate"))]


def _go_strategy(go_type: str, strategy: Object, rolling_type: str) -> Literal:
    """A strategy as Go's ``%#v`` prints it; a pointer's number means nothing there either."""
    pointer = "0xc000000000" if "rollingUpdate" in strategy else "nil"
    return Literal(
        f"apps.{go_type}{{Type:{quote(strategy.get('type', ''))}, RollingUpdate:(*apps.{rolling_type})({pointer})}}"
    )


# --- ReplicaSet -------------------------------------------------------------------------------------------------

_REPLICA_COLUMNS = (
    NAME,
    Column("Desired", "integer", description="Replicas is the number of desired pods."),
    Column("Current", "integer", description="Replicas is the most recently observed number of non-terminating pods."),
    Column(
        "Ready",
        "integer",
        description="The number of non-terminating pods targeted by this set with a Ready Condition.",
    ),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
)


class ReplicaSetStrategy(Workload):
    columns = _REPLICA_COLUMNS
    selectable = ("status.replicas",)

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        spec.setdefault("replicas", 1)
        if "template" in spec:
            default_template(spec["template"])

    def rules(self, obj: Object) -> list[FieldError]:
        spec = obj["spec"]
        found = non_negative(spec, "spec", "replicas", "minReadySeconds")
        found += validate_selector(spec, "spec", what="deployment")
        return found + validate_workload_template(spec, "spec", "ReplicaSet")

    def update_rules(self, new: Object, old: Object) -> list[FieldError]:
        return selector_is_immutable(new, old)

    def status_rules(self, new: Object, old: Object) -> list[FieldError]:
        status = new.get("status") or {}
        fields = ("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration")
        found = non_negative(status, "status", *fields)
        found += no_more_than_replicas(status, "fullyLabeledReplicas", "readyReplicas", "availableReplicas")
        return found + no_more_than_ready(status, "readyReplicas")

    def selectable_fields(self, obj: Object) -> dict[str, str]:
        replicas = (obj.get("status") or {}).get("replicas", 0)
        return {**super().selectable_fields(obj), "status.replicas": str(replicas)}

    def cells(self, obj: Object, now: float) -> list[Any]:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        return [
            obj["metadata"]["name"],
            spec.get("replicas", 0),
            status.get("replicas", 0),
            status.get("readyReplicas", 0),
            self.age(obj, now),
            *container_cells(spec.get("template") or {}),
            self._selector(spec),
        ]

    def _selector(self, spec: Object) -> str:
        return selector_cell(spec.get("selector"))


class ReplicationControllerStrategy(ReplicaSetStrategy):
    """The forerunner of ReplicaSets: its selector is a plain map and defaults to the template's labels."""

    def default(self, obj: Object) -> None:
        super().default(obj)
        labels = ((obj["spec"].get("template") or {}).get("metadata") or {}).get("labels")
        if labels:
            obj["spec"].setdefault("selector", dict(labels))
            obj["metadata"].setdefault("labels", dict(labels))

    def rules(self, obj: Object) -> list[FieldError]:
        spec = obj["spec"]
        found = non_negative(spec, "spec", "minReadySeconds", "replicas")
        selector = spec.get("selector") or {}
        if not selector:
            found.append(required("spec.selector"))
        template = spec.get("template")
        if template is None:
            return [*found, required("spec.template")]
        labels = (template.get("metadata") or {}).get("labels") or {}
        if any(labels.get(k) != v for k, v in selector.items()):
            found.append(mismatch(labels, "spec.template.metadata.labels"))
        found += validate_template(template, "spec.template")
        return found + validate_endless(template, "spec.template.spec", "ReplicationController")

    def update_rules(self, new: Object, old: Object) -> list[FieldError]:
        return []

    def _selector(self, spec: Object) -> str:
        return labels_cell(spec.get("selector"))


# --- StatefulSet ------------------------------------------------------------------------------------------------

_STATEFUL_MUTABLE = (
    "replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy", "minReadySeconds",
)  # fmt: skip
_STATEFUL_IMMUTABLE = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)


class StatefulSetStrategy(Workload):
    columns = (
        NAME,
        Column("Ready", description="Number of the pod with ready state"),
        AGE,
        CONTAINERS,
        IMAGES,
    )

    def validate_name(self, name: str, prefix: bool) -> list[str]:
        """A label: the pods' host names are made of it."""
        return names.dns1123_label(names.mask_trailing_dash(name) if prefix else name)

    def validate(self, obj: Object) -> list[FieldError]:
        # Only asked of new ones: there are old ones with any name.
        service = obj["spec"].get("serviceName", "")
        problems = names.dns1123_label(service) if service else []
        return super().validate(obj) + [invalid_value("spec.serviceName", service, p) for p in problems]

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        if not spec.get("podManagementPolicy"):
            spec["podManagementPolicy"] = "OrderedReady"
        strategy = spec.setdefault("updateStrategy", {})
        if not strategy.get("type"):
            strategy["type"] = "RollingUpdate"
        if strategy["type"] == "RollingUpdate":
            strategy.setdefault("rollingUpdate", {}).setdefault("partition", 0)
        retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
        for field in ("whenDeleted", "whenScaled"):
            if not retention.get(field):
                retention[field] = "Retain"
        spec.setdefault("replicas", 1)
        spec.setdefault("revisionHistoryLimit", 10)
        for claim in spec.get("volumeClaimTemplates") or ():
            claim["apiVersion"], claim["kind"] = "v1", "PersistentVolumeClaim"
            claim.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")
            claim.setdefault("status", {}).setdefault("phase", "Pending")
        default_template(spec.setdefault("template", {}))

    def rules(self, obj: Object) -> list[FieldError]:
        spec = obj["spec"]
        found: list[FieldError] = []
        policy = spec.get("podManagementPolicy", "")
        if policy not in ("OrderedReady", "Parallel"):
            detail = "must be 'OrderedReady' or 'Parallel'"
            found.append(invalid_value("spec.podManagementPolicy", policy, detail))
        found += _stateful_update(spec["updateStrategy"])
        for field in ("whenDeleted", "whenScaled"):
            value = spec["persistentVolumeClaimRetentionPolicy"][field]
            if value not in ("Retain", "Delete"):
                where = f"spec.persistentVolumeClaimRetentionPolicy.{field}"
                found.append(not_supported(where, value, ("Retain", "Delete")))
        found += non_negative(spec, "spec", "replicas", "minReadySeconds")
        found += non_negative(spec.get("ordinals") or {}, "spec.ordinals", "start")
        found += validate_selector(spec, "spec", what="statefulset")
        return found + validate_workload_template(spec, "spec", "StatefulSet")

    def update_rules(self, new: Object, old: Object) -> list[FieldError]:
        fields = (new["spec"].keys() | old["spec"].keys()) - set(_STATEFUL_MUTABLE)
        if any(new["spec"].get(f) != old["spec"].get(f) for f in fields):
            return [forbidden_field("spec", _STATEFUL_IMMUTABLE)]
        return []

    def status_rules(self, new: Object, old: Object) -> list[FieldError]:
        status = new.get("status") or {}
        counts = ("readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas")
        found = non_negative(status, "status", "replicas", *counts, "observedGeneration", "collisionCount")
        found += no_more_than_replicas(status, *counts)
        return found + no_more_than_ready(status, "status.readyReplicas") + collisions_only_grow(new, old)

    def cells(self, obj: Object, now: float) -> list[Any]:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        return [
            obj["metadata"]["name"],
            f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
            self.age(obj, now),
            *container_cells(spec.get("template") or {}),
        ]


def _stateful_update(strategy: Object) -> list[FieldError]:
    path, kind = "spec.updateStrategy", strategy.get("type", "")
    rolling = strategy.get("rollingUpdate")
    if kind == "OnDelete":
        if rolling is None:
            return []
        pointer = "0xc000000000" if "maxUnavailable" in rolling else "nil"
        shown = Literal(
            f"apps.RollingUpdateStatefulSetStrategy{{Partition:{rolling.get('partition', 0)}, "
            f"MaxUnavailable:(*intstr.IntOrString)({pointer})}}"
        )
        return [invalid_value(f"{path}.rollingUpdate", shown, "only allowed for updateStrategy 'RollingUpdate'")]
    if kind == "RollingUpdate":
        return validate_rolling_ordinals(rolling or {}, f"{path}.rollingUpdate")
    shown = _go_strategy("StatefulSetUpdateStrategy", strategy, "RollingUpdateStatefulSetStrategy")
    return [invalid_value(path, shown, "must be 'RollingUpdate' or 'OnDelete'")]


# --- DaemonSet --------------------------------------------------------------------------------------------------


_DAEMON_COUNTS = (
    "currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady", "observedGeneration",
    "updatedNumberScheduled", "numberAvailable", "numberUnavailable", "collisionCount",
)  # fmt: skip


class DaemonSetStrategy(Workload):
    columns = (
        NAME,
        Column(
            "Desired",
            "integer",
            description="The total number of nodes that should be running the daemon pod (including nodes correctly running "
            "the daemon pod). More info: https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/",
        ),
        Column(
            "Current",
            "integer",
            description="The number of nodes that are running at least 1 daemon pod and are supposed to run the daemon pod. "
            "More info: https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/",
        ),
        Column(
            "Ready",
            "integer",
            description="numberReady is the number of nodes that should be running the daemon pod and have one or more of the "
            "daemon pod running with a Ready Condition.",
        ),
        Column("Up-to-date", "integer", description="The total number of nodes that are running updated daemon pod"),
        Column(
            "Available",
            "integer",
            description="The number of nodes that should be running the daemon pod and have one or more of the daemon pod "
            "running and available (ready for at least spec.minReadySeconds)",
        ),
        Column(
            "Node Selector",
            description="NodeSelector is a selector which must be true for the pod to fit on a node. Selector which must match "
            "a node's labels for the pod to be scheduled on that node. More info: "
            "https://kubernetes.io/docs/concepts/configuration/assign-pod-node/",
        ),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    )

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        strategy = spec.setdefault("updateStrategy", {})
        if not strategy.get("type"):
            strategy["type"] = "RollingUpdate"
        if strategy["type"] == "RollingUpdate":
            rolling = strategy.setdefault("rollingUpdate", {})
            rolling.setdefault("maxUnavailable", 1)
            rolling.setdefault("maxSurge", 0)
        spec.setdefault("revisionHistoryLimit", 10)
        default_template(spec.setdefault("template", {}))

    def rules(self, obj: Object) -> list[FieldError]:
        spec = obj["spec"]
        # A missing selector is only told by what it does not match.
        found = validate_selector(spec, "spec", what="daemonset") if "selector" in spec else []
        found += validate_workload_template(spec, "spec", "DaemonSet")
        found += non_negative(spec, "spec", "minReadySeconds")
        found += _daemon_update(spec["updateStrategy"])
        return found + non_negative(spec, "spec", "revisionHistoryLimit")

    def update_rules(self, new: Object, old: Object) -> list[FieldError]:
        return selector_is_immutable(new, old)

    def status_rules(self, new: Object, old: Object) -> list[FieldError]:
        return non_negative(new.get("status") or {}, "status", *_DAEMON_COUNTS) + collisions_only_grow(new, old)

    def cells(self, obj: Object, now: float) -> list[Any]:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        template = spec.get("template") or {}
        counts = (
            "desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled", "numberAvailable",
        )  # fmt: skip
        return [
            obj["metadata"]["name"],
            *(status.get(c, 0) for c in counts),
            labels_cell((template.get("spec") or {}).get("nodeSelector")),
            self.age(obj, now),
            *container_cells(template),
            selector_cell(spec.get("selector")),
        ]


def _daemon_update(strategy: Object) -> list[FieldError]:
    path, kind = "spec.updateStrategy", strategy.get("type", "")
    if kind == "OnDelete":
        return []
    if kind != "RollingUpdate":
        shown = _go_strategy("DaemonSetUpdateStrategy", strategy, "RollingUpdateDaemonSet")
        return [not_supported(path, shown, ("RollingUpdate", "OnDelete"))]
    if "rollingUpdate" not in strategy:
        return [required(f"{path}.rollingUpdate")]
    return validate_rolling_daemons(strategy["rollingUpdate"], f"{path}.rollingUpdate")


# --- ControllerRevision and PodTemplate -------------------------------------------------------------------------


class ControllerRevisionStrategy(Strategy):
    columns = (
        NAME,
        Column("Controller", description="Controller of the object"),
        Column("Revision", description="Revision indicates the revision of the state represented by Data."),
        AGE,
    )

    def rules(self, obj: Object) -> list[FieldError]:
        found = [] if obj.get("data") is not None else [required("data", "data is mandatory")]
        if obj.get("revision", 0) < 0:
            found.append(invalid_value("revision", obj["revision"], NON_NEGATIVE))
        return found

    def update_rules(self, new: Object, old: Object) -> list[FieldError]:
        return [] if new.get("data") == old.get("data") else [invalid_value("data", new.get("data"), IMMUTABLE)]

    def cells(self, obj: Object, now: float) -> list[Any]:
        owner = meta.controller_of(obj)
        group = (owner or {}).get("apiVersion", "").rpartition("/")[0]
        kind = (owner or {}).get("kind", "").lower() + (f".{group}" if group else "")
        shown = f"{kind}/{owner['name']}" if owner else "<none>"
        return [obj["metadata"]["name"], shown, obj.get("revision", 0), self.age(obj, now)]


class PodTemplateStrategy(Strategy):
    has_generation = False
    columns = (
        NAME,
        Column("Containers", description="Names of each container in the template."),
        Column("Images", description="Images referenced by each container in the template."),
        Column("Pod Labels", description="The labels for the pod template."),
    )

    def default(self, obj: Object) -> None:
        default_template(obj.setdefault("template", {}))

    def rules(self, obj: Object) -> list[FieldError]:
        return validate_template(obj.get("template") or {}, "template")

    def cells(self, obj: Object, now: float) -> list[Any]:
        template = obj.get("template") or {}
        labels = (template.get("metadata") or {}).get("labels")
        return [obj["metadata"]["name"], *container_cells(template), labels_cell(labels)]
