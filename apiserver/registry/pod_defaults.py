"""Defaults of pods and pod templates (upstream's ``pkg/apis/core/v1/defaults.go``).

Whatever is filled in here is stored, so it must be exactly what upstream fills in: otherwise a second ``kubectl apply`` of
one manifest reports a change and a controller that compares templates starts a rollout.
"""

from collections.abc import Iterator
from typing import Any

from apimachinery import quantity

Object = dict[str, Any]

_FILE_MODE = 0o644
_CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")


def containers_of(spec: Object) -> Iterator[Object]:
    """Every container of a pod spec, of any kind."""
    for field in _CONTAINER_LISTS:
        yield from spec.get(field) or ()


def default_template(template: Object) -> None:
    """A ``PodTemplateSpec`` inside a workload."""
    default_pod_spec(template.setdefault("spec", {}))


def default_pod(pod: Object) -> None:
    """A pod gets a few defaults more than a template: they would make all templates change."""
    spec = pod.setdefault("spec", {})
    default_pod_spec(spec)
    for field in ("containers", "initContainers"):
        for container in spec.get(field) or ():
            resources = container.get("resources") or {}
            if limits := resources.get("limits"):
                resources["requests"] = {**limits, **(resources.get("requests") or {})}
            if spec.get("hostNetwork"):
                for port in container.get("ports") or ():
                    port.setdefault("hostPort", port.get("containerPort", 0))
    spec.setdefault("enableServiceLinks", True)


def default_pod_spec(spec: Object) -> None:
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("securityContext", {})
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("schedulerName", "default-scheduler")
    # Two names of one field; both are written, whichever was given.
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for volume in spec.get("volumes") or ():
        _default_volume(volume)
    for container in containers_of(spec):
        _default_container(container)
    if overhead := spec.get("overhead"):
        round_resources(overhead)


def _default_container(container: Object) -> None:
    if not container.get("imagePullPolicy"):
        container["imagePullPolicy"] = _pull_policy(container.get("image", ""))
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    for port in container.get("ports") or ():
        port.setdefault("protocol", "TCP")
    for variable in container.get("env") or ():
        field = (variable.get("valueFrom") or {}).get("fieldRef")
        if field is not None:
            field.setdefault("apiVersion", "v1")
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if name in container:
            _default_probe(container[name])
    for handler in (container.get("lifecycle") or {}).values():
        if isinstance(handler, dict) and "httpGet" in handler:
            _default_http_get(handler["httpGet"])
    resources = container.setdefault("resources", {})
    for field in ("limits", "requests"):
        if amounts := resources.get(field):
            round_resources(amounts)


def _default_probe(probe: Object) -> None:
    for field, value in (
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ):
        probe.setdefault(field, value)
    if "httpGet" in probe:
        _default_http_get(probe["httpGet"])
    if "grpc" in probe:
        probe["grpc"].setdefault("service", "")


def _default_http_get(action: Object) -> None:
    if not action.get("path"):
        action["path"] = "/"
    action.setdefault("scheme", "HTTP")


def _pull_policy(image: str) -> str:
    """``latest``, named or implied, may have changed since it was pulled."""
    if "@" in image:
        return "IfNotPresent"
    _, colon, tag = image.rpartition("/")[2].partition(":")
    return "Always" if not colon or tag == "latest" else "IfNotPresent"


_DEFAULT_MODE = ("secret", "configMap", "downwardAPI", "projected")


def _default_volume(volume: Object) -> None:
    if len(volume) == 1 and "name" in volume:
        volume["emptyDir"] = {}
    for source in _DEFAULT_MODE:
        if source in volume:
            volume[source].setdefault("defaultMode", _FILE_MODE)
    if "hostPath" in volume:
        volume["hostPath"].setdefault("type", "")
    if "projected" in volume:
        for projection in volume["projected"].get("sources") or ():
            if "serviceAccountToken" in projection:
                projection["serviceAccountToken"].setdefault("expirationSeconds", 3600)
            _default_items(projection.get("downwardAPI"))
    _default_items(volume.get("downwardAPI"))
    _default_remote(volume)
    template = (volume.get("ephemeral") or {}).get("volumeClaimTemplate")
    if template is not None:
        template.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")
    if "image" in volume and not volume["image"].get("pullPolicy"):
        volume["image"]["pullPolicy"] = _pull_policy(volume["image"].get("reference", ""))


def _default_items(source: Object | None) -> None:
    for item in (source or {}).get("items") or ():
        if "fieldRef" in item:
            item["fieldRef"].setdefault("apiVersion", "v1")


def _default_remote(volume: Object) -> None:
    """Volume plugins that upstream still serves."""
    if "iscsi" in volume:
        volume["iscsi"].setdefault("iscsiInterface", "default")
    if "rbd" in volume:
        for field, value in (("pool", "rbd"), ("user", "admin"), ("keyring", "/etc/ceph/keyring")):
            volume["rbd"].setdefault(field, value)
    if "azureDisk" in volume:
        volume["azureDisk"].setdefault("readOnly", False)
        for field, value in (("cachingMode", "ReadWrite"), ("fsType", "ext4"), ("kind", "Shared")):
            volume["azureDisk"].setdefault(field, value)
    if "scaleIO" in volume:
        for field, value in (("storageMode", "ThinProvisioned"), ("fsType", "xfs")):
            volume["scaleIO"].setdefault(field, value)


def round_resources(amounts: Object) -> None:
    """Nothing finer than a thousandth is kept."""
    for name, amount in amounts.items():
        if isinstance(amount, str) and amount.endswith(("u", "n")):
            parsed = quantity.parse(amount)
            amounts[name] = str(quantity.Quantity(parsed.milli_value, -3, parsed.format))
