"""Container logs are rotated when they grow: ``0.log`` becomes ``0.log.20261121-042305``, the oldest beyond the limit go."""

import asyncio
import logging
import time
from pathlib import Path

from kubelet.cri.api import RuntimeService, RuntimeServiceError
from kubelet.pods.runtimecache import RuntimeCache

log = logging.getLogger(__name__)

_CHECK_SECONDS = 10.0


def rotated(path: Path) -> list[Path]:
    """The older files of one log, the oldest first."""
    return sorted(p for p in path.parent.glob(f"{path.name}.*") if not p.name.endswith(".tmp"))


class LogRotation:
    def __init__(self, runtime: RuntimeService, cache: RuntimeCache, max_size: int, max_files: int) -> None:
        self._runtime, self._cache = runtime, cache
        self._max_size, self._max_files = max_size, max_files

    async def run(self) -> None:
        """Never returns."""
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            await self.check()

    async def check(self, suffix: str = "") -> None:
        """Look at every log once; ``suffix`` names what is put aside (the time by default)."""
        for container in self._cache.running():
            if container.log_path:
                await self._check(container.id, Path(container.log_path), suffix or time.strftime("%Y%m%d-%H%M%S"))

    async def _check(self, container_id: str, path: Path, suffix: str) -> None:
        try:
            if path.stat().st_size < self._max_size:
                return
        except FileNotFoundError:
            return
        older = rotated(path)
        for surplus in older[: max(0, len(older) - (self._max_files - 2))]:
            surplus.unlink(missing_ok=True)
        aside = path.with_name(f"{path.name}.{suffix}")
        path.rename(aside)
        try:
            await self._runtime.reopen_container_log(container_id)
        except RuntimeServiceError as error:
            log.warning("log of container %s not rotated: %s", container_id[:12], error)
            if not path.exists():
                aside.rename(path)
