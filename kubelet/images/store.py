"""What the native runtime knows of images on this machine."""

from dataclasses import dataclass, field

from kubelet.cri.api import Image, ImageNotFound


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


class ImageStore:
    """Holds nothing yet: pulling from registries comes next."""

    def __init__(self, root: str) -> None:
        self.root = root

    def images(self) -> list[Image]:
        return []

    def image(self, name: str) -> Image | None:
        return None

    def files(self, name: str) -> ImageFiles | None:
        return None

    async def pull(self, name: str, auth: dict[str, str] | None) -> str:
        raise ImageNotFound(f"image {name}: pulling from registries is not supported yet")

    def remove(self, name: str) -> None:
        return
