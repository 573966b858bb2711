"""The image service of a Docker engine."""

from typing import Any

from kubelet.cri.api import Image, ImageNotFound, NotFound, RuntimeServiceError
from kubelet.cri.docker.engine import Engine
from kubelet.images.reference import InvalidReference, parse


class DockerImages:
    """An :class:`kubelet.cri.api.ImageService`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def list_images(self) -> list[Image]:
        return [self._image(entry) for entry in await self._engine.call("images")]

    @staticmethod
    def _image(entry: dict[str, Any]) -> Image:
        tags = [tag for tag in entry.get("RepoTags") or [] if tag != "<none>:<none>"]
        digests = [digest for digest in entry.get("RepoDigests") or [] if not digest.startswith("<none>")]
        user = (entry.get("Config") or {}).get("User") or ""
        return Image(entry["Id"], tags, digests, entry["Size"], user)

    async def image_status(self, image: str) -> Image | None:
        try:
            return self._image(await self._engine.call("inspect_image", image))
        except (NotFound, ImageNotFound):
            return None

    async def pull_image(self, image: str, auth: dict[str, str] | None = None) -> str:
        try:
            reference = parse(image)
        except InvalidReference as e:
            raise RuntimeServiceError(str(e)) from e
        await self._engine.pull(reference.name, reference.digest or reference.tag, auth)
        details = await self._engine.call("inspect_image", image)
        return details["Id"]

    async def remove_image(self, image: str) -> None:
        try:
            await self._engine.call("remove_image", image)
        except (NotFound, ImageNotFound):
            pass
