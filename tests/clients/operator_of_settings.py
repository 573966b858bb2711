"""A kopf operator on built-in kinds: for every ConfigMap that asks for it, a Deployment of as many pods as it says.

`test_kopf.py` runs it as ``kopf run``. What it has seen it tells in annotations, where the test can look.
"""

from typing import Any

import kopf
import kubernetes

from tests.clients.pods import deployment

Object = dict[str, Any]
CHOSEN = {"operator": "settings"}


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    settings.persistence.finalizer = "tests.mk8s/settings"
    settings.posting.enabled = True


def apps() -> kubernetes.client.AppsV1Api:
    return kubernetes.client.AppsV1Api(kubernetes.config.new_client_from_config())


@kopf.on.create("configmaps", labels=CHOSEN)
def created(body: kopf.Body, namespace: str, name: str, patch: kopf.Patch, **_: Any) -> None:
    child = deployment(name, replicas=int(body["data"]["replicas"]))
    kopf.adopt(child)
    apps().create_namespaced_deployment(namespace, child)
    patch.metadata.annotations["tests.mk8s/made"] = name
    kopf.info(body, reason="Made", message=f"made {name}")


@kopf.on.update("configmaps", labels=CHOSEN, field="data.replicas")
def changed(old: str, new: str, namespace: str, name: str, patch: kopf.Patch, **_: Any) -> None:
    apps().patch_namespaced_deployment_scale(name, namespace, {"spec": {"replicas": int(new)}})
    patch.metadata.annotations["tests.mk8s/changed"] = f"{old} to {new}"


@kopf.on.delete("configmaps", labels=CHOSEN)
def deleted(namespace: str, name: str, **_: Any) -> None:
    """The finalizer holds the ConfigMap until this has been said where it can be read afterwards."""
    core = kubernetes.client.CoreV1Api(kubernetes.config.new_client_from_config())
    core.create_namespaced_config_map(namespace, {"metadata": {"name": f"{name}-is-gone"}})


@kopf.on.field("apps", "v1", "deployments", field="status.readyReplicas", labels={"app": "web"})
def ready(new: int | None, patch: kopf.Patch, **_: Any) -> None:
    patch.metadata.annotations["tests.mk8s/ready"] = str(new)


@kopf.on.resume("configmaps", labels=CHOSEN)
def resumed(patch: kopf.Patch, **_: Any) -> None:
    patch.metadata.annotations["tests.mk8s/resumed"] = "yes"


@kopf.timer("configmaps", interval=1.0, labels=CHOSEN)
def beat(annotations: kopf.Annotations, patch: kopf.Patch, **_: Any) -> None:
    if "tests.mk8s/beat" not in annotations:
        patch.metadata.annotations["tests.mk8s/beat"] = "yes"
