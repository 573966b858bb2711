"""The official Python client: typed, dynamic, watches, streams, ``create_from_yaml``."""

import datetime
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import kubernetes
import pytest
import yaml
from kubernetes import client, dynamic, utils, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import portforward, stream

from tests.clients.pods import deployment, page_server, pod

pytestmark = [pytest.mark.cluster, pytest.mark.root, pytest.mark.binary("kubectl")]


@pytest.fixture
def api(kubeconfig: str) -> Iterator[client.ApiClient]:
    with kubernetes.config.new_client_from_config(kubeconfig) as made:
        yield made


def running(core: client.CoreV1Api, namespace: str, name: str) -> client.V1Pod:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = core.read_namespaced_pod(name, namespace)
        if found.status.phase == "Running" and found.status.container_statuses[0].ready:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{name} does not run: {found.status}")


def test_typed_objects_go_there_and_back(api: client.ApiClient, namespace: str) -> None:
    core = client.CoreV1Api(api)
    meta = client.V1ObjectMeta(name="settings", labels={"tier": "a"})
    made = core.create_namespaced_config_map(namespace, client.V1ConfigMap(metadata=meta, data={"a": "1"}))
    assert made.metadata.resource_version
    assert isinstance(made.metadata.creation_timestamp, datetime.datetime)

    made.data["b"] = "2"
    replaced = core.replace_namespaced_config_map("settings", namespace, made)
    assert replaced.data == {"a": "1", "b": "2"}
    with pytest.raises(ApiException) as stale:
        core.replace_namespaced_config_map("settings", namespace, made)
    assert stale.value.status == 409

    patched = core.patch_namespaced_config_map("settings", namespace, {"data": {"a": None}})
    assert patched.data == {"b": "2"}
    with pytest.raises(ApiException) as missing:
        core.read_namespaced_config_map("nothing", namespace)
    assert (missing.value.status, missing.value.reason) == (404, "Not Found")

    assert core.list_namespaced_config_map(namespace, label_selector="tier=a").items[0].data == {"b": "2"}
    assert core.delete_namespaced_config_map("settings", namespace)["status"] == "Success"


def test_every_kind_of_patch(api: client.ApiClient, namespace: str) -> None:
    apps = client.AppsV1Api(api)
    apps.create_namespaced_deployment(namespace, deployment("web", replicas=0))

    strategic = {
        "spec": {"template": {"spec": {"containers": [{"name": "main", "env": [{"name": "A", "value": "1"}]}]}}}
    }
    patched = apps.patch_namespaced_deployment(
        "web", namespace, strategic, _content_type="application/strategic-merge-patch+json"
    )
    assert patched.spec.template.spec.containers[0].image == "mk8s.local/host"
    assert patched.spec.template.spec.containers[0].env[0].value == "1"

    pointed = [{"op": "replace", "path": "/spec/template/spec/containers/0/env/0/value", "value": "2"}]
    patched = apps.patch_namespaced_deployment("web", namespace, pointed, _content_type="application/json-patch+json")
    assert patched.spec.template.spec.containers[0].env[0].value == "2"

    merged = {"metadata": {"annotations": {"note": "merged"}}}
    patched = apps.patch_namespaced_deployment("web", namespace, merged, _content_type="application/merge-patch+json")
    assert patched.metadata.annotations["note"] == "merged"

    applied = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": {"by": "apply"}}}
    patched = apps.patch_namespaced_deployment(
        "web", namespace, applied, field_manager="tests", _content_type="application/apply-patch+yaml"
    )
    assert patched.metadata.labels["by"] == "apply"
    owners = {entry.manager: entry.operation for entry in patched.metadata.managed_fields}
    assert owners["tests"] == "Apply"


def test_lists_come_in_chunks(api: client.ApiClient, namespace: str) -> None:
    core = client.CoreV1Api(api)
    for number in range(5):
        core.create_namespaced_secret(namespace, {"metadata": {"name": f"s{number}"}, "stringData": {"k": "v"}})
    first = core.list_namespaced_secret(namespace, limit=2)
    assert (len(first.items), first.metadata.remaining_item_count) == (2, 3)
    second = core.list_namespaced_secret(namespace, limit=10, _continue=first.metadata._continue)
    assert [s.metadata.name for s in first.items + second.items] == [f"s{n}" for n in range(5)]


def test_a_watch_tells_what_happens(api: client.ApiClient, namespace: str) -> None:
    core = client.CoreV1Api(api)
    begin = core.list_namespaced_config_map(namespace).metadata.resource_version
    core.create_namespaced_config_map(namespace, {"metadata": {"name": "seen"}, "data": {"v": "1"}})
    core.patch_namespaced_config_map("seen", namespace, {"data": {"v": "2"}})
    core.delete_namespaced_config_map("seen", namespace)
    events = []
    watching = watch.Watch()
    chosen = {"field_selector": "metadata.name=seen", "resource_version": begin, "timeout_seconds": 20}
    for event in watching.stream(core.list_namespaced_config_map, namespace, **chosen):
        events.append((event["type"], event["object"].data))
        if event["type"] == "DELETED":
            watching.stop()
    assert events == [("ADDED", {"v": "1"}), ("MODIFIED", {"v": "2"}), ("DELETED", {"v": "2"})]


def test_a_watch_from_a_forgotten_revision_starts_anew(api: client.ApiClient, namespace: str) -> None:
    """A client whose revision lies in the future, or is none, gets an error that it can tell from others."""
    core = client.CoreV1Api(api)
    with pytest.raises(ApiException) as error:
        core.list_namespaced_config_map(namespace, resource_version="abc")
    assert error.value.status == 400


def test_deployments_scale_and_report(api: client.ApiClient, namespace: str) -> None:
    apps, core = client.AppsV1Api(api), client.CoreV1Api(api)
    apps.create_namespaced_deployment(namespace, deployment("web"))
    scaled = apps.patch_namespaced_deployment_scale("web", namespace, {"spec": {"replicas": 2}})
    assert scaled.spec.replicas == 2
    watching = watch.Watch()
    for event in watching.stream(apps.list_namespaced_deployment, namespace, timeout_seconds=40):
        if (event["object"].status.ready_replicas or 0) == 2:
            watching.stop()
    assert apps.read_namespaced_deployment_status("web", namespace).status.ready_replicas == 2

    first = core.list_namespaced_pod(namespace, label_selector="app=web").items[0]
    eviction = client.V1Eviction(metadata=client.V1ObjectMeta(name=first.metadata.name))
    core.create_namespaced_pod_eviction(first.metadata.name, namespace, eviction)
    background = client.V1DeleteOptions(propagation_policy="Foreground")
    apps.delete_namespaced_deployment("web", namespace, body=background)
    gone = time.monotonic() + 30
    while apps.list_namespaced_deployment(namespace).items:
        assert time.monotonic() < gone, "the deployment waits for its pods for ever"
        time.sleep(0.05)
    assert not apps.list_namespaced_replica_set(namespace).items


def test_logs_commands_and_forwarded_ports(api: client.ApiClient, namespace: str) -> None:
    core = client.CoreV1Api(api)
    core.create_namespaced_pod(namespace, page_server("talks"))
    running(core, namespace, "talks")
    assert "started" in core.read_namespaced_pod_log("talks", namespace)

    said = stream(
        core.connect_get_namespaced_pod_exec, "talks", namespace,
        command=["sh", "-c", "echo out; echo err >&2; exit 3"], stdout=True, stderr=True, stdin=False, tty=False,
        _preload_content=False,
    )  # fmt: skip
    said.run_forever(timeout=20)
    assert (said.read_stdout().strip(), said.read_stderr().strip(), said.returncode) == ("out", "err", 3)

    forwarded = portforward(core.connect_get_namespaced_pod_portforward, "talks", namespace, ports="8080")
    connection, answer = forwarded.socket(8080), b""
    connection.settimeout(10)
    connection.sendall(b"GET /index.html HTTP/1.0\r\nHost: x\r\n\r\n")
    while chunk := connection.recv(4096):
        answer += chunk
    connection.close()
    assert answer.endswith(b"page\n")


def test_a_manifest_of_several_documents(api: client.ApiClient, namespace: str) -> None:
    service = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
    }  # fmt: skip
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "reader"},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
    }  # fmt: skip
    documents: list[dict[str, Any]] = [deployment("web", replicas=0), service, role]
    made = utils.create_from_yaml(api, yaml_objects=documents, namespace=namespace)
    assert [one[0].kind for one in made] == ["Deployment", "Service", "Role"]
    with pytest.raises(utils.FailToCreateError) as twice:
        utils.create_from_yaml(api, yaml_objects=[service], namespace=namespace)
    assert twice.value.api_exceptions[0].status == 409
    assert yaml.safe_load(twice.value.api_exceptions[0].body)["reason"] == "AlreadyExists"


def test_the_dynamic_client_discovers_and_applies(api: client.ApiClient, namespace: str) -> None:
    dyn = dynamic.DynamicClient(api)
    jobs = dyn.resources.get(api_version="batch/v1", kind="CronJob")
    assert (jobs.namespaced, "cj" in jobs.short_names) == (True, True)
    template = {"spec": {"template": {"spec": {**pod("x")["spec"], "restartPolicy": "Never"}}}}
    body = {
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly"},
        "spec": {"schedule": "0 3 * * *", "jobTemplate": template},
    }  # fmt: skip
    first = dyn.server_side_apply(jobs, body=body, name="nightly", namespace=namespace, field_manager="tests")
    again = dyn.server_side_apply(jobs, body=body, name="nightly", namespace=namespace, field_manager="tests")
    assert first.metadata.resourceVersion == again.metadata.resourceVersion
    with pytest.raises(dynamic.exceptions.ConflictError) as conflict:
        dyn.server_side_apply(
            jobs,
            body={**body, "spec": {"schedule": "0 4 * * *"}},
            name="nightly",
            namespace=namespace,
            field_manager="b",
        )
    assert ".spec.schedule" in str(conflict.value.body)
    assert jobs.get(name="nightly", namespace=namespace).spec.schedule == "0 3 * * *"
    assert [one.metadata.name for one in jobs.get(namespace=namespace).items] == ["nightly"]


LEADER = """
import sys, kubernetes
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock

kubernetes.config.load_kube_config(sys.argv[1])
lock = LeaseLock("leader", sys.argv[2], "me")
say = lambda: print("leads", flush=True)
config = electionconfig.Config(lock, lease_duration=3, renew_deadline=2, retry_period=1, onstarted_leading=say, onstopped_leading=None)
leaderelection.LeaderElection(config).run()
"""


def test_leaders_are_elected_on_a_lease(api: client.ApiClient, kubeconfig: str, namespace: str) -> None:
    command = [sys.executable, "-c", LEADER, kubeconfig, namespace]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as candidate:
        try:
            assert candidate.stdout is not None
            assert candidate.stdout.readline() == "leads\n"
            lease = client.CoordinationV1Api(api).read_namespaced_lease("leader", namespace)
            assert lease.spec.holder_identity == "me"
        finally:
            candidate.kill()
