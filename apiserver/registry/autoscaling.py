"""HorizontalPodAutoscalers: stored as autoscaling/v2, served as v1 too."""

from typing import Any

import orjson

from apimachinery import names, quantity
from apimachinery.errors import FieldError, forbidden_field, invalid_value, not_supported, required
from apimachinery.table import Column
from apiserver.registry.strategy import AGE, NAME, Object, Strategy
from apiserver.registry.templated import non_negative

_V1, _V2 = "autoscaling/v1", "autoscaling/v2"
_ANNOTATIONS = {
    "metrics": "autoscaling.alpha.kubernetes.io/metrics",
    "behavior": "autoscaling.alpha.kubernetes.io/behavior",
    "conditions": "autoscaling.alpha.kubernetes.io/conditions",
    "currentMetrics": "autoscaling.alpha.kubernetes.io/current-metrics",
}
_SOURCES = {
    "Resource": "resource",
    "Pods": "pods",
    "Object": "object",
    "External": "external",
    "ContainerResource": "containerResource",
}
_DEFAULT_UTILIZATION = 80
_SELECTIONS = ("Disabled", "Max", "Min")
_LONGEST_WINDOW, _LONGEST_PERIOD = 3600, 1800


class AutoscalerStrategy(Strategy):
    has_status = True
    columns = (
        NAME,
        Column("Reference", description="scaleTargetRef points to the target resource to scale."),
        Column("Targets", description="metrics contains the specifications for which to use to calculate the desired replica count."),
        Column("MinPods", description="minReplicas is the lower limit for the number of replicas to which the autoscaler can scale "
               "down."),
        Column("MaxPods", description="maxReplicas is the upper limit for the number of replicas to which the autoscaler can scale "
               "up."),
        Column("Replicas", description="currentReplicas is current number of replicas of pods managed by this autoscaler."),
        AGE,
    )  # fmt: skip

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        spec.setdefault("minReplicas", 1)
        if obj.get("apiVersion") == _V1:
            return
        if not spec.get("metrics"):
            target = {"type": "Utilization", "averageUtilization": _DEFAULT_UTILIZATION}
            spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
        if behavior := spec.get("behavior"):
            _default_behavior(behavior)

    def rules(self, obj: Object) -> list[FieldError]:
        spec = obj["spec"]
        minimum, maximum = spec.get("minReplicas", 1), spec.get("maxReplicas", 0)
        found: list[FieldError] = []
        if minimum < 1:
            found.append(invalid_value("spec.minReplicas", minimum, "must be greater than or equal to 1"))
        if maximum < 1:
            found.append(invalid_value("spec.maxReplicas", maximum, "must be greater than 0"))
        if maximum < minimum:
            found.append(invalid_value("spec.maxReplicas", maximum, "must be greater than or equal to `minReplicas`"))
        found += _reference(spec.get("scaleTargetRef") or {}, "spec.scaleTargetRef")
        for i, metric in enumerate(spec.get("metrics") or ()):
            found += _metric(metric, f"spec.metrics[{i}]")
        for direction in ("scaleUp", "scaleDown"):
            if rules := (spec.get("behavior") or {}).get(direction):
                found += _scaling_rules(rules, f"spec.behavior.{direction}")
        return found

    def status_rules(self, new: Object, old: Object) -> list[FieldError]:
        return non_negative(new.get("status") or {}, "status", "currentReplicas", "desiredReplicas")

    def cells(self, obj: Object, now: float) -> list[Any]:
        hpa = to_v2(obj)
        spec, status = hpa.get("spec") or {}, hpa.get("status") or {}
        target = spec.get("scaleTargetRef") or {}
        return [
            obj["metadata"]["name"],
            f"{target.get('kind', '')}/{target.get('name', '')}",
            _targets(spec.get("metrics") or [], status.get("currentMetrics") or []),
            str(spec["minReplicas"]) if "minReplicas" in spec else "<unset>",
            spec.get("maxReplicas", 0),
            status.get("currentReplicas", 0),
            self.age(obj, now),
        ]


def _default_behavior(behavior: Object) -> None:
    up = behavior.setdefault("scaleUp", {})
    up.setdefault("stabilizationWindowSeconds", 0)
    if not up.get("policies"):
        up["policies"] = [
            {"type": "Pods", "value": 4, "periodSeconds": 15},
            {"type": "Percent", "value": 100, "periodSeconds": 15},
        ]
    down = behavior.setdefault("scaleDown", {})
    if not down.get("policies"):
        down["policies"] = [{"type": "Percent", "value": 100, "periodSeconds": 15}]
    for rules in (up, down):
        rules.setdefault("selectPolicy", "Max")


def _reference(target: Object, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for field in ("kind", "name"):
        value = target.get(field, "")
        if not value:
            found.append(required(f"{path}.{field}"))
        found += [invalid_value(f"{path}.{field}", value, p) for p in names.path_segment_name(value)]
    return found


def _scaling_rules(rules: Object, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    window, select = rules.get("stabilizationWindowSeconds"), rules.get("selectPolicy")
    where = f"{path}.stabilizationWindowSeconds"
    if window is not None and window < 0:
        found.append(invalid_value(where, window, "must be greater than or equal to zero"))
    if window is not None and window > _LONGEST_WINDOW:
        found.append(invalid_value(where, window, f"must be less than or equal to {_LONGEST_WINDOW}"))
    if select is not None and select not in _SELECTIONS:
        found.append(not_supported(f"{path}.selectPolicy", select, _SELECTIONS))
    if not rules.get("policies"):
        found.append(required(f"{path}.policies", "must specify at least one Policy"))
    for i, policy in enumerate(rules.get("policies") or ()):
        where = f"{path}.policies[{i}]"
        if policy.get("type") not in ("Percent", "Pods"):
            found.append(not_supported(f"{where}.type", policy.get("type", ""), ("Percent", "Pods")))
        for field in ("value", "periodSeconds"):
            if policy.get(field, 0) <= 0:
                found.append(invalid_value(f"{where}.{field}", policy.get(field, 0), "must be greater than zero"))
        period = policy.get("periodSeconds", 0)
        if period > _LONGEST_PERIOD:
            detail = f"must be less than or equal to {_LONGEST_PERIOD}"
            found.append(invalid_value(f"{where}.periodSeconds", period, detail))
    return found


def _metric(metric: Object, path: str) -> list[FieldError]:
    kind, found = metric.get("type", ""), list[FieldError]()
    if not kind:
        found.append(required(f"{path}.type", "must specify a metric source type"))
    if kind not in _SOURCES:
        found.append(not_supported(f"{path}.type", kind, sorted(_SOURCES)))
    given = [f for f in ("object", "external", "pods", "resource", "containerResource") if f in metric]
    if given:
        found += _source(given[0], metric[given[0]], f"{path}.{given[0]}")
    expected = _SOURCES.get(kind)
    if expected and expected not in given:
        found.append(required(f"{path}.{expected}", "must populate information for the given metric source"))
    if expected is None:
        found.append(not_supported(f"{path}.type", kind, sorted(_SOURCES)))
    if len(given) != 1:
        detail = "must populate the given metric source only"
        found += [forbidden_field(f"{path}.{f}", detail) for f in given if f != expected]
    return found


def _source(kind: str, source: Object, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    target, where = source.get("target") or {}, f"{path}.target"
    if kind == "object":
        found += _reference(source.get("describedObject") or {}, f"{path}.describedObject")
    if kind in ("resource", "containerResource"):
        if not source.get("name"):
            found.append(required(f"{path}.name", "must specify a resource name"))
        if kind == "containerResource" and not source.get("container"):
            found.append(required(f"{path}.container", "must specify a container"))
    else:
        name = (source.get("metric") or {}).get("name", "")
        if not name:
            found.append(required(f"{path}.metric.name", "must specify a metric name"))
        found += [invalid_value(f"{path}.metric.name", name, p) for p in names.path_segment_name(name)]
    found += _target_amounts(target, where)
    single, average, share = (f in target for f in ("value", "averageValue", "averageUtilization"))
    if kind == "object" and not single and not average:
        found.append(required(f"{where}.averageValue", "must set either a target value or averageValue"))
    elif kind == "external":
        detail = "a target value for metric {} a per-pod target"
        if not single and not average:
            found.append(required(f"{where}.averageValue", "must set either " + detail.format("or")))
        if single and average:
            found.append(forbidden_field(f"{where}.value", "may not set both " + detail.format("and")))
    elif kind == "pods" and (not average or quantity.parse(target["averageValue"]).sign <= 0):
        found.append(required(f"{where}.averageValue", "must specify a positive target averageValue"))
    elif kind in ("resource", "containerResource"):
        if not share and not average:
            detail = "must set either a target raw value or a target utilization"
            found.append(required(f"{where}.averageUtilization", detail))
        if share and average:
            detail = "may not set both a target raw value and a target utilization"
            found.append(forbidden_field(f"{where}.averageValue", detail))
    return found


def _target_amounts(target: Object, path: str) -> list[FieldError]:
    kind, found = target.get("type", ""), list[FieldError]()
    if not kind:
        found.append(required(f"{path}.type", "must specify a metric target type"))
    if kind not in ("Utilization", "Value", "AverageValue"):
        found.append(invalid_value(f"{path}.type", kind, "must be either Utilization, Value, or AverageValue"))
    for field in ("value", "averageValue"):
        if field in target and quantity.parse(target[field]).sign <= 0:
            found.append(invalid_value(f"{path}.{field}", target[field], "must be positive"))
    if target.get("averageUtilization", 1) < 1:
        detail = "must be greater than 0"
        found.append(invalid_value(f"{path}.averageUtilization", target["averageUtilization"], detail))
    return found


def _targets(metrics: list[Object], current: list[Object]) -> str:
    if not metrics:
        return "<none>"
    shown = [_target(m, current[i] if i < len(current) else {}) for i, m in enumerate(metrics)]
    text = ", ".join(shown[:2])
    return f"{text} + {len(shown) - 2} more..." if len(shown) > 2 else text


def _target(metric: Object, current: Object) -> str:
    field = _SOURCES.get(metric.get("type", ""))
    if field is None:
        return "<unknown type>"
    source = metric.get(field) or {}
    target, now = source.get("target") or {}, (current.get(field) or {}).get("current") or {}
    named = f"{source.get('name', '')}: " if metric["type"] in ("Resource", "ContainerResource") else ""
    if "averageUtilization" in target:
        used = f"{now['averageUtilization']}%" if "averageUtilization" in now else "<unknown>"
        return f"{named}{used}/{target['averageUtilization']}%"
    if "averageValue" in target:
        average = " (avg)" if metric["type"] in ("Object", "External") else ""
        return f"{named}{now.get('averageValue', '<unknown>')}/{target['averageValue']}{average}"
    return f"{named}{now.get('value', '<unknown>')}/{target.get('value', '<auto>')}"


# --- the two forms ----------------------------------------------------------------------------------------------


def _is_cpu(metric: Object) -> bool:
    """The one metric that v1 has a field for."""
    resource = metric.get("resource") or {}
    return resource.get("name") == "cpu" and "averageUtilization" in (resource.get("target") or {})


def to_v1(hpa: Object) -> Object:
    """What v1 has no field for goes into annotations, as upstream does, so that nothing is lost on the way back."""
    if hpa.get("apiVersion") == _V1:
        return hpa
    spec, status = dict(hpa.get("spec") or {}), dict(hpa.get("status") or {})
    annotations = dict(hpa["metadata"].get("annotations") or {})
    metrics = spec.pop("metrics", None) or []
    cpu = next((m for m in metrics if _is_cpu(m)), None)
    others = [m for m in metrics if m is not cpu]
    if cpu is not None:
        spec["targetCPUUtilizationPercentage"] = cpu["resource"]["target"]["averageUtilization"]
    kept = {"metrics": others, "behavior": spec.pop("behavior", None)}
    kept["conditions"] = status.pop("conditions", None)
    kept["currentMetrics"] = status.pop("currentMetrics", None)
    for metric in kept["currentMetrics"] or ():
        utilization = ((metric.get("resource") or {}).get("current") or {}).get("averageUtilization")
        if utilization is not None and metric["resource"].get("name") == "cpu":
            status["currentCPUUtilizationPercentage"] = utilization
    for field, value in kept.items():
        if value:
            annotations[_ANNOTATIONS[field]] = orjson.dumps(value).decode()
    return {**hpa, "apiVersion": _V1, "metadata": _annotated(hpa, annotations), "spec": spec, "status": status}


def to_v2(hpa: Object) -> Object:
    if hpa.get("apiVersion") != _V1:
        return hpa
    spec, status = dict(hpa.get("spec") or {}), dict(hpa.get("status") or {})
    annotations = dict(hpa["metadata"].get("annotations") or {})
    kept = {field: _restore(annotations.pop(key, None)) for field, key in _ANNOTATIONS.items()}
    percent = spec.pop("targetCPUUtilizationPercentage", None)
    used = status.pop("currentCPUUtilizationPercentage", None)
    if used is not None:
        current = {"averageUtilization": used}
        status["currentMetrics"] = [{"type": "Resource", "resource": {"name": "cpu", "current": current}}]
    metrics = kept["metrics"] if isinstance(kept["metrics"], list) else []
    if percent is not None:
        target = {"type": "Utilization", "averageUtilization": percent}
        metrics = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}, *metrics]
    if metrics:
        spec["metrics"] = metrics
    if isinstance(kept["behavior"], dict):
        spec["behavior"] = kept["behavior"]
    for field in ("conditions", "currentMetrics"):
        if isinstance(kept[field], list):
            status[field] = kept[field]
    status.setdefault("currentMetrics", [])
    return {**hpa, "apiVersion": _V2, "metadata": _annotated(hpa, annotations), "spec": spec, "status": status}


def _restore(text: str | None) -> Any:
    """An annotation that somebody wrote by hand may be anything; what is no JSON was not ours."""
    if text is None:
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _annotated(hpa: Object, annotations: dict[str, str]) -> Object:
    metadata = {k: v for k, v in hpa["metadata"].items() if k != "annotations"}
    return {**metadata, "annotations": annotations} if annotations else metadata
