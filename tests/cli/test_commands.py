"""``mk8s`` beside the real kubectl, on one server: where both have a command they say the same."""

import json
import re
from typing import Any

import pytest

from tests.cli.conftest import POD_STATUS, Commands

pytestmark = pytest.mark.binary("kubectl")


def pod(name: str, **labels: str) -> dict[str, Any]:
    container = {
        "name": "web",
        "image": "nginx:1.27",
        "ports": [{"containerPort": 80, "name": "http"}],
        "env": [
            {"name": "MODE", "value": "prod"},
            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "KEY", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "text", "optional": True}}},
        ],
        "envFrom": [{"configMapRef": {"name": "settings"}}],
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": 80}},
        "livenessProbe": {"exec": {"command": ["true"]}},
        "volumeMounts": [
            {"name": "scratch", "mountPath": "/scratch"},
            {"name": "conf", "mountPath": "/conf", "readOnly": True},
        ],
    }
    spec = {
        "containers": [container],
        "volumes": [{"name": "scratch", "emptyDir": {}}, {"name": "conf", "configMap": {"name": "settings"}}],
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "only", "operator": "Equal", "value": "us", "effect": "NoSchedule"}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}


def node(name: str) -> dict[str, Any]:
    meta = {"name": name, "labels": {"node-role.kubernetes.io/worker": "", "kubernetes.io/hostname": name}}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": meta,
        "spec": {"podCIDR": "10.1.0.0/24", "podCIDRs": ["10.1.0.0/24"]},
    }


NODE_STATUS = {
    "capacity": {"cpu": "4", "memory": "8Gi", "pods": "110"},
    "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
    "addresses": [{"type": "InternalIP", "address": "10.0.0.2"}, {"type": "Hostname", "address": "node-1"}],
    "conditions": [
        {
            "type": "Ready",
            "status": "True",
            "reason": "KubeletReady",
            "message": "kubelet is posting ready status",
            "lastHeartbeatTime": "2026-01-02T03:04:05Z",
            "lastTransitionTime": "2026-01-02T03:04:05Z",
        }
    ],
    "nodeInfo": {
        "machineID": "m", "systemUUID": "s", "bootID": "b", "kernelVersion": "6.1", "osImage": "Debian",
        "containerRuntimeVersion": "native://0.1", "kubeletVersion": "v1.33.0", "kubeProxyVersion": "",
        "operatingSystem": "linux", "architecture": "amd64",
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def furnished(commands: Commands) -> Commands:
    """A server with one of everything that the outputs are compared for."""
    commands.mk8s("create", "configmap", "settings", "--from-literal=text=one\ntwo")
    commands.mk8s("create", "secret", "generic", "login", "--from-literal=user=me")
    commands.mk8s("create", "deployment", "web", "--image=nginx:1.27", "--replicas=3", "--port=80")
    commands.mk8s("create", "service", "nodeport", "web", "--tcp=80:8080", "--node-port=30080")
    commands.mk8s("create", "serviceaccount", "robot")
    commands.apply(node("node-1"), pod("web-0", app="web"), pod("web-1", app="web", tier="front"))
    status = json.dumps({"status": NODE_STATUS})
    commands.mk8s("patch", "node", "node-1", "--subresource=status", "-p", status)
    for name in ("web-0", "web-1"):
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name},
            "target": {"kind": "Node", "name": "node-1"},
        }
        path = f"/api/v1/namespaces/default/pods/{name}/binding"
        commands.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(binding))
        commands.mk8s("patch", "pod", name, "--subresource=status", "-p", json.dumps({"status": POD_STATUS}))
    return commands


@pytest.mark.parametrize(
    "words",
    [
        "get pods",
        "get pods -o wide",
        "get pods -A",
        "get po,svc,deploy",
        "get pods -l tier=front --show-labels",
        "get pods -L app,tier",
        "get pod web-0 web-1 --no-headers",
        "get pods -o name",
        "get deploy/web -o yaml",
        "get configmap settings -o yaml",
        "get configmap settings -o json",
        "get pods -o yaml",
        "get pods --field-selector=metadata.name=web-1",
        "get pods --sort-by=.metadata.name",
        "get pods -o custom-columns=NAME:.metadata.name,IP:.status.podIP,NONE:.spec.nothing",
        'get pods -o jsonpath={range.items[*]}{.metadata.name}{"\\n"}{end}',
        "get nodes -o wide",
        "get svc web -o wide",
        "get ns",
        "get secret login",
        "get sa",
        "get all",
        "describe pod web-0",
        "describe pods -l tier=front",
        "describe configmap settings",
        "describe secret login",
        "describe service web",
        "describe deployment web",
        "describe serviceaccount robot",
        "api-versions",
        "api-resources -o name",
    ],
)
def test_what_is_read_reads_like_kubectl(furnished: Commands, words: str) -> None:
    ours, theirs = furnished.mk8s(*words.split(" ")), furnished.kubectl(*words.split(" "))
    assert without_ages(ours) == without_ages(theirs)


def without_ages(text: str) -> str:
    """The two are asked one after the other, so an age may differ by a second (and by a digit)."""
    return re.sub(r"\b\d+s\b *", "AGE ", text)


def test_describe_node_tells_what_kubectl_tells(furnished: Commands) -> None:
    ours = furnished.mk8s("describe", "node", "node-1")
    for text in (
        "Roles:              worker",
        "PodCIDR:",
        "Non-terminated Pods:",
        "100m",
        "KubeletReady",
        "Kubelet Version:",
    ):
        assert text in ours


def test_a_second_apply_of_the_same_is_unchanged_for_both_programs(commands: Commands) -> None:
    manifest = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "twice"}, "data": {"a": "1"}})
    assert commands.mk8s("apply", "-f", "-", stdin=manifest) == "configmap/twice created\n"
    assert commands.mk8s("apply", "-f", "-", stdin=manifest) == "configmap/twice unchanged\n"
    changed = manifest.replace('"a": "1"', '"b": "2"')
    assert commands.mk8s("apply", "-f", "-", stdin=changed) == "configmap/twice configured\n"
    assert commands.mk8s("get", "cm", "twice", "-o", "jsonpath={.data}") == '{"b":"2"}'


def test_apply_merges_containers_and_deletes_what_was_dropped(commands: Commands) -> None:
    def deployment(*containers: dict[str, Any]) -> dict[str, Any]:
        template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": list(containers)}}
        spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
        return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "merge"}, "spec": spec}

    commands.apply(
        deployment({"name": "a", "image": "x", "env": [{"name": "E", "value": "1"}]}, {"name": "b", "image": "y"})
    )
    commands.apply(deployment({"name": "a", "image": "z"}))
    found = commands.mk8s(
        "get", "deploy", "merge", "-o", "jsonpath={.spec.template.spec.containers[*].name} {..image} {..env}"
    )
    assert found == "a z "


def test_scale_label_annotate_and_set_change_the_object(commands: Commands) -> None:
    commands.mk8s("create", "deployment", "tune", "--image=a:1")
    assert commands.mk8s("scale", "deployment/tune", "--replicas=4") == "deployment.apps/tune scaled\n"
    assert commands.mk8s("label", "deploy", "tune", "tier=x") == "deployment.apps/tune labeled\n"
    assert "already has a value (x)" in commands.mk8s("label", "deploy", "tune", "tier=y", ok=False)
    assert commands.mk8s("label", "deploy", "tune", "tier-") == "deployment.apps/tune unlabeled\n"
    assert commands.mk8s("annotate", "deploy", "tune", "note=two words") == "deployment.apps/tune annotated\n"
    assert commands.mk8s("set", "image", "deployment/tune", "a=b:2") == "deployment.apps/tune image updated\n"
    assert commands.mk8s("set", "env", "deployment/tune", "A=1", "B=2") == "deployment.apps/tune env updated\n"
    assert commands.mk8s("set", "env", "deployment/tune", "A-") == "deployment.apps/tune env updated\n"
    spec = json.loads(commands.kubectl("get", "deploy", "tune", "-o", "json"))["spec"]
    container = spec["template"]["spec"]["containers"][0]
    assert (spec["replicas"], container["image"], container["env"]) == (4, "b:2", [{"name": "B", "value": "2"}])


def test_a_wrong_current_size_stops_scale(commands: Commands) -> None:
    commands.mk8s("create", "deployment", "sized", "--image=a", "--replicas=2")
    said = commands.mk8s("scale", "deploy/sized", "--current-replicas=5", "--replicas=1", ok=False)
    assert "Expected replicas to be 5, was 2" in said


def test_cordon_marks_the_node(commands: Commands) -> None:
    commands.apply(node("node-c"))
    assert commands.mk8s("cordon", "node-c") == "node/node-c cordoned\n"
    assert commands.mk8s("cordon", "node-c") == "node/node-c already cordoned\n"
    assert commands.mk8s("uncordon", "node-c") == "node/node-c uncordoned\n"


def test_wait_sees_a_condition_that_is_there(furnished: Commands) -> None:
    assert furnished.mk8s("wait", "--for=condition=Ready", "pod/web-0", "--timeout=5s") == "pod/web-0 condition met\n"
    said = furnished.mk8s("wait", "--for=condition=Absent", "pod/web-0", "--timeout=200ms", ok=False)
    assert said.startswith("error: timed out waiting for the condition")


def test_delete_waits_until_the_object_is_gone(commands: Commands) -> None:
    commands.mk8s("create", "configmap", "gone")
    assert commands.mk8s("delete", "cm", "gone") == 'configmap "gone" deleted\n'
    assert commands.mk8s("delete", "cm", "gone", "--ignore-not-found") == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("get nonsense", 'error: the server doesn\'t have a resource type "nonsense"'),
        ("get pods absent", 'error: Error from server (NotFound): pods "absent" not found'),
        ("get", "error: you must specify the type of resource to get"),
        ("get pods -o nonsense", "error: unable to match a printer"),
        ("apply -f /nonexistent.yaml", 'error: the path "/nonexistent.yaml" does not exist'),
        ("delete pods", "error: resource(s) were provided, but no name was specified"),
        ("create deployment", "error: the following arguments are required"),
        ("get pods --bogus", "error: unrecognized arguments: --bogus"),
        ("rollout undo deployment/absent", 'error: Error from server (NotFound): deployments.apps "absent" not found'),
        ("nonsense", "error: unknown command 'nonsense'"),
    ],
)
def test_bad_input_is_one_error_line(commands: Commands, words: str, said: str) -> None:
    printed = commands.mk8s(*words.split(" "), ok=False)
    assert printed.startswith(said)
    assert "Traceback" not in printed


@pytest.mark.parametrize(
    "text", ["kind: [", "just text", '{"kind": "Pod"}', "{}", '{"apiVersion": "v1", "kind": "Nope", "metadata": {}}']
)
def test_bad_manifests_are_one_error_line(commands: Commands, text: str) -> None:
    printed = commands.mk8s("apply", "-f", "-", stdin=text, ok=False)
    assert printed.startswith("error: ")
    assert len(printed.splitlines()) == 1


def test_a_server_that_is_down_is_named(commands: Commands, tmp_path: Any) -> None:
    text = commands.server.kubeconfig.read_text().replace(commands.server.url, "https://127.0.0.1:1")
    (tmp_path / "config").write_text(text)
    printed = commands.mk8s("get", "pods", "--kubeconfig", str(tmp_path / "config"), ok=False)
    assert "https://127.0.0.1:1 cannot be reached" in printed
