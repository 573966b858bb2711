"""Images for containers: pulled by policy, with credentials, with back-off (upstream's image manager)."""

import asyncio
import base64
import binascii
import time
from collections.abc import Callable, Iterable
from typing import Any

import orjson

from kubelet.cri.api import Image, ImageService, RuntimeServiceError
from kubelet.images import reference
from kubelet.images.reference import Reference
from kubelet.pods import failures
from kubelet.pods.backoff import Backoff
from kubelet.pods.failures import ContainerFailure

Object = dict[str, Any]
Tell = Callable[[str, str, str], None]  # (Normal|Warning, reason, message)

#: How long a failed pull shows as ErrImagePull before it shows as ImagePullBackOff.
_SHOWN_SECONDS = 2.0
_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")


def check_name(image: str) -> Reference:
    try:
        return reference.parse(image)
    except reference.InvalidReference as error:
        message = f'Failed to apply default image tag "{image}": {error}'
        raise ContainerFailure(failures.INVALID_IMAGE_NAME, message) from None


def credentials(image: str, secrets: Iterable[Object]) -> dict[str, str] | None:
    """The login of the pull secrets for the image's registry, the most specific path first."""
    best: tuple[int, dict[str, str]] | None = None
    full = check_name(image).name
    for secret in secrets:
        for key, entry in _auths(secret).items():
            place = key.removeprefix("https://").removeprefix("http://").rstrip("/")
            place = place.removesuffix("/v1").removesuffix("/v2").rstrip("/")
            if place in _HUB:
                place = "docker.io"
            if (full == place or full.startswith(f"{place}/")) and (best is None or len(place) > best[0]):
                login = _login(entry)
                if login is not None:
                    best = len(place), login
    return best[1] if best else None


def _auths(secret: Object) -> dict[str, Any]:
    data = secret.get("data") or {}
    try:
        if ".dockerconfigjson" in data:
            found = orjson.loads(base64.b64decode(data[".dockerconfigjson"])).get("auths") or {}
        elif ".dockercfg" in data:
            found = orjson.loads(base64.b64decode(data[".dockercfg"]))
        else:
            return {}
    except (ValueError, AttributeError):
        return {}
    return found if isinstance(found, dict) else {}


def _login(entry: Any) -> dict[str, str] | None:
    if not isinstance(entry, dict):
        return None
    if entry.get("username"):
        return {"username": entry["username"], "password": entry.get("password", "")}
    try:
        user, colon, password = base64.b64decode(entry.get("auth", "")).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return {"username": user, "password": password} if colon else None


def policy_of(container: Object) -> str:
    """The API server sets the default; for pods that came another way it is the same one."""
    if container.get("imagePullPolicy"):
        return container["imagePullPolicy"]
    name = container["image"].rpartition("/")[2]
    return "Always" if "@" not in name and (":" not in name or name.endswith(":latest")) else "IfNotPresent"


class ImagePuller:
    """One for the node: an image that several pods want is pulled once at a time."""

    def __init__(self, images: ImageService) -> None:
        self._images = images
        self._backoff = Backoff()
        self._locks: dict[str, asyncio.Lock] = {}
        self._failed: dict[str, tuple[float, str]] = {}  # key -> (when, why) of the last pull that failed

    async def ensure(self, pod: Object, container: Object, secrets: Iterable[Object], tell: Tell) -> Image:
        """The image, present on this node; raises ContainerFailure. ``tell`` records events about the container."""
        name, policy = container["image"], policy_of(container)
        try:
            check_name(name)
        except ContainerFailure as failure:
            tell("Warning", "InspectFailed", failure.message)
            raise
        present = None if policy == "Always" else await self._status(name, tell)
        if present is not None:
            tell("Normal", "Pulled", f'Container image "{name}" already present on machine')
            return present
        if policy == "Never":
            message = f'Container image "{name}" is not present with pull policy of Never'
            tell("Warning", "ErrImageNeverPull", message)
            raise ContainerFailure(failures.IMAGE_NEVER_PULL, message)
        key = f"{pod['metadata']['uid']}_{name}"
        wait = self._backoff.remaining(key, self._failed.get(key, (0.0, ""))[0], time.time())
        if wait:
            message = f'Back-off pulling image "{name}"'
            tell("Normal", "BackOff", message)
            why = self._failed[key][1]
            raise ContainerFailure(failures.IMAGE_PULL_BACKOFF, f"{message}: {failures.IMAGE_PULL}: {why}", wait)
        return await self._pull(name, key, credentials(name, secrets), tell)

    async def _status(self, name: str, tell: Tell) -> Image | None:
        try:
            return await self._images.image_status(name)
        except RuntimeServiceError as error:
            message = f'Failed to inspect image "{name}": {error}'
            tell("Warning", "InspectFailed", message)
            raise ContainerFailure(failures.IMAGE_INSPECT, message) from None

    async def _pull(self, name: str, key: str, login: dict[str, str] | None, tell: Tell) -> Image:
        tell("Normal", "Pulling", f'Pulling image "{name}"')
        asked = time.monotonic()
        lock = self._locks.setdefault(name, asyncio.Lock())
        try:
            async with lock:
                began = time.monotonic()
                await self._images.pull_image(name, login)
                image = await self._images.image_status(name)
                took, waited = time.monotonic() - began, time.monotonic() - asked
            if image is None:
                raise RuntimeServiceError("the image is not there after it was pulled")
        except RuntimeServiceError as error:
            now = time.time()
            self._backoff.next(key, now, now)
            self._failed[key] = now, str(error)
            tell("Warning", "Failed", f'Failed to pull image "{name}": {error}')
            raise ContainerFailure(failures.IMAGE_PULL, str(error), _SHOWN_SECONDS) from None
        self.forget(key)
        tell(
            "Normal",
            "Pulled",
            f'Successfully pulled image "{name}" in {_seconds(took)} ({_seconds(waited)} including waiting). '
            f"Image size: {image.size} bytes.",
        )
        return image

    def forget(self, prefix: str) -> None:
        """Of a pod that is gone (its uid) or an image that came."""
        self._backoff.forget(prefix)
        for key in [k for k in self._failed if k.startswith(prefix)]:
            del self._failed[key]


def _seconds(duration: float) -> str:
    return f"{duration * 1000:.0f}ms" if duration < 1 else f"{duration:.3f}".rstrip("0").rstrip(".") + "s"
