"""Real kubectl, oldest and newest that we promise, against a real server: the commands of a first hour."""

import json

import pytest

from tests.apiserver.conftest import Kubectl
from tests.apiserver.manifests import config_map, deployment, service

pytestmark = pytest.mark.binary("kubectl")
KINDS = ("pods", "services", "endpoints", "configmaps", "secrets", "serviceaccounts", "events", "deployments", "replicasets",
         "leases.coordination.k8s.io", "endpointslices.discovery.k8s.io")  # fmt: skip


@pytest.fixture
def space(kubectl: Kubectl, request: pytest.FixtureRequest) -> str:
    """A namespace that kubectl itself made."""
    import uuid

    name = f"k-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    return name


def items(text: str) -> list[dict]:
    return json.loads(text)["items"]


def test_apply_twice_changes_nothing_the_second_time(kubectl: Kubectl, space: str) -> None:
    objects = [config_map("settings", GREETING="hello"), deployment("web"), service("web")]
    manifest = {"apiVersion": "v1", "kind": "List", "items": objects}
    first = kubectl("-n", space, "apply", "-f", "-", stdin=manifest)
    assert first.splitlines() == ["configmap/settings created", "deployment.apps/web created", "service/web created"]
    second = kubectl("-n", space, "apply", "-f", "-", stdin=manifest)
    assert second.splitlines() == [
        "configmap/settings unchanged",
        "deployment.apps/web unchanged",
        "service/web unchanged",
    ]
    assert kubectl("-n", space, "diff", "-f", "-", stdin=manifest) == ""
    objects[0]["data"] = {"GREETING": "bye"}
    assert "configmap/settings configured" in kubectl("-n", space, "apply", "-f", "-", stdin=manifest)


def test_changes_by_every_verb(kubectl: Kubectl, space: str) -> None:
    def k(*args: str) -> str:
        return kubectl("-n", space, *args)

    kubectl("-n", space, "create", "-f", "-", stdin=deployment("web"))
    assert k("label", "deployment", "web", "tier=front") == "deployment.apps/web labeled\n"
    assert k("annotate", "deployment", "web", "note=x").startswith("deployment.apps/web annotate")
    assert k("patch", "deployment", "web", "-p", '{"spec":{"replicas":4}}') == "deployment.apps/web patched\n"
    assert k("patch", "deployment", "web", "--type=merge", "-p", '{"spec":{"replicas":5}}').endswith("patched\n")
    operation = '[{"op":"replace","path":"/spec/replicas","value":6}]'
    assert k("patch", "deployment", "web", "--type=json", "-p", operation).endswith("patched\n")
    assert k("scale", "deployment", "web", "--replicas=7") == "deployment.apps/web scaled\n"
    assert k("set", "image", "deployment/web", "c=busybox:9") == "deployment.apps/web image updated\n"
    assert k("set", "env", "deployment/web", "A=b") == "deployment.apps/web env updated\n"
    found = json.loads(k("get", "deployment", "web", "-o", "json"))
    assert found["spec"]["replicas"] == 7
    container = found["spec"]["template"]["spec"]["containers"][0]
    assert (container["image"], container["env"]) == ("busybox:9", [{"name": "A", "value": "b"}])
    found["spec"]["replicas"] = 2
    assert kubectl("-n", space, "replace", "-f", "-", stdin=found) == "deployment.apps/web replaced\n"
    assert k("get", "deployment", "web", "-o", "jsonpath={.spec.replicas}") == "2"
    assert k("expose", "deployment", "web", "--port=80") == "service/web exposed\n"
    assert k("delete", "deployment", "web") == 'deployment.apps "web" deleted\n'


def test_get_prints_what_the_server_made_of_it(kubectl: Kubectl, space: str) -> None:
    kubectl("-n", space, "create", "-f", "-", stdin=deployment("web"))
    header, row = kubectl("-n", space, "get", "deploy").splitlines()
    assert header.split() == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert row.split()[:4] == ["web", "0/3", "0", "0"]
    wide = kubectl("-n", space, "get", "deploy", "-o", "wide").splitlines()[0].split()
    assert wide[-3:] == ["CONTAINERS", "IMAGES", "SELECTOR"]
    assert kubectl("-n", space, "get", "deploy", "-o", "name") == "deployment.apps/web\n"
    labelled = kubectl("-n", space, "get", "deploy", "--show-labels", "-l", "app in (web)")
    assert "app=web" in labelled
    assert kubectl("-n", space, "get", "deploy,svc,cm", "-o", "name") == "deployment.apps/web\n"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_listed_and_explained(kubectl: Kubectl, space: str, kind: str) -> None:
    kubectl("-n", space, "get", kind)
    kubectl("get", kind, "-A", "-o", "wide")
    assert "FIELDS:" in kubectl("explain", kind)


def test_describe_tells_about_objects_and_their_events(kubectl: Kubectl, space: str) -> None:
    kubectl("-n", space, "run", "p", "--image=busybox:1")
    described = kubectl("-n", space, "describe", "pod", "p")
    for word in ("Name:", "Namespace:", "Status:", "Pending", "QoS Class:", "BestEffort", "Tolerations:"):
        assert word in described
    kubectl("-n", space, "create", "-f", "-", stdin=service("web"))
    assert "Type:" in kubectl("-n", space, "describe", "service", "web")
    kubectl("describe", "namespace", space)


def test_mistakes_are_told_clearly(kubectl: Kubectl, space: str) -> None:
    def refused(stdin: object) -> str:
        text = stdin if isinstance(stdin, str) else json.dumps(stdin)
        return kubectl("-n", space, "create", "-f", "-", stdin=text, code=1)

    bad = deployment("bad")
    bad["spec"]["replica"] = 3
    assert 'unknown field "spec.replica"' in refused(bad)
    bad = deployment("bad")
    bad["spec"]["replicas"] = "three"
    assert "json: cannot unmarshal string into Go struct field" in refused(bad)
    assert refused({**bad, "kind": "Deploymint"}).startswith("error: ")
    assert "not found" in kubectl("-n", space, "get", "pod", "none", code=1)
    assert 'namespaces "nowhere" not found' in kubectl("-n", "nowhere", "create", "configmap", "x", code=1)
    assert "is invalid" in kubectl("-n", space, "create", "configmap", "Bad_Name", code=1)


def test_apply_tells_everything_that_is_wrong_with_a_manifest(kubectl: Kubectl, space: str) -> None:
    broken = service("web")
    broken["spec"] |= {"ports": [{"port": 0}], "type": "Magic"}
    said = kubectl("-n", space, "apply", "-f", "-", stdin=json.dumps(broken), code=1)
    assert said.splitlines() == [
        'The Service "web" is invalid: ',
        "* spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
        "* spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive",
        '* spec.type: Unsupported value: "Magic": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"',
    ]


def test_deletion_waits_until_it_has_happened(kubectl: Kubectl, space: str) -> None:
    for name in ("a", "b"):
        kubectl("-n", space, "create", "configmap", name, "--from-literal=x=1")
    assert kubectl("-n", space, "delete", "configmap", "a") == 'configmap "a" deleted\n'
    kubectl("-n", space, "delete", "configmap", "--all")
    assert kubectl("-n", space, "get", "configmap", "-o", "name") == ""
    kubectl("-n", space, "run", "p", "--image=x")
    kubectl("-n", space, "delete", "pod", "p", "--timeout=10s")
    kubectl("-n", space, "delete", "pod", "p", "--ignore-not-found")


def test_wait_sees_a_condition(kubectl: Kubectl, space: str) -> None:
    kubectl("-n", space, "run", "p", "--image=x")
    status = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    kubectl("-n", space, "patch", "pod", "p", "--subresource=status", "-p", json.dumps(status))
    assert "condition met" in kubectl("-n", space, "wait", "--for=condition=Ready", "pod/p", "--timeout=5s")


def test_discovery_feeds_the_command_line(kubectl: Kubectl) -> None:
    listed = kubectl("api-resources")
    assert "deployments" in listed
    assert "deploy" in listed
    versions = kubectl("api-versions").split()
    assert {"v1", "apps/v1", "discovery.k8s.io/v1", "coordination.k8s.io/v1"} <= set(versions)
    assert "v1.33" in kubectl("version")
    assert "is running at" in kubectl("cluster-info")
    kubectl("get", "--raw", "/readyz?verbose")


def test_big_lists_come_in_chunks(kubectl: Kubectl, space: str) -> None:
    manifest = {"apiVersion": "v1", "kind": "List", "items": [config_map(f"c{i:02}") for i in range(25)]}
    kubectl("-n", space, "create", "-f", "-", stdin=manifest)
    assert len(items(kubectl("-n", space, "get", "cm", "--chunk-size=7", "-o", "json"))) == 25


def test_generators_make_objects(kubectl: Kubectl, space: str) -> None:
    def k(*args: str) -> str:
        return kubectl("-n", space, *args)

    assert k("create", "deployment", "d", "--image=x", "--replicas=2", "--port=80") == "deployment.apps/d created\n"
    assert k("create", "secret", "generic", "s", "--from-literal=a=b") == "secret/s created\n"
    assert k("create", "serviceaccount", "robot") == "serviceaccount/robot created\n"
    assert k("create", "service", "clusterip", "c", "--tcp=80:8080") == "service/c created\n"
    assert k("create", "service", "nodeport", "n", "--tcp=80:8080") == "service/n created\n"
    assert k("create", "service", "externalname", "e", "--external-name=example.com") == "service/e created\n"
    assert k("create", "token", "robot").count(".") == 2
    assert k("create", "configmap", "dry", "--dry-run=server", "-o", "name") == "configmap/dry\n"
    assert k("get", "configmap", "dry", "--ignore-not-found") == ""
