"""HorizontalPodAutoscalers: stored as autoscaling/v2, served as v1 too."""

from typing import Any

import orjson

from apimachinery import names
from apimachinery.errors import FieldError, invalid_value, not_supported, required
from apimachinery.table import Column
from apiserver.registry.strategy import AGE, NAME, Object, Strategy

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
        target = spec.get("scaleTargetRef") or {}
        for field in ("kind", "name"):
            value = target.get(field, "")
            if not value:
                found.append(required(f"spec.scaleTargetRef.{field}"))
            found += [invalid_value(f"spec.scaleTargetRef.{field}", value, p) for p in names.path_segment_name(value)]
        for i, metric in enumerate(spec.get("metrics") or ()):
            found += _metric(metric, f"spec.metrics[{i}]")
        return found

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


def _metric(metric: Object, path: str) -> list[FieldError]:
    kind = metric.get("type", "")
    if not kind:
        return [required(f"{path}.type", "must specify a metric source type")]
    if kind not in _SOURCES:
        return [not_supported(f"{path}.type", kind, sorted(_SOURCES))]
    source = metric.get(_SOURCES[kind])
    if source is None:
        detail = "must populate information for the given metric source"
        return [required(f"{path}.{_SOURCES[kind]}", detail)]
    target = source.get("target") or {}
    where = f"{path}.{_SOURCES[kind]}.target"
    if target.get("type") not in ("Utilization", "Value", "AverageValue"):
        detail = "must be either Utilization, Value, or AverageValue"
        return [invalid_value(f"{where}.type", target.get("type", ""), detail)]
    return []


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
    status.pop("currentCPUUtilizationPercentage", None)
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
