"""What the tests of the clients run."""

from typing import Any


def pod(name: str, command: str = "sleep 600", **labels: str) -> dict[str, Any]:
    container = {
        "name": "main",
        "image": "mk8s.local/host",
        "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/sh", "-c", command],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name, **labels}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
    }


def deployment(name: str, replicas: int = 1) -> dict[str, Any]:
    template = pod(name)
    del template["metadata"]["name"]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": template["metadata"], "spec": template["spec"]},
        },
    }
