import base64
from typing import Any

import pytest

from kubelet.volumes.atomic import File
from kubelet.volumes.payload import VolumeError, config_map, downward_api, projected, secret
from tests.kubelet.making import container, pod

Object = dict[str, Any]
CONFIG = {"kind": "ConfigMap", "data": {"a": "1", "b": "2"}, "binaryData": {"c": base64.b64encode(b"\xff").decode()}}
SECRET = {"kind": "Secret", "data": {"p": base64.b64encode(b"pw").decode()}}


def test_every_key_is_a_file() -> None:
    found = config_map(CONFIG, {}, "conf", 0o640)
    assert found == {"a": File(b"1", 0o640), "b": File(b"2", 0o640), "c": File(b"\xff", 0o640)}


def test_items_choose_paths_and_modes() -> None:
    items = [{"key": "a", "path": "x/y"}, {"key": "b", "path": "z", "mode": 0o400}]
    assert config_map(CONFIG, {"items": items}, "conf", 0o644) == {"x/y": File(b"1", 0o644), "z": File(b"2", 0o400)}


def test_what_is_missing_fails_unless_optional() -> None:
    with pytest.raises(VolumeError, match='configmap "conf" not found'):
        config_map(None, {}, "conf", 0o644)
    with pytest.raises(VolumeError, match="configmap references non-existent config key: no"):
        config_map(CONFIG, {"items": [{"key": "no", "path": "x"}]}, "conf", 0o644)
    with pytest.raises(VolumeError, match="secret references non-existent secret key: no"):
        secret(SECRET, {"items": [{"key": "no", "path": "x"}]}, "sec", 0o644)
    assert config_map(None, {"optional": True}, "conf", 0o644) == {}
    assert config_map(CONFIG, {"optional": True, "items": [{"key": "no", "path": "x"}]}, "conf", 0o644) == {}


def test_the_downward_api_tells_of_the_pod_and_its_resources() -> None:
    of = pod(container("c", resources={"limits": {"memory": "64Mi"}}))
    of["metadata"]["labels"] = {"app": "web"}
    items = [
        {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
        {"path": "mem", "resourceFieldRef": {"containerName": "c", "resource": "limits.memory", "divisor": "1Mi"}},
    ]
    found = downward_api(of, {"items": items}, 0o644, {})
    assert {name: file.data for name, file in found.items()} == {"labels": b'app="web"', "mem": b"64"}


def test_a_projected_volume_joins_all_sources() -> None:
    sources = [
        {"configMap": {"name": "conf", "items": [{"key": "a", "path": "a"}]}},
        {"secret": {"name": "sec"}},
        {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        {"serviceAccountToken": {"path": "token", "audience": "x"}},
    ]
    found = projected(
        pod(),
        {"sources": sources, "defaultMode": 0o600},
        lambda kind, name: {"conf": CONFIG, "sec": SECRET}[name],
        lambda source: f"token for {source['audience']}",
        {},
    )
    assert {name: file.data for name, file in found.items()} == {
        "a": b"1",
        "p": b"pw",
        "name": b"web",
        "token": b"token for x",
    }
    assert {file.mode for file in found.values()} == {0o600}
