import asyncio
import base64
import json
import os
import stat
import tarfile
from pathlib import Path

import pytest

from kubelet.cri.api import ImageNotFound, RuntimeServiceError
from kubelet.images.registry import DigestMismatch, choose
from kubelet.images.store import ImageStore
from tests.kubelet.images.registry_server import OCI_INDEX, FakeRegistry, build, digest_of, tar_of

pytestmark = pytest.mark.root


def link(kind: bytes, to: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, to
    return info


def layers_of(store: ImageStore, name: str) -> list[Path]:
    files = store.files(name)
    assert files is not None
    return [Path(files.layers, layer) for layer in reversed(files.lower)]


async def test_an_image_is_pulled_once_and_found_by_every_name(tmp_path: Path) -> None:
    config = {
        "Entrypoint": ["/e"],
        "Cmd": ["c"],
        "Env": ["A=b"],
        "User": "7",
        "WorkingDir": "/w",
        "StopSignal": "SIGINT",
    }
    image = build([tar_of(("etc", None), ("etc/a", b"A"))], config)
    store = ImageStore(str(tmp_path))
    async with FakeRegistry() as registry:
        registry.add("team/app", "v1", image)
        name = f"localhost:{registry.port}/team/app"
        id = await store.pull(f"{name}:v1")
        before = len(registry.requests)
        await store.pull(f"{name}:v1")
        again = registry.requests[before:]
    assert id == image.config_digest
    assert not [request for request in again if image.layer_digests[0] in request]
    for alias in (f"{name}:v1", f"{name}@{digest_of(image.manifest)}", id):
        found = store.image(alias)
        assert found is not None
        assert found.id == id
    files = store.files(id)
    assert files is not None
    assert (files.entrypoint, files.cmd, files.env) == (["/e"], ["c"], ["A=b"])
    assert (files.user, files.working_dir, files.stop_signal) == ("7", "/w", "SIGINT")
    assert (layers_of(store, id)[0] / "etc" / "a").read_bytes() == b"A"
    assert [image.repo_tags for image in store.images()] == [[f"{name}:v1"]]


async def test_the_manifest_for_this_machine_is_chosen_from_an_index(tmp_path: Path) -> None:
    ours, theirs = build([tar_of(("ours", b"1"))]), build([tar_of(("theirs", b"2"))])
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    entries = [(theirs, "windows", machine), (theirs, "linux", "mips"), (ours, "linux", machine)]
    index = json.dumps(
        {
            "schemaVersion": 2,
            "manifests": [
                {"digest": digest_of(i.manifest), "platform": {"os": system, "architecture": architecture}}
                for i, system, architecture in entries
            ],
        }
    ).encode()
    store = ImageStore(str(tmp_path))
    async with FakeRegistry() as registry:
        registry.add("app", "x", ours)
        registry.manifests["app", "multi"] = (OCI_INDEX, index)
        name = f"localhost:{registry.port}/app:multi"
        assert await store.pull(name) == ours.config_digest
    found = store.image(name)
    assert found is not None
    assert found.repo_digests == [f"{name.removesuffix(':multi')}@{digest_of(index)}"]


def test_an_index_without_this_machine_says_what_it_offers() -> None:
    index = {"manifests": [{"digest": "d", "platform": {"os": "linux", "architecture": "s390x"}}]}
    with pytest.raises(ImageNotFound, match="linux/amd64 in manifest: it offers linux/s390x"):
        choose(index, "x86_64")


async def test_a_private_registry_gets_a_token_for_the_credentials(tmp_path: Path) -> None:
    store = ImageStore(str(tmp_path))
    secret = base64.b64encode(b"me:pass").decode()
    async with FakeRegistry(token="t0ken", credentials=secret) as registry:
        registry.add("app", "latest", build([tar_of(("f", b"x"))]))
        name = f"localhost:{registry.port}/app"
        with pytest.raises(RuntimeServiceError, match="failed to authorize"):
            await store.pull(name)
        with pytest.raises(RuntimeServiceError, match="failed to authorize"):
            await store.pull(name, {"username": "me", "password": "wrong"})
        assert await store.pull(name, {"username": "me", "password": "pass"})


async def test_a_download_that_breaks_off_goes_on_where_it_was(tmp_path: Path) -> None:
    image = build([tar_of(("big", os.urandom(300_000)))])
    store = ImageStore(str(tmp_path))
    async with FakeRegistry(break_after=100_000) as registry:
        registry.add("app", "latest", image)
        registry.break_after = 100_000
        await store.pull(f"localhost:{registry.port}/app")
        assert len([r for r in registry.requests if image.layer_digests[0] in r]) == 2
    assert (layers_of(store, image.config_digest)[0] / "big").stat().st_size == 300_000


async def test_content_that_is_not_what_its_digest_says_is_refused(tmp_path: Path) -> None:
    image = build([tar_of(("f", b"good"))])
    store = ImageStore(str(tmp_path))
    async with FakeRegistry() as registry:
        registry.add("app", "latest", image)
        registry.blobs[image.layer_digests[0]] = b"evil"
        name = f"localhost:{registry.port}/app"
        with pytest.raises(DigestMismatch):
            await store.pull(name)
        assert store.image(name) is None
        registry.blobs |= image.blobs
        assert await store.pull(name) == image.config_digest


async def test_a_layer_whose_tar_is_another_than_the_image_says_is_refused(tmp_path: Path) -> None:
    image = build([tar_of(("f", b"x"))])
    lying = json.loads(image.blobs[image.config_digest])
    lying["rootfs"]["diff_ids"] = ["sha256:" + "0" * 64]
    config = json.dumps(lying).encode()
    manifest = json.loads(image.manifest)
    manifest["config"] = {"digest": digest_of(config), "size": len(config)}
    image.manifest, image.blobs = json.dumps(manifest).encode(), {**image.blobs, digest_of(config): config}
    async with FakeRegistry() as registry:
        registry.add("app", "latest", image)
        with pytest.raises(RuntimeServiceError, match="its image says sha256:0000"):
            await ImageStore(str(tmp_path)).pull(f"localhost:{registry.port}/app")


async def test_what_the_registry_does_not_have_is_not_found(tmp_path: Path) -> None:
    store = ImageStore(str(tmp_path))
    async with FakeRegistry() as registry:
        with pytest.raises(ImageNotFound, match="app:latest: not found"):
            await store.pull(f"localhost:{registry.port}/app")
        port = registry.port
    with pytest.raises(RuntimeServiceError, match=f"registry localhost:{port}"):
        await store.pull(f"localhost:{port}/app")
    with pytest.raises(RuntimeServiceError, match="invalid reference format"):
        await store.pull("No Such Name")


async def test_layers_become_overlay_directories(tmp_path: Path) -> None:
    file = tarfile.TarInfo()
    file.mode, file.uid, file.gid, file.mtime = 0o4750, 12, 34, 1_000_000
    lower = tar_of(("keep", b"1"), ("gone", b"2"), ("dir", None), ("dir/old", b"3"))
    upper = tar_of(
        ("./.wh.gone", b""),
        ("./dir/.wh..wh..opq", b""),
        ("dir/new", b"4"),
        ("deep/missing/parent", b"5"),
        ("owned", file),
        ("hard", link(tarfile.LNKTYPE, "dir/new")),
        ("soft", link(tarfile.SYMTYPE, "/absolute/target")),
        ("pipe", link(tarfile.FIFOTYPE, "")),
    )
    image = build([lower, upper])
    store = ImageStore(str(tmp_path))
    async with FakeRegistry() as registry:
        registry.add("app", "latest", image)
        await store.pull(f"localhost:{registry.port}/app")
    top = layers_of(store, image.config_digest)[1]
    whiteout = (top / "gone").lstat()
    assert (stat.S_ISCHR(whiteout.st_mode), whiteout.st_rdev) == (True, 0)
    assert os.getxattr(top / "dir", "trusted.overlay.opaque") == b"y"
    owned = (top / "owned").stat()
    assert (owned.st_mode & 0o7777, owned.st_uid, owned.st_gid, owned.st_mtime) == (0o4750, 12, 34, 1_000_000)
    assert (top / "hard").stat().st_ino == (top / "dir" / "new").stat().st_ino
    assert os.readlink(top / "soft") == "/absolute/target"
    assert stat.S_ISFIFO((top / "pipe").stat().st_mode)
    assert (top / "deep" / "missing" / "parent").read_bytes() == b"5"


async def test_archives_cannot_write_outside_of_their_directory(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    through_link = tar_of(("way", link(tarfile.SYMTYPE, "../" * 20 + str(outside).lstrip("/"))), ("way/x", b"evil"))
    with_dots = tar_of(("../../outside/x", b"evil"))
    async with FakeRegistry() as registry:
        for tag, layer in (("link", through_link), ("dots", with_dots)):
            registry.add("app", tag, build([layer]))
            with pytest.raises(RuntimeServiceError, match="failed to unpack"):
                await ImageStore(str(tmp_path / "store")).pull(f"localhost:{registry.port}/app:{tag}")
    assert list(outside.iterdir()) == []


async def test_two_nodes_that_pull_at_once_download_each_layer_once(tmp_path: Path) -> None:
    image = build([tar_of(("a", os.urandom(50_000))), tar_of(("b", os.urandom(50_000)))])
    async with FakeRegistry() as registry:
        registry.add("app", "latest", image)
        stores = [ImageStore(str(tmp_path)) for _ in range(3)]
        ids = await asyncio.gather(*(store.pull(f"localhost:{registry.port}/app") for store in stores))
        assert set(ids) == {image.config_digest}
        for digest in image.layer_digests:
            assert len([r for r in registry.requests if r.endswith(digest)]) == 1


async def test_removing_an_image_keeps_what_others_need(tmp_path: Path) -> None:
    base, one, two = tar_of(("base", b"0")), tar_of(("one", b"1")), tar_of(("two", b"2"))
    first, second = build([base, one]), build([base, two])
    store = ImageStore(str(tmp_path))
    async with FakeRegistry() as registry:
        registry.add("app", "one", first)
        registry.add("app", "two", second)
        name = f"localhost:{registry.port}/app"
        await store.pull(f"{name}:one")
        await store.pull(f"{name}:two")
    below = layers_of(store, second.config_digest)
    top_of_first = layers_of(store, first.config_digest)[1]
    store.use("container", first.config_digest)
    store.remove(f"{name}:one")
    assert top_of_first.exists()
    store.release("container")
    store.remove(first.config_digest)
    assert not top_of_first.exists()
    assert all(layer.exists() for layer in below)
    assert store.image(f"{name}:one") is None
    store.remove("never-heard-of")


@pytest.mark.binary("zstd")
async def test_layers_compressed_with_zstd_are_unpacked(tmp_path: Path) -> None:
    layer = tar_of(("f", b"zstd works"))
    process = await asyncio.create_subprocess_exec(
        "zstd", "-qc", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    packed, _ = await process.communicate(layer)
    image = build([layer], compress=False)
    manifest = json.loads(image.manifest)
    manifest["layers"] = [{"digest": digest_of(packed), "size": len(packed)}]
    image.manifest, image.blobs = json.dumps(manifest).encode(), {**image.blobs, digest_of(packed): packed}
    store = ImageStore(str(tmp_path))
    async with FakeRegistry() as registry:
        registry.add("app", "latest", image)
        await store.pull(f"localhost:{registry.port}/app")
    assert (layers_of(store, image.config_digest)[0] / "f").read_bytes() == b"zstd works"
