"""The machine's image store: what was pulled, in a directory that the nodes of a machine share.

::

    images.json                  {image id: its names, digests, size, configuration, layers}
    layers/<24 hex of diff id>/  an unpacked layer, complete as soon as it has this name
    blobs/<hex>[.partial]        a layer on its way (removed once it is unpacked)
    in-use/<container id>        the image id that this container stands on

Writers lock (``flock``): two nodes that pull the same image download it once.
"""

import asyncio
import fcntl
import os
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from kubelet.cri.api import Image, ImageNotFound, RuntimeServiceError
from kubelet.images.reference import InvalidReference, Reference, parse
from kubelet.images.registry import INDEXES, Registry, choose, verify

_UNPACK = str(Path(__file__).parent / "unpack.py")
_LOCK_SECONDS = 0.05


@dataclass(slots=True)
class ImageFiles:
    """What a runtime needs of an image to start a container."""

    id: str
    layers: str = ""  # the directory that ``lower`` is relative to
    lower: tuple[str, ...] = ()  # overlayfs' order: the top layer first
    entrypoint: list[str] = field(default_factory=list)
    cmd: list[str] = field(default_factory=list)
    env: list[str] = field(default_factory=list)
    working_dir: str = ""
    user: str = ""
    stop_signal: str = ""
    is_host: bool = False


def layer_name(diff_id: str) -> str:
    """Short, for overlayfs' options of an image with 127 layers have to fit a page."""
    return diff_id.removeprefix("sha256:")[:24]


class ImageStore:
    def __init__(self, root: str) -> None:
        self._root = Path(os.path.realpath(root))
        self._index = self._root / "images.json"
        self._read_at: tuple[int, int] | None = None
        self._known: dict[str, dict[str, Any]] = {}

    # Looking

    def _images(self) -> dict[str, dict[str, Any]]:
        """The index, read again only when another node has changed it."""
        try:
            info = self._index.stat()
        except FileNotFoundError:
            return {}
        if self._read_at != (info.st_mtime_ns, info.st_ino):
            self._known = orjson.loads(self._index.read_bytes())
            self._read_at = (info.st_mtime_ns, info.st_ino)
        return self._known

    def _find(self, name: str) -> str | None:
        """The id of an image by its id, or a name in any of its forms."""
        images = self._images()
        if name in images:
            return name
        try:
            reference = parse(name)
        except InvalidReference:
            return None
        for id, entry in images.items():
            if reference.digest and f"{reference.name}@{reference.digest}" in entry["repo_digests"]:
                return id
            if not reference.digest and reference.tagged in entry["repo_tags"]:
                return id
        return None

    def images(self) -> list[Image]:
        return [self._image(id, entry) for id, entry in self._images().items()]

    def image(self, name: str) -> Image | None:
        id = self._find(name)
        return self._image(id, self._images()[id]) if id is not None else None

    @staticmethod
    def _image(id: str, entry: dict[str, Any]) -> Image:
        user = entry["config"].get("User") or ""
        return Image(id, list(entry["repo_tags"]), list(entry["repo_digests"]), entry["size"], user)

    def files(self, name: str) -> ImageFiles | None:
        id = self._find(name)
        if id is None:
            return None
        entry = self._images()[id]
        config = entry["config"]
        return ImageFiles(
            id=id,
            layers=str(self._root / "layers"),
            lower=tuple(layer_name(diff_id) for diff_id in reversed(entry["diff_ids"])),
            entrypoint=config.get("Entrypoint") or [],
            cmd=config.get("Cmd") or [],
            env=config.get("Env") or [],
            working_dir=config.get("WorkingDir") or "",
            user=config.get("User") or "",
            stop_signal=config.get("StopSignal") or "",
        )

    # Use

    def use(self, container: str, image_id: str) -> None:
        """Keep the image's layers for as long as this container exists."""
        directory = self._root / "in-use"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / container).write_text(image_id)

    def release(self, container: str) -> None:
        (self._root / "in-use" / container).unlink(missing_ok=True)

    # Changing

    @contextmanager
    def _changing(self) -> Iterator[dict[str, dict[str, Any]]]:
        """The index, locked; written when the block ends well. Never held across an ``await``."""
        self._root.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            images = {id: dict(entry) for id, entry in self._images().items()}
            yield images
            new = self._index.with_suffix(".new")
            new.write_bytes(orjson.dumps(images))
            os.replace(new, self._index)
        finally:
            os.close(lock)

    @asynccontextmanager
    async def _layer_lock(self, name: str) -> AsyncIterator[None]:
        """One process at a time per layer; waits by asking again, for a lock that takes minutes is rare and no hurry."""
        (self._root / "blobs").mkdir(parents=True, exist_ok=True)
        (self._root / "layers").mkdir(exist_ok=True)
        lock = os.open(self._root / "blobs" / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    await asyncio.sleep(_LOCK_SECONDS)
            yield
        finally:
            os.close(lock)

    async def pull(self, name: str, auth: dict[str, str] | None = None) -> str:
        """The id of the image, once all of it is here. :class:`ImageNotFound` when the registry does not have it."""
        try:
            reference = parse(name)
        except InvalidReference as e:
            raise RuntimeServiceError(str(e)) from e
        with self._pulling():
            return await self._pull(reference, auth)

    @contextmanager
    def _pulling(self) -> Iterator[None]:
        """Layers that no image names yet must not be swept away meanwhile."""
        self._root.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._root / "pulls.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH)
            yield
        finally:
            os.close(lock)

    async def _pull(self, reference: Reference, auth: dict[str, str] | None) -> str:
        async with Registry(reference, auth) as registry:
            top, data, kind = await registry.manifest(reference.digest or reference.tag)
            if kind in INDEXES:
                _digest, data, kind = await registry.manifest(choose(orjson.loads(data)))
            if kind in INDEXES:
                raise RuntimeServiceError(f"{reference}: an index of indexes is not supported")
            manifest = orjson.loads(data)
            config = await self._config(registry, reference, manifest["config"])
            diff_ids = config["rootfs"]["diff_ids"]
            if len(diff_ids) != len(manifest["layers"]):
                raise RuntimeServiceError(f"{reference}: its manifest and its configuration name different layers")
            for layer, diff_id in zip(manifest["layers"], diff_ids, strict=True):
                await self._layer(registry, layer, diff_id)
        id = manifest["config"]["digest"]
        self._record(id, reference, top, sum(layer["size"] for layer in manifest["layers"]), config, diff_ids)
        return id

    async def _config(self, registry: Registry, reference: Reference, described: dict[str, Any]) -> dict[str, Any]:
        digest = described["digest"]
        name = digest.removeprefix("sha256:")
        async with self._layer_lock(name):
            file = self._root / "blobs" / name
            await registry.blob(digest, described["size"], file)
            data = file.read_bytes()
            file.unlink()
        verify(data, digest, f"configuration of {reference}")
        return orjson.loads(data)

    async def _layer(self, registry: Registry, described: dict[str, Any], diff_id: str) -> None:
        name = layer_name(diff_id)
        target = self._root / "layers" / name
        async with self._layer_lock(name):
            if target.exists():
                return
            blob = self._root / "blobs" / described["digest"].removeprefix("sha256:")
            await registry.blob(described["digest"], described["size"], blob)
            unpacked = target.with_name(name + ".new")
            shutil.rmtree(unpacked, ignore_errors=True)
            unpacked.mkdir(mode=0o755)
            await self._unpack(blob, unpacked, diff_id)
            os.replace(unpacked, target)
            blob.unlink()

    @staticmethod
    async def _unpack(blob: Path, directory: Path, diff_id: str) -> None:
        command = [sys.executable, "-I", "-S", "-X", "utf8", _UNPACK, str(blob), str(directory), diff_id]
        if os.geteuid() != 0:
            command = ["unshare", "--user", "--map-root-user", *command]
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        _, errors = await process.communicate()
        if process.returncode:
            text = errors.decode(errors="replace").strip().splitlines()
            raise RuntimeServiceError(f"failed to unpack layer {diff_id}: {text[-1] if text else process.returncode}")

    def _record(
        self, id: str, reference: Reference, digest: str, size: int, config: dict[str, Any], diff_ids: list[str]
    ) -> None:
        with self._changing() as images:
            for other, entry in images.items():
                if other != id and reference.tagged in entry["repo_tags"]:  # the tag has moved
                    entry["repo_tags"] = [tag for tag in entry["repo_tags"] if tag != reference.tagged]
            entry = images.get(id) or {"repo_tags": [], "repo_digests": []}
            if reference.tagged:
                entry["repo_tags"] = sorted({*entry["repo_tags"], reference.tagged})
            entry["repo_digests"] = sorted({*entry["repo_digests"], f"{reference.name}@{digest}"})
            entry |= {"size": size, "config": config.get("config") or {}, "diff_ids": diff_ids}
            images[id] = entry

    def remove(self, name: str) -> None:
        """Forget a name, or with the id all of its names; layers go when no image and no container needs them."""
        with self._changing() as images:
            id = self._find(name)
            if id is None:
                return
            entry = images[id]
            if name != id:
                reference = parse(name)
                gone = (reference.tagged, f"{reference.name}@{reference.digest}")
                entry["repo_tags"] = [tag for tag in entry["repo_tags"] if tag not in gone]
                entry["repo_digests"] = [digest for digest in entry["repo_digests"] if digest not in gone]
            if name == id or not entry["repo_tags"]:
                del images[id]
            self._sweep(images)

    def _sweep(self, images: dict[str, dict[str, Any]]) -> None:
        lock = os.open(self._root / "pulls.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._sweep_layers(images)
        except BlockingIOError:  # somebody pulls: the next removal sweeps
            pass
        finally:
            os.close(lock)

    def _sweep_layers(self, images: dict[str, dict[str, Any]]) -> None:
        needed = {layer_name(diff_id) for entry in images.values() for diff_id in entry["diff_ids"]}
        held = {file.read_text() for file in (self._root / "in-use").glob("*")}
        for id in held:
            needed |= {layer_name(diff_id) for diff_id in self._images().get(id, {}).get("diff_ids", [])}
            if id in self._known and id not in images:
                images[id] = {**self._known[id], "repo_tags": []}  # until its last container is gone
        for directory in (self._root / "layers").glob("*"):
            if directory.name not in needed and not directory.name.endswith(".new"):
                shutil.rmtree(directory, ignore_errors=True)


__all__ = ["ImageFiles", "ImageNotFound", "ImageStore", "layer_name"]
