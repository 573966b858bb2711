import base64
from typing import Any

import pytest

from kubelet.pods.environment import environment, field_value, resource_value, service_variables
from kubelet.pods.failures import CREATE_CONFIG, ContainerFailure
from tests.kubelet.making import container, pod

Object = dict[str, Any]
CONFIG = {"kind": "ConfigMap", "data": {"greeting": "hello", "a=b": "x"}}
SECRET = {"kind": "Secret", "data": {"password": base64.b64encode(b"hunter2").decode()}}


def lookup(kind: str, name: str) -> Object | None:
    return {("ConfigMap", "conf"): CONFIG, ("Secret", "sec"): SECRET}.get((kind, name))


def service(called: str, namespace: str = "default", ip: str = "10.96.0.9", **port: Any) -> Object:
    return {
        "metadata": {"name": called, "namespace": namespace},
        "spec": {"clusterIP": ip, "ports": [{"port": 80, "protocol": "TCP", **port}]},
    }


def made(of: Object, services: list[Object] | None = None, **fields: Any) -> dict[str, str]:
    return environment(
        of,
        of["spec"]["containers"][0],
        services=services or [],
        lookup=lookup,
        pod_ips=["10.0.0.5", "fd00::5"],
        host_ip="192.168.0.1",
        allocatable={"cpu": "4", "memory": "8Gi"},
        **fields,
    )


def test_values_refer_to_what_was_defined_before_them() -> None:
    env = [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)$(C)"}, {"name": "C", "value": "3"}]
    assert made(pod(container(env=env))) == {"A": "1", "B": "1$(C)", "C": "3"}


def test_keys_come_from_configmaps_and_secrets() -> None:
    env = [
        {"name": "G", "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "greeting"}}},
        {"name": "P", "valueFrom": {"secretKeyRef": {"name": "sec", "key": "password"}}},
    ]
    assert made(pod(container(env=env))) == {"G": "hello", "P": "hunter2"}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"configMapKeyRef": {"name": "conf", "key": "no"}}, "couldn't find key no in ConfigMap default/conf"),
        ({"configMapKeyRef": {"name": "none", "key": "no"}}, 'configmap "none" not found'),
        ({"secretKeyRef": {"name": "none", "key": "no"}}, 'secret "none" not found'),
    ],
)
def test_what_is_missing_is_a_configuration_error_unless_optional(source: Object, message: str) -> None:
    with pytest.raises(ContainerFailure) as raised:
        made(pod(container(env=[{"name": "X", "valueFrom": source}])))
    assert (raised.value.reason, raised.value.message) == (CREATE_CONFIG, message)
    optional = {kind: {**ref, "optional": True} for kind, ref in source.items()}
    assert made(pod(container(env=[{"name": "X", "valueFrom": optional}]))) == {}


def test_env_from_takes_whole_objects_and_env_goes_before_it() -> None:
    skipped: list[tuple[str, list[str]]] = []
    of = pod(
        container(
            envFrom=[{"prefix": "P_", "configMapRef": {"name": "conf"}}, {"secretRef": {"name": "sec"}}],
            env=[{"name": "password", "value": "$(P_greeting)"}],
        )
    )
    found = made(of, skipped=lambda source, keys: skipped.append((source, keys)))
    assert found == {"P_greeting": "hello", "password": "hello"}
    assert skipped == [("configmap/conf", ["P_a=b"])]


def test_env_from_leaves_out_what_cannot_be_a_name() -> None:
    skipped: list[tuple[str, list[str]]] = []
    of = pod(container(envFrom=[{"configMapRef": {"name": "conf"}}]))
    assert made(of, skipped=lambda source, keys: skipped.append((source, keys))) == {"greeting": "hello"}
    assert skipped == [("configmap/conf", ["a=b"])]


def test_services_give_variables_in_the_old_way() -> None:
    assert service_variables([service("my-db", port=5432, name="sql")]) == {
        "MY_DB_SERVICE_HOST": "10.96.0.9",
        "MY_DB_SERVICE_PORT": "5432",
        "MY_DB_SERVICE_PORT_SQL": "5432",
        "MY_DB_PORT": "tcp://10.96.0.9:5432",
        "MY_DB_PORT_5432_TCP": "tcp://10.96.0.9:5432",
        "MY_DB_PORT_5432_TCP_PROTO": "tcp",
        "MY_DB_PORT_5432_TCP_PORT": "5432",
        "MY_DB_PORT_5432_TCP_ADDR": "10.96.0.9",
    }


def test_headless_services_give_none() -> None:
    assert service_variables([service("a", ip="None"), service("b", ip="")]) == {}


def test_service_links_can_be_turned_off_except_for_the_api_server() -> None:
    services = [service("kubernetes", port=443), service("web"), service("other", "elsewhere")]
    assert {"KUBERNETES_SERVICE_HOST", "WEB_SERVICE_HOST"} <= made(pod(), services).keys()
    without = made(pod(enableServiceLinks=False), services)
    assert "KUBERNETES_SERVICE_HOST" in without
    assert "WEB_SERVICE_HOST" not in without
    assert "OTHER_SERVICE_HOST" not in made(pod(), services)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "web"),
        ("metadata.namespace", "default"),
        ("spec.nodeName", "n1"),
        ("status.podIP", "10.0.0.5"),
        ("status.podIPs", "10.0.0.5,fd00::5"),
        ("status.hostIP", "192.168.0.1"),
        ("metadata.labels['app']", 'a"b'),
        ("metadata.labels", 'app="a\\"b"\nz="1"'),
    ],
)
def test_fields_of_the_pod_are_values(path: str, value: str) -> None:
    of = pod()
    of["metadata"]["labels"] = {"z": "1", "app": 'a"b'}
    assert field_value(of, path, ["10.0.0.5", "fd00::5"], "192.168.0.1") == value


def test_resources_are_rounded_up_in_units_of_the_divisor() -> None:
    limited = container(resources={"limits": {"cpu": "1500m", "memory": "65Mi"}})
    of, node = pod(limited), {"cpu": "4", "memory": "8Gi"}
    assert resource_value(of, limited, {"resource": "limits.cpu"}, node) == "2"
    assert resource_value(of, limited, {"resource": "limits.cpu", "divisor": "1m"}, node) == "1500"
    assert resource_value(of, limited, {"resource": "limits.memory", "divisor": "1Mi"}, node) == "65"
    assert resource_value(of, limited, {"resource": "requests.memory", "divisor": "1Gi"}, node) == "1"
    assert resource_value(of, container(), {"resource": "limits.cpu"}, node) == "4"
