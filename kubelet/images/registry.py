"""The OCI distribution protocol, pulling side: manifests and blobs over HTTP, with token or basic authentication.

Specification: opencontainers/distribution-spec; tokens: distribution/distribution docs/spec/auth.
"""

import hashlib
import os
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from kubelet.cri.api import ImageNotFound, RuntimeServiceError
from kubelet.images.reference import Reference

if TYPE_CHECKING:
    import httpx

INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "ppc64le": "ppc64le", "s390x": "s390x", "riscv64": "riscv64"}
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_MAX_MANIFEST = 4 << 20
_TRIES = 5


class DigestMismatch(RuntimeServiceError):
    """What came is not what was asked for."""


def verify(data: bytes, digest: str, what: str) -> None:
    got = "sha256:" + hashlib.sha256(data).hexdigest()
    if got != digest:
        raise DigestMismatch(f"{what}: its content has digest {got}, not {digest}")


def choose(index: dict[str, Any], machine: str = platform.machine()) -> str:
    """The digest of the manifest for this machine; raises :class:`ImageNotFound` when there is none."""
    wanted = _ARCHITECTURES.get(machine, machine)
    offered = []
    for entry in index.get("manifests", []):
        where = entry.get("platform", {})
        offered.append(f"{where.get('os')}/{where.get('architecture')}")
        if where.get("os") == "linux" and where.get("architecture") == wanted:
            return entry["digest"]
    raise ImageNotFound(
        f"no match for platform linux/{wanted} in manifest: it offers {', '.join(offered) or 'nothing'}"
    )


class Registry:
    """One pull's conversation with the registry of ``reference``; use as an asynchronous context manager."""

    def __init__(self, reference: Reference, auth: dict[str, str] | None) -> None:
        self._reference = reference
        self._auth = auth or {}
        self._authorization = ""
        self._client: httpx.AsyncClient | None = None
        self._base = ""

    async def __aenter__(self) -> "Registry":
        import httpx  # 60 ms, for the few moments in which a node pulls

        host = self._reference.host
        schemes = ("https", "http") if self._reference.local else ("https",)
        timeout = httpx.Timeout(30.0, connect=10.0)
        failure: Exception | None = None
        for scheme in schemes:
            # As Docker does with registries of this machine: any certificate, or none at all.
            client = httpx.AsyncClient(follow_redirects=True, timeout=timeout, verify=not self._reference.local)
            try:
                await client.get(f"{scheme}://{host}/v2/")
            except httpx.TransportError as e:
                failure = e
                await client.aclose()
                continue
            self._client, self._base = client, f"{scheme}://{host}/v2/{self._reference.repository}"
            return self
        raise RuntimeServiceError(f"failed to do request to registry {host}: {failure or 'no answer'}")

    async def __aexit__(self, *_: object) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def manifest(self, reference: str) -> tuple[str, bytes, str]:
        """``(digest, the manifest's bytes, its media type)`` of a tag or digest."""
        response = await self._get(f"{self._base}/manifests/{reference}", {"Accept": ", ".join((*INDEXES, *MANIFESTS))})
        try:
            self._check(response, f"{self._reference}: not found")
            data = b""
            async for chunk in response.aiter_bytes():
                data += chunk
                if len(data) > _MAX_MANIFEST:
                    raise RuntimeServiceError(f"{self._reference}: its manifest is larger than {_MAX_MANIFEST} bytes")
        finally:
            await response.aclose()
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        if reference.startswith("sha256:"):
            verify(data, reference, f"manifest of {self._reference}")
        kind = response.headers.get("content-type", "").partition(";")[0]
        if kind not in (*INDEXES, *MANIFESTS):
            kind = orjson.loads(data).get("mediaType", kind)
        if kind not in (*INDEXES, *MANIFESTS):
            raise RuntimeServiceError(f"{self._reference}: manifests of type {kind!r} are not supported")
        return digest, data, kind

    async def blob(self, digest: str, size: int, file: Path) -> None:
        """Download to ``file``, going on where an earlier attempt ended; verified before it gets its name."""
        import httpx

        partial = file.with_name(file.name + ".partial")
        for attempt in range(1, _TRIES + 1):
            try:
                await self._download(digest, partial)
                break
            except httpx.TransportError as e:
                if attempt == _TRIES:
                    raise RuntimeServiceError(f"download of {digest} from {self._reference.host} broke off: {e}") from e
        hasher = hashlib.sha256()
        with open(partial, "rb") as source:
            while chunk := source.read(1 << 20):
                hasher.update(chunk)
        got = "sha256:" + hasher.hexdigest()
        if got != digest:
            partial.unlink()
            raise DigestMismatch(f"layer of {self._reference}: its content has digest {got}, not {digest}")
        os.replace(partial, file)

    async def _download(self, digest: str, partial: Path) -> None:
        have = partial.stat().st_size if partial.exists() else 0
        headers = {"Range": f"bytes={have}-"} if have else {}
        response = await self._get(f"{self._base}/blobs/{digest}", headers)
        try:
            if response.status_code == 416:  # all of it is here
                return
            self._check(response, f"{self._reference}: blob {digest} is not in the registry")
            with open(partial, "ab" if response.status_code == 206 else "wb") as target:
                async for chunk in response.aiter_raw():
                    target.write(chunk)
        finally:
            await response.aclose()

    async def _get(self, url: str, headers: dict[str, str]) -> "httpx.Response":
        import httpx

        assert self._client is not None
        response: httpx.Response | None = None
        for _attempt in range(2):
            # Credentials are for the registry alone: httpx drops them when it follows a redirect to another host.
            extra = {"Authorization": self._authorization} if self._authorization else {}
            request = self._client.build_request("GET", url, headers={**headers, **extra})
            try:
                response = await self._client.send(request, stream=True)
            except httpx.TransportError as e:
                if headers.get("Accept"):
                    raise RuntimeServiceError(f"failed to do request to {self._reference.host}: {e}") from e
                raise
            if response.status_code != 401 or not await self._authenticate(response):
                break
        assert response is not None
        return response

    async def _authenticate(self, refused: "httpx.Response") -> bool:
        """Answer the challenge; whether it is worth asking again."""
        await refused.aclose()
        assert self._client is not None
        scheme, _, parameters = refused.headers.get("www-authenticate", "").partition(" ")
        user, password = self._auth.get("username", ""), self._auth.get("password", "")
        if scheme.lower() == "basic" and user and not self._authorization:
            import base64

            self._authorization = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
            return True
        if scheme.lower() != "bearer":
            return False
        challenge = dict(_CHALLENGE.findall(parameters))
        if "realm" not in challenge:
            return False
        scope = challenge.get("scope") or f"repository:{self._reference.repository}:pull"
        query = {"scope": scope} | ({"service": challenge["service"]} if "service" in challenge else {})
        answer = await self._client.get(challenge["realm"], params=query, auth=(user, password) if user else None)
        if answer.status_code != 200:
            raise RuntimeServiceError(
                f"failed to authorize for {self._reference.name}: {challenge['realm']} answers {answer.status_code}"
            )
        body = orjson.loads(answer.content)
        self._authorization = "Bearer " + (body.get("token") or body.get("access_token") or "")
        return True

    def _check(self, response: "httpx.Response", missing: str) -> None:
        if response.status_code == 404:
            raise ImageNotFound(missing)
        if response.status_code in (401, 403):
            raise RuntimeServiceError(
                f"pull access denied for {self._reference.name}: the repository does not exist or needs other credentials"
            )
        if response.status_code >= 400:
            raise RuntimeServiceError(
                f"{self._reference.host} answers {response.status_code} to {response.request.url}"
            )
