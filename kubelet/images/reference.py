"""What an image's name means: ``nginx`` is ``docker.io/library/nginx:latest``, as Docker and containerd read it."""

import re
from dataclasses import dataclass

_DOMAIN = re.compile(r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]+)?")
_PATH = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class InvalidReference(ValueError):
    """Not an image name (InvalidImageName for the kubelet)."""


@dataclass(frozen=True, slots=True)
class Reference:
    registry: str  # as users write it: docker.io
    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        return f"{self.registry}/{self.repository}"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.name}{tag}" + (f"@{self.digest}" if self.digest else "")

    @property
    def tagged(self) -> str:
        """``name:tag``, or nothing for a name by digest alone."""
        return f"{self.name}:{self.tag}" if self.tag else ""

    @property
    def host(self) -> str:
        """Where the registry answers."""
        return "registry-1.docker.io" if self.registry == "docker.io" else self.registry

    @property
    def local(self) -> bool:
        """Docker's rule: registries of this very machine may speak plain HTTP."""
        host = self.host.rpartition(":")[0] or self.host if not self.host.startswith("[") else "::1"
        return host == "localhost" or host.startswith("127.") or self.host.startswith("[::1]")


def parse(text: str) -> Reference:
    """Raises :class:`InvalidReference`."""
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise InvalidReference(f"couldn't parse image name {text!r}: invalid digest")
    path, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        path, tag = rest, ""
    elif not _TAG.fullmatch(tag):
        raise InvalidReference(f"couldn't parse image name {text!r}: invalid tag")
    first, slash, remainder = path.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        registry, repository = first, remainder
    else:
        registry, repository = "docker.io", path
    if registry in ("index.docker.io", "registry-1.docker.io"):
        registry = "docker.io"
    if registry == "docker.io" and "/" not in repository:
        repository = f"library/{repository}"
    if not _DOMAIN.fullmatch(registry) or not _PATH.fullmatch(repository):
        raise InvalidReference(f"couldn't parse image name {text!r}: invalid reference format")
    if not tag and not digest:
        tag = "latest"
    return Reference(registry, repository, tag, digest)
