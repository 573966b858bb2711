"""Kubeconfigs that our own client reads, and a merge that loses nothing of the user's."""

import os
from pathlib import Path

import pytest
import yaml

from cluster import ClusterError, kubeconfig
from cluster.certificates import Pki
from cluster.plan import Request
from kubeclient import Config


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    made = Pki(tmp_path / "pki")
    made.authority("ca", "ca")
    made.ensure(Request("admin", "kubernetes-admin", organizations=("system:masters",), client=True))
    return made


def content(pki: Pki, cluster: str = "demo") -> dict[str, object]:
    return kubeconfig.render(kubeconfig.Access(cluster, "https://127.0.0.1:6443", "admin", "admin"), pki)


def test_the_file_stands_alone(pki: Pki, tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    kubeconfig.save(path, content(pki))
    config = Config.load(str(path))
    assert config.server == "https://127.0.0.1:6443"
    assert config.cert == pki.certificate("admin").read_bytes()
    assert config.key == pki.key("admin").read_bytes()
    assert config.ca == pki.certificate("ca").read_bytes()


def test_saving_the_same_again_does_not_touch_the_file(pki: Pki, tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    kubeconfig.save(path, content(pki))
    os.utime(path, (1, 1))
    kubeconfig.save(path, content(pki))
    assert path.stat().st_mtime == 1


def test_merging_keeps_what_is_there_and_unmerging_takes_only_ours_away(pki: Pki, tmp_path: Path) -> None:
    path = tmp_path / "config"
    theirs = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "work", "cluster": {"server": "https://work"}}],
        "users": [{"name": "me", "user": {"token": "t"}}],
        "contexts": [{"name": "work", "context": {"cluster": "work", "user": "me"}}],
        "current-context": "work",
        "extensions": [{"name": "x", "extension": {}}],
    }
    path.write_text(yaml.safe_dump(theirs))
    for _ in range(2):
        kubeconfig.merge(path, content(pki))
    merged = yaml.safe_load(path.read_text())
    assert [c["name"] for c in merged["clusters"]] == ["work", "mk8s-demo"]
    assert merged["current-context"] == "mk8s-demo"
    assert merged["extensions"] == theirs["extensions"]
    assert Config.load(str(path)).server == "https://127.0.0.1:6443"
    assert kubeconfig.unmerge(path, "demo")
    assert yaml.safe_load(path.read_text()) == {**theirs, "current-context": ""}
    assert not kubeconfig.unmerge(path, "demo")


def test_a_file_that_is_a_link_stays_one(pki: Pki, tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "config"
    link.symlink_to(real)
    kubeconfig.merge(link, content(pki))
    assert link.is_symlink()
    assert real.exists()


def test_a_file_that_is_no_kubeconfig_is_left_alone(pki: Pki, tmp_path: Path) -> None:
    path = tmp_path / "config"
    for text in ("{", "- a\n- b\n"):
        path.write_text(text)
        with pytest.raises(ClusterError, match="nothing was merged"):
            kubeconfig.merge(path, content(pki))
        assert path.read_text() == text
