import os
import time
from pathlib import Path
from typing import Any

import pytest

from kubeclient import ApiError
from kubelet.layout import Layout
from kubelet.pods.failures import ContainerFailure
from kubelet.volumes import mounting
from kubelet.volumes.podvolumes import PodVolumes, VolumeFailure
from kubelet.volumes.tokens import Tokens
from tests.kubelet.making import container, pod

Object = dict[str, Any]


class Accounts:
    """The TokenRequest end of an API server."""

    def __init__(self) -> None:
        self.asked: list[Object] = []
        self.lifetime = 3600.0
        self.broken = False

    def resource(self, api_version: str, plural: str) -> "Accounts":
        return self

    async def create(self, body: Object, namespace: str, *, name: str, subresource: str) -> Object:
        if self.broken:
            raise ApiError(403, {"message": "no such account"})
        self.asked.append({**body, "account": f"{namespace}/{name}/{subresource}"})
        expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + self.lifetime))
        return {"status": {"token": f"token{len(self.asked)}", "expirationTimestamp": expires}}


class Shelf:
    """References without a server."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Object] = {}

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        return self.objects.get((kind, namespace, name))


class Stand:
    def __init__(self, folder: Path, *, root: bool = False) -> None:
        self.layout, self.shelf, self.accounts = Layout(str(folder)), Shelf(), Accounts()
        self.tokens = Tokens(self.accounts)  # type: ignore[arg-type]
        self.volumes = PodVolumes(self.layout, self.shelf, self.tokens, {}, root=root)  # type: ignore[arg-type]


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


def mounting_pod(volume: Object, **mount: Any) -> Object:
    own = container(volumeMounts=[{"name": "v", "mountPath": "/v", **mount}])
    return pod(own, volumes=[{"name": "v", **volume}])


def mounted(stand: Stand, of: Object) -> Path:
    return Path(stand.volumes.mounts(of, of["spec"]["containers"][0], {"SUB": "s"})[0].host_path)


async def test_an_empty_dir_is_everybodys_and_goes_with_the_pod(stand: Stand) -> None:
    of = mounting_pod({"emptyDir": {}})
    await stand.volumes.set_up(of)
    path = mounted(stand, of)
    assert path.stat().st_mode & 0o777 == 0o777
    (path / "file").write_text("kept")
    await stand.volumes.set_up(of)
    assert (path / "file").read_text() == "kept"
    await stand.volumes.tear_down("uid-web")
    assert not path.exists()


@pytest.mark.root
async def test_a_group_of_the_pods_owns_its_volumes(stand: Stand) -> None:
    of = mounting_pod({"emptyDir": {}})
    of["spec"]["securityContext"] = {"fsGroup": 4711}
    await stand.volumes.set_up(of)
    found = mounted(stand, of).stat()
    assert (found.st_gid, found.st_mode & 0o2000) == (4711, 0o2000)


@pytest.mark.root
async def test_an_empty_dir_in_memory_is_a_tmpfs_of_its_size(tmp_path: Path) -> None:
    stand = Stand(tmp_path, root=True)
    of = mounting_pod({"emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}})
    await stand.volumes.set_up(of)
    path = mounted(stand, of)
    try:
        assert mounting.is_mount(path)
        found = os.statvfs(path)
        assert found.f_blocks * found.f_frsize == 1 << 20
        await stand.volumes.set_up(of)
    finally:
        await stand.volumes.tear_down("uid-web")
    assert not path.exists()


async def test_what_is_missing_names_its_volume(stand: Stand) -> None:
    with pytest.raises(VolumeFailure, match=r'MountVolume\.SetUp failed for volume "v" : configmap "c" not found'):
        await stand.volumes.set_up(mounting_pod({"configMap": {"name": "c"}}))
    with pytest.raises(VolumeFailure, match="no volume plugin matched: nfs"):
        await stand.volumes.set_up(mounting_pod({"nfs": {}}))


async def test_files_follow_their_object_and_are_read_only(stand: Stand) -> None:
    of = mounting_pod({"configMap": {"name": "c", "defaultMode": 0o600}})
    key = "ConfigMap", "default", "c"
    stand.shelf.objects[key] = {"kind": "ConfigMap", "data": {"k": "one"}}
    await stand.volumes.set_up(of)
    path = mounted(stand, of)
    assert (path / "k").stat().st_mode & 0o777 == 0o600
    stand.shelf.objects[key] = {"kind": "ConfigMap", "data": {"k": "two"}}
    await stand.volumes.set_up(of)
    assert (path / "k").read_text() == "two"
    assert stand.volumes.mounts(of, of["spec"]["containers"][0], {})[0].readonly


async def test_a_sub_path_is_made_and_may_be_computed(stand: Stand) -> None:
    of = mounting_pod({"emptyDir": {}}, subPath="a/b")
    await stand.volumes.set_up(of)
    assert mounted(stand, of).is_dir()
    assert str(mounted(stand, of)).endswith("/v/a/b")
    computed = mounting_pod({"emptyDir": {}}, subPathExpr="x-$(SUB)")
    assert mounted(stand, computed).name == "x-s"


@pytest.mark.parametrize("sub", ["../x", "/etc", "a/../../x", "link/x"])
async def test_a_sub_path_does_not_leave_its_volume(stand: Stand, sub: str) -> None:
    of = mounting_pod({"emptyDir": {}}, subPath=sub)
    await stand.volumes.set_up(of)
    (stand.layout.volume("uid-web", "empty-dir", "v") / "link").symlink_to("/etc")
    with pytest.raises(ContainerFailure):
        mounted(stand, of)


async def test_a_mount_of_a_volume_that_is_none_is_an_error(stand: Stand) -> None:
    of = pod(container(volumeMounts=[{"name": "x", "mountPath": "/x"}]))
    with pytest.raises(ContainerFailure, match='cannot find volume "x"'):
        stand.volumes.mounts(of, of["spec"]["containers"][0], {})


# --- tokens -------------------------------------------------------------------------------------------------------


def token_pod() -> Object:
    source = {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}}
    of = mounting_pod({"projected": {"sources": [source]}})
    of["spec"]["serviceAccountName"] = "robot"
    return of


async def test_a_token_is_asked_for_once_and_bound_to_the_pod(stand: Stand) -> None:
    of = token_pod()
    await stand.volumes.set_up(of)
    await stand.volumes.set_up(of)
    assert (mounted(stand, of) / "token").read_text() == "token1"
    assert len(stand.accounts.asked) == 1
    request = stand.accounts.asked[0]
    assert request["account"] == "default/robot/token"
    assert request["spec"]["expirationSeconds"] == 3607
    assert request["spec"]["boundObjectRef"]["uid"] == "uid-web"
    left = stand.volumes.renewal_in("uid-web")
    assert left is not None
    assert 0.79 * 3600 < left < 0.81 * 3600


async def test_an_old_token_is_renewed_in_its_file(stand: Stand) -> None:
    of = token_pod()
    stand.accounts.lifetime = 0
    await stand.volumes.set_up(of)
    stand.accounts.lifetime = 3600
    await stand.volumes.set_up(of)
    assert (mounted(stand, of) / "token").read_text() == "token2"


async def test_without_a_token_the_volume_is_not_ready(stand: Stand) -> None:
    stand.accounts.broken = True
    with pytest.raises(VolumeFailure, match="failed to fetch token: no such account"):
        await stand.volumes.set_up(token_pod())
