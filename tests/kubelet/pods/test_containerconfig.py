from pathlib import Path
from typing import Any

import pytest

from kubelet.cri.api import Image, NamespaceMode
from kubelet.layout import Layout
from kubelet.pods.containerconfig import NodeSettings, container_config, port_mappings, sandbox_config
from kubelet.pods.labels import HASH, RESTART_COUNT
from tests.kubelet.making import container, pod

Object = dict[str, Any]
IMAGE = Image("sha256:1", [], [], 0)


@pytest.fixture
def node(tmp_path: Path) -> NodeSettings:
    return NodeSettings("n1", ["192.168.0.1"], Layout(str(tmp_path)), memory_capacity=8 << 30)


def test_a_sandbox_is_known_again_by_its_labels(node: NodeSettings) -> None:
    of = pod()
    of["metadata"]["labels"] = {"app": "web"}
    config = sandbox_config(of, node, 2)
    assert config.labels == {
        "app": "web",
        "io.kubernetes.pod.name": "web",
        "io.kubernetes.pod.namespace": "default",
        "io.kubernetes.pod.uid": "uid-web",
    }
    assert (config.metadata.attempt, config.hostname) == (2, "web")
    assert config.log_directory.endswith("/logs/pods/default_web_uid-web")
    assert (config.network, config.pid, config.ipc) == (NamespaceMode.POD, NamespaceMode.CONTAINER, NamespaceMode.POD)


def test_the_hosts_namespaces_are_shared_when_asked_for(node: NodeSettings) -> None:
    shared = sandbox_config(pod(hostNetwork=True, hostPID=True, hostIPC=True), node, 0)
    assert {shared.network, shared.pid, shared.ipc} == {NamespaceMode.NODE}
    assert shared.hostname == "n1"
    assert sandbox_config(pod(shareProcessNamespace=True), node, 0).pid is NamespaceMode.POD


def test_only_host_ports_are_mapped() -> None:
    ports = [
        {"containerPort": 80, "hostPort": 8080},
        {"containerPort": 81},
        {"containerPort": 53, "hostPort": 53, "protocol": "UDP"},
    ]
    found = port_mappings(pod(container(ports=ports)))
    assert [(m.container_port, m.host_port, m.protocol) for m in found] == [(80, 8080, "TCP"), (53, 53, "UDP")]
    assert port_mappings(pod(container(ports=ports), hostNetwork=True)) == []


def test_a_container_gets_its_command_environment_and_files(node: NodeSettings) -> None:
    own = container(command=["run", "$(NAME)"], args=["$$(NAME)"], workingDir="/w", stdin=True, tty=True)
    config = container_config(pod(own), own, node, image=IMAGE, attempt=3, environment={"NAME": "x"}, volume_mounts=[])
    assert (config.command, config.args, config.working_dir) == (["run", "x"], ["$(NAME)"], "/w")
    assert config.envs == [("NAME", "x")]
    assert (config.stdin, config.tty, config.log_path) == (True, True, "c/3.log")
    assert config.annotations[RESTART_COUNT] == "3"
    assert config.annotations[HASH]
    assert {m.container_path for m in config.mounts} == {"/etc/hosts", "/dev/termination-log"}


def test_the_hosts_own_hosts_file_serves_its_network(node: NodeSettings) -> None:
    own = container()
    config = container_config(
        pod(own, hostNetwork=True), own, node, image=IMAGE, attempt=0, environment={}, volume_mounts=[]
    )
    assert "/etc/hosts" not in {m.container_path for m in config.mounts}


def test_only_name_and_image_make_another_container(node: NodeSettings) -> None:
    def hash_of(**fields: Any) -> str:
        own = container(**fields)
        config = container_config(pod(own), own, node, image=IMAGE, attempt=0, environment={}, volume_mounts=[])
        return config.annotations[HASH]

    assert hash_of() == hash_of(command=["other"])
    assert hash_of() != hash_of(image="busybox:2")
