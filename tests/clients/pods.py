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


def page_server(name: str) -> dict[str, Any]:
    """Answers /index.html with ``page`` on port 8080, and is ready when it does."""
    serve = (
        "mkdir -p /tmp/www; cd /tmp/www; echo page > index.html; echo started; "
        "if command -v python3 >/dev/null; then exec python3 -m http.server 8080; fi; "
        "exec busybox httpd -f -p 8080 -h /tmp/www"
    )
    made = pod(name, serve)
    probe = {"httpGet": {"path": "/index.html", "port": 8080}, "periodSeconds": 1}
    made["spec"]["containers"][0]["readinessProbe"] = probe
    return made


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
