"""The image service of the native runtime: the host's own root, and what the store pulled.

Names below ``mk8s.local/`` are the machine's own root file system, read-only below a writable layer of each container:
a fresh machine without a registry runs pods at once. Everything else is an OCI image.
"""

import hashlib
from pathlib import Path

from kubelet.cri.api import Image, ImageNotFound, RuntimeServiceError
from kubelet.images.store import ImageFiles, ImageStore

HOST_PREFIX = "mk8s.local/"


def _host_id(name: str) -> str:
    return "sha256:" + hashlib.sha256(name.encode()).hexdigest()


def with_tag(name: str) -> str:
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


class NativeImages:
    """An :class:`kubelet.cri.api.ImageService`."""

    def __init__(self, store: ImageStore, runtime_mode: "RuntimeMode") -> None:
        self._store = store
        self._runtime_mode = runtime_mode

    @staticmethod
    def host_image(name: str) -> Image:
        name = with_tag(name)
        return Image(id=_host_id(name), repo_tags=[name], repo_digests=[], size=0)

    async def list_images(self) -> list[Image]:
        return [self.host_image(HOST_PREFIX + "host"), *self._store.images()]

    async def image_status(self, image: str) -> Image | None:
        if image.startswith(HOST_PREFIX):
            return self.host_image(image)
        return self._store.image(image)

    async def pull_image(self, image: str, auth: dict[str, str] | None = None) -> str:
        if image.startswith(HOST_PREFIX):
            return self.host_image(image).id
        if self._runtime_mode.mode == "plain":
            raise RuntimeServiceError(
                f"image {image}: without root and without user namespaces only images {HOST_PREFIX}... can run"
            )
        return await self._store.pull(image, auth)

    async def remove_image(self, image: str) -> None:
        if not image.startswith(HOST_PREFIX):
            self._store.remove(image)

    def files(self, image: str) -> ImageFiles:
        """What a container of that image is made of; :class:`ImageNotFound` when it is not here."""
        if image.startswith(HOST_PREFIX):
            return ImageFiles(id=_host_id(with_tag(image)), layers="/", lower=("/",), cmd=["/bin/sh"], is_host=True)
        found = self._store.files(image)
        if found is None:
            raise ImageNotFound(f"image {image} is not on this node")
        return found

    def use(self, container: str, image: ImageFiles) -> None:
        if not image.is_host:
            self._store.use(container, image.id)

    def release(self, container: str) -> None:
        self._store.release(container)


class RuntimeMode:
    """How much the runtime may do (see :mod:`.privileges`), known once it has started."""

    mode = "root"
    note = ""


def default_store(root_dir: str) -> str:
    """Beside the nodes' directories: the nodes of a cluster on one machine share it."""
    return str(Path(root_dir).parent / ".images")
