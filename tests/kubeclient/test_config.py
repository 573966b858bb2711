import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubeclient.config import Config, ConfigError


def kubeconfig(folder: Path, *, cluster: Any = None, user: Any = None, name: str = "config") -> str:
    document = {
        "current-context": "main",
        "contexts": [
            {"name": "main", "context": {"cluster": "c", "user": "u", "namespace": "shop"}},
            {"name": "other", "context": {"cluster": "missing", "user": "u"}},
        ],
        "clusters": [{"name": "c", "cluster": cluster or {"server": "https://127.0.0.1:6443/"}}],
        "users": [{"name": "u", "user": user or {}}],
    }
    path = folder / name
    path.write_text(yaml.safe_dump(document))
    return str(path)


def test_the_current_context_names_server_user_and_namespace(tmp_path: Path) -> None:
    user = {"token": "secret"}
    config = Config.load(kubeconfig(tmp_path, user=user))
    assert (config.server, config.namespace, config.bearer_token()) == ("https://127.0.0.1:6443", "shop", "secret")


def test_key_material_comes_inline_or_from_files_beside_the_kubeconfig(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(b"CA")
    cluster = {"server": "https://x", "certificate-authority": "ca.pem"}
    user = {
        "client-certificate-data": base64.b64encode(b"CERT").decode(),
        "client-key-data": base64.b64encode(b"KEY").decode(),
    }
    config = Config.load(kubeconfig(tmp_path, cluster=cluster, user=user))
    assert (config.ca, config.cert, config.key) == (b"CA", b"CERT", b"KEY")


def test_a_token_file_is_read_at_every_use(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("one\n")
    config = Config.load(kubeconfig(tmp_path, user={"tokenFile": "token"}))
    assert config.bearer_token() == "one"
    token.write_text("two\n")
    assert config.bearer_token() == "two"


def test_the_environment_variable_may_list_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/absent:{kubeconfig(tmp_path)}")
    assert Config.load().namespace == "shop"


@pytest.mark.parametrize(
    ("context", "what"),
    [("nowhere", "contexts has no entry named 'nowhere'"), ("other", "clusters has no entry named 'missing'")],
)
def test_what_is_missing_is_named(tmp_path: Path, context: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        Config.load(kubeconfig(tmp_path), context)


def test_a_file_that_is_no_yaml_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("a: [")
    with pytest.raises(ConfigError, match="is not YAML"):
        Config.load(str(tmp_path / "bad"))


def test_no_kubeconfig_at_all_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ConfigError, match="--kubeconfig"):
        Config.load()
