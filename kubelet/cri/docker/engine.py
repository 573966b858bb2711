"""Calls to the engine by the ``docker`` package, which is synchronous: in a few threads of our own."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kubelet.cri.api import ImageNotFound, NotFound, RuntimeServiceError

_THREADS = 8
_TIMEOUT_SECONDS = 120


class Engine:
    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.version = ""
        self.api_version = ""
        self._api: Any = None
        self._threads: ThreadPoolExecutor | None = None

    async def start(self) -> None:
        """Raises :class:`RuntimeServiceError` when nothing answers."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="docker")
        self._api = await self._in_thread(self._connect)
        self.version = (await self.call("version"))["Version"]
        self.api_version = self._api.api_version

    def _connect(self) -> Any:
        import docker  # 0.2 s and 20 MB with requests, for kubelets that drive Docker only

        try:
            return docker.APIClient(
                base_url=self.endpoint, version="auto", timeout=_TIMEOUT_SECONDS, max_pool_size=_THREADS
            )
        except docker.errors.DockerException as e:
            raise RuntimeServiceError(f"the Docker engine at {self.endpoint} does not answer: {e}") from e

    async def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        if self._threads is None:
            raise RuntimeServiceError("the connection to the Docker engine is not open")
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    async def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        """``docker.APIClient.<method>``, its errors as those of CRI."""
        return await self._in_thread(self._call, method, arguments, options)

    def _call(self, method: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        import docker
        import requests

        try:
            return getattr(self._api, method)(*arguments, **options)
        except docker.errors.ImageNotFound as e:
            raise ImageNotFound(str(e.explanation)) from e
        except docker.errors.NotFound as e:
            raise NotFound(str(e.explanation)) from e
        except docker.errors.APIError as e:
            raise RuntimeServiceError(str(e.explanation or e)) from e
        except (docker.errors.DockerException, requests.RequestException) as e:
            raise RuntimeServiceError(f"the Docker engine at {self.endpoint} does not answer: {e}") from e

    async def pull(self, repository: str, tag: str, auth: dict[str, str] | None) -> None:
        await self._in_thread(self._pull, repository, tag, auth)

    def _pull(self, repository: str, tag: str, auth: dict[str, str] | None) -> None:
        options = {"auth_config": auth} if auth else {}
        for line in self._call("pull", (repository,), {"tag": tag, "stream": True, "decode": True, **options}):
            if "error" in line:
                text = line["error"]
                if "not found" in text or "manifest unknown" in text:
                    raise ImageNotFound(text)
                raise RuntimeServiceError(text)

    def close(self) -> None:
        if self._api is not None:
            self._api.close()
            self._api = None
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None
