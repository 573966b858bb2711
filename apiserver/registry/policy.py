"""Who may be disturbed and who goes first: PodDisruptionBudgets, PriorityClasses, RuntimeClasses."""

from typing import Any

from apimachinery import names
from apimachinery.errors import FieldError, forbidden_field, invalid_value, not_supported
from apimachinery.selectors import validate_label_selector
from apimachinery.table import Column
from apiserver.registry.amounts import validate_resources
from apiserver.registry.conditions import validate_conditions
from apiserver.registry.objectmeta import IMMUTABLE, validate_labels
from apiserver.registry.objectmeta import validate_update as validate_metadata_update
from apiserver.registry.rolling import at_most_all, validate_int_or_percent
from apiserver.registry.scheduling_rules import validate_tolerations
from apiserver.registry.strategy import AGE, NAME, Object, Strategy
from apiserver.registry.templated import non_negative

_HIGHEST_USER_PRIORITY = 1_000_000_000
_SYSTEM_CLASSES = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}


class DisruptionBudgetStrategy(Strategy):
    has_status = True
    has_generation = True
    allow_unconditional_update = False
    columns = (
        NAME,
        Column("Min Available", description="The minimum number of pods that must be available."),
        Column("Max Unavailable", description="The maximum number of pods that may be unavailable."),
        Column(
            "Allowed Disruptions",
            "integer",
            description="Calculated number of pods that may be disrupted at this time.",
        ),
        AGE,
    )

    def rules(self, obj: Object) -> list[FieldError]:
        spec = obj.get("spec") or {}
        found: list[FieldError] = []
        if "minAvailable" in spec and "maxUnavailable" in spec:
            detail = "minAvailable and maxUnavailable cannot be both set"
            found.append(invalid_value("spec", spec, detail))
        for field in ("minAvailable", "maxUnavailable"):
            found += validate_int_or_percent(spec.get(field), f"spec.{field}")
            found += at_most_all(spec.get(field), f"spec.{field}")
        found += validate_label_selector(spec.get("selector"), "spec.selector")
        policy = spec.get("unhealthyPodEvictionPolicy")
        policies = ("AlwaysAllow", "IfHealthyBudget")
        if policy is not None and policy not in policies:
            found.append(not_supported("spec.unhealthyPodEvictionPolicy", policy, policies))
        return found

    def status_rules(self, new: Object, old: Object) -> list[FieldError]:
        status = new.get("status") or {}
        found = validate_conditions(status.get("conditions") or [], "status.conditions")
        counts = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")
        return found + non_negative(status, "status", *counts)

    def cells(self, obj: Object, now: float) -> list[Any]:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        return [
            obj["metadata"]["name"],
            str(spec.get("minAvailable", "N/A")),
            str(spec.get("maxUnavailable", "N/A")),
            status.get("disruptionsAllowed", 0),
            self.age(obj, now),
        ]


class PriorityClassStrategy(Strategy):
    columns = (
        NAME,
        Column("Value", "integer", description="value represents the integer value of this priority class."),
        Column("Global-Default", "boolean", description="globalDefault specifies whether this PriorityClass should be considered as "
               "the default priority for pods that do not have any priority class."),
        AGE,
        Column("PreemptionPolicy", description="preemptionPolicy is the Policy for preempting pods with lower priority."),
    )  # fmt: skip

    def default(self, obj: Object) -> None:
        obj.setdefault("preemptionPolicy", "PreemptLowerPriority")

    def prepare_for_create(self, obj: Object) -> None:
        obj["metadata"]["generation"] = 1

    def rules(self, obj: Object) -> list[FieldError]:
        name, value = obj["metadata"].get("name", ""), obj.get("value", 0)
        found: list[FieldError] = []
        if name.startswith("system-"):
            if problem := _system_class_problem(obj, name, value):
                detail = "priority class names with 'system-' prefix are reserved for system use only. error: "
                found.append(forbidden_field("metadata.name", detail + problem))
        elif value > _HIGHEST_USER_PRIORITY:
            detail = f"maximum allowed value of a user defined priority is {_HIGHEST_USER_PRIORITY}"
            found.append(forbidden_field("value", detail))
        policies = ("PreemptLowerPriority", "Never")
        if obj.get("preemptionPolicy") not in policies:
            found.append(not_supported("preemptionPolicy", obj.get("preemptionPolicy"), policies))
        return found

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        # What cannot change need not be looked at again.
        found = validate_metadata_update(new["metadata"], old["metadata"])
        if new.get("value", 0) != old.get("value", 0):
            found.append(forbidden_field("value", "may not be changed in an update."))
        if new.get("preemptionPolicy") != old.get("preemptionPolicy"):
            found.append(invalid_value("preemptionPolicy", new.get("preemptionPolicy"), IMMUTABLE))
        return found

    def cells(self, obj: Object, now: float) -> list[Any]:
        return [
            obj["metadata"]["name"],
            obj.get("value", 0),
            bool(obj.get("globalDefault")),
            self.age(obj, now),
            obj.get("preemptionPolicy", ""),
        ]


def _system_class_problem(obj: Object, name: str, value: int) -> str:
    if name not in _SYSTEM_CLASSES:
        return f"{name} is not a known system priority class"
    if value != _SYSTEM_CLASSES[name]:
        return f"value of {name} PriorityClass must be {_SYSTEM_CLASSES[name]}"
    return f"globalDefault of {name} PriorityClass must be false" if obj.get("globalDefault") else ""


class RuntimeClassStrategy(Strategy):
    allow_unconditional_update = False
    columns = (
        NAME,
        Column("Handler", description="handler specifies the underlying runtime and configuration that the CRI implementation will "
               "use to handle pods of this class."),
        AGE,
    )  # fmt: skip

    def rules(self, obj: Object) -> list[FieldError]:
        handler, scheduling = obj.get("handler", ""), obj.get("scheduling") or {}
        found = [invalid_value("handler", handler, p) for p in names.dns1123_label(handler)]
        found += validate_resources({"limits": (obj.get("overhead") or {}).get("podFixed") or {}}, "overhead")
        found += validate_labels(scheduling.get("nodeSelector") or {}, "scheduling.nodeSelector")
        return found + validate_tolerations(scheduling.get("tolerations") or [], "scheduling.tolerations")

    def validate_update(self, new: Object, old: Object) -> list[FieldError]:
        found = validate_metadata_update(new["metadata"], old["metadata"])
        same = new.get("handler") == old.get("handler")
        return found if same else [*found, invalid_value("handler", new.get("handler"), IMMUTABLE)]

    def cells(self, obj: Object, now: float) -> list[Any]:
        return [obj["metadata"]["name"], obj.get("handler", ""), self.age(obj, now)]
