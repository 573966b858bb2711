"""A pod's volumes on this node: set up before its containers start, kept current while they run, removed after them."""

import asyncio
import logging
import os
from pathlib import Path
from typing import Any

from apimachinery import quantity
from kubeclient import ApiError, TransportError
from kubelet.cri.api import Mount
from kubelet.layout import Layout
from kubelet.pods.containerconfig import propagation
from kubelet.pods.expansion import expand
from kubelet.pods.failures import ContainerFailure, config_error
from kubelet.references import References
from kubelet.volumes import atomic, hostpath, mounting, payload
from kubelet.volumes.payload import DEFAULT_MODE, VolumeError
from kubelet.volumes.tokens import Tokens

Object = dict[str, Any]

log = logging.getLogger(__name__)

_WRITTEN = {"configMap": "configmap", "secret": "secret", "downwardAPI": "downward-api", "projected": "projected"}


class VolumeFailure(Exception):
    """``volume`` could not be set up; the text is upstream's FailedMount message."""

    def __init__(self, volume: str, why: str) -> None:
        super().__init__(f'MountVolume.SetUp failed for volume "{volume}" : {why}')
        self.volume = volume


class PodVolumes:
    def __init__(
        self, layout: Layout, references: References, tokens: Tokens, allocatable: dict[str, str], *, root: bool
    ) -> None:
        self._layout, self._references, self._tokens = layout, references, tokens
        self._allocatable, self._root = allocatable, root
        self._written: dict[tuple[str, str], dict[str, atomic.File]] = {}

    # --- setting up ---------------------------------------------------------------------------------------------

    async def set_up(self, pod: Object) -> None:
        """Idempotent, and cheap when nothing changed. Raises VolumeFailure for the first volume that cannot be made."""
        for volume in pod["spec"].get("volumes") or []:
            try:
                await self._set_up(pod, volume)
            except (VolumeError, ContainerFailure) as error:
                raise VolumeFailure(volume["name"], str(error)) from None
            except OSError as error:
                raise VolumeFailure(volume["name"], f"{error.strerror}: {error.filename}") from None

    async def _set_up(self, pod: Object, volume: Object) -> None:
        if "hostPath" in volume:
            source = volume["hostPath"]
            hostpath.prepare(Path(source["path"]), source.get("type") or "")
        elif "emptyDir" in volume:
            self._empty_dir(pod, volume)
        elif plugin := next((p for field, p in _WRITTEN.items() if field in volume), None):
            await self._write(pod, volume, plugin)
        else:
            kinds = [key for key in volume if key != "name"]
            raise VolumeError(f"no volume plugin matched: {', '.join(kinds) or 'nothing given'}")

    def path(self, pod: Object, volume: Object) -> Path:
        uid, name = pod["metadata"]["uid"], volume["name"]
        if "hostPath" in volume:
            return Path(volume["hostPath"]["path"])
        plugin = "empty-dir" if "emptyDir" in volume else next(p for f, p in _WRITTEN.items() if f in volume)
        return self._layout.volume(uid, plugin, name)

    def _empty_dir(self, pod: Object, volume: Object) -> None:
        path, source = self.path(pod, volume), volume["emptyDir"] or {}
        if not path.exists():
            path.mkdir(mode=0o777, parents=True)
            path.chmod(0o777)
        if source.get("medium") == "Memory" and self._root and not mounting.is_mount(path):
            size = source.get("sizeLimit")
            mounting.mount_tmpfs(path, quantity.value(size) if size else 0)
        group = _fs_group(pod)
        if group is not None and path.stat().st_gid != group:
            os.chown(path, -1, group)
            path.chmod(0o2777)

    async def _write(self, pod: Object, volume: Object, plugin: str) -> None:
        files = await self._payload(pod, volume)
        key = pod["metadata"]["uid"], volume["name"]
        if self._written.get(key) == files:
            return
        path = self.path(pod, volume)
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
        atomic.write(path, files, group=_fs_group(pod))
        self._written[key] = files

    async def _payload(self, pod: Object, volume: Object) -> dict[str, atomic.File]:
        namespace = pod["metadata"]["namespace"]

        def lookup(kind: str, name: str) -> Object | None:
            return self._references.get(kind, namespace, name)

        if "configMap" in volume:
            source = volume["configMap"]
            name, mode = source["name"], source.get("defaultMode") or DEFAULT_MODE
            return payload.config_map(lookup("ConfigMap", name), source, name, mode)
        if "secret" in volume:
            source = volume["secret"]
            name, mode = source["secretName"], source.get("defaultMode") or DEFAULT_MODE
            return payload.secret(lookup("Secret", name), source, name, mode)
        if "downwardAPI" in volume:
            source = volume["downwardAPI"]
            return payload.downward_api(pod, source, source.get("defaultMode") or DEFAULT_MODE, self._allocatable)
        source = volume["projected"]
        for part in source.get("sources") or []:
            if "serviceAccountToken" in part:
                await self._ensure_token(pod, part["serviceAccountToken"])
        return payload.projected(pod, source, lookup, lambda part: self._tokens.get(pod, part), self._allocatable)

    async def _ensure_token(self, pod: Object, source: Object) -> None:
        try:
            await self._tokens.ensure(pod, source)
        except ApiError as error:
            raise VolumeError(f"failed to fetch token: {error}") from None
        except TransportError as error:
            raise VolumeError(f"failed to fetch token: {error or type(error).__name__}") from None

    # --- for containers -----------------------------------------------------------------------------------------

    def mounts(self, pod: Object, container: Object, environment: dict[str, str]) -> list[Mount]:
        """What the container mounts; raises ContainerFailure for a subPath that leads out of its volume."""
        volumes = {v["name"]: v for v in pod["spec"].get("volumes") or []}
        found = []
        for mount in container.get("volumeMounts") or []:
            volume = volumes.get(mount["name"])
            if volume is None:
                raise config_error(
                    f'cannot find volume "{mount["name"]}" to mount into container "{container["name"]}"'
                )
            source = self.path(pod, volume)
            sub = mount.get("subPath") or expand(mount.get("subPathExpr") or "", environment)
            if sub:
                source = _sub_path(source, sub, mount["name"])
            readonly = bool(mount.get("readOnly")) or any(field in volume for field in _WRITTEN)
            target = mount["mountPath"]
            target = target if target.startswith("/") else f"/{target}"
            found.append(Mount(target, str(source), readonly, propagation(mount)))
        return found

    # --- taking down --------------------------------------------------------------------------------------------

    async def tear_down(self, uid: str) -> None:
        """The pod's volumes and everything else in its directory."""
        for key in [k for k in self._written if k[0] == uid]:
            del self._written[key]
        self._tokens.forget(uid)
        path = self._layout.volumes(uid)
        if path.exists():
            await mounting.remove_tree(path)

    async def remove_pod_directory(self, uid: str) -> None:
        path = self._layout.pod(uid)
        if path.exists():
            await mounting.remove_tree(path)

    def renewal_in(self, uid: str) -> float | None:
        return self._tokens.renewal_in(uid)


def _fs_group(pod: Object) -> int | None:
    return (pod["spec"].get("securityContext") or {}).get("fsGroup")


def _sub_path(volume: Path, sub: str, name: str) -> Path:
    """The path below the volume, made when missing; a symbolic link may not lead out of the volume."""
    if sub.startswith("/") or ".." in sub.split("/"):
        raise config_error(f'subPath "{sub}" of volume "{name}" must be relative and may not contain ".."')
    root = volume.resolve()
    path = (root / sub).resolve()
    if path != root and root not in path.parents:
        raise config_error(f'failed to prepare subPath for volumeMount "{name}": it leads out of the volume')
    if not path.exists():
        path.mkdir(mode=0o750, parents=True)
        path.chmod(root.stat().st_mode & 0o777)
    return path


async def wait_for_references(references: References, pod: Object, timeout: float = 30.0) -> None:
    try:
        await asyncio.wait_for(references.wait_synced(pod), timeout)
    except TimeoutError:
        raise VolumeFailure(
            "", "failed to sync configmap or secret cache: timed out waiting for the condition"
        ) from None
