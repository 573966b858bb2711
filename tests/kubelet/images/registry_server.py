"""Images built by hand, and a registry of our own that misbehaves on request."""

import asyncio
import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, field
from typing import Any

OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tar_of(*entries: tuple[str, Any]) -> bytes:
    """``(name, bytes)`` is a file, ``(name, None)`` a directory, ``(name, TarInfo)`` anything."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in entries:
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.name = name
            data = None
            if content is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            elif isinstance(content, bytes):
                info.mode = info.mode if info.mode != 0o644 else 0o755
                info.size, data = len(content), io.BytesIO(content)
            archive.addfile(info, data)
    return buffer.getvalue()


@dataclass
class BuiltImage:
    manifest: bytes
    blobs: dict[str, bytes]
    config_digest: str
    layer_digests: list[str]
    media_type: str = OCI_MANIFEST


def build(layers: list[bytes], config: dict[str, Any] | None = None, *, compress: bool = True) -> BuiltImage:
    packed = [gzip.compress(layer, mtime=0) if compress else layer for layer in layers]
    document = {
        "architecture": "amd64",
        "os": "linux",
        "config": config or {},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]},
    }
    described = json.dumps(document).encode()
    kind = OCI_LAYER + ("+gzip" if compress else "")
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": OCI_CONFIG, "digest": digest_of(described), "size": len(described)},
            "layers": [{"mediaType": kind, "digest": digest_of(data), "size": len(data)} for data in packed],
        }
    ).encode()
    blobs = {digest_of(data): data for data in [described, *packed]}
    return BuiltImage(manifest, blobs, digest_of(described), [digest_of(data) for data in packed])


@dataclass
class FakeRegistry:
    """``{(repository, tag or digest): (media type, manifest)}`` and blobs over plain HTTP."""

    manifests: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    token: str = ""  # when set, a bearer token that ``user:password`` buys at /token
    credentials: str = ""  # base64 of user:password
    break_after: int = 0  # the first answer with a blob ends after so many bytes
    requests: list[str] = field(default_factory=list)
    port: int = 0
    _server: asyncio.Server | None = None

    def add(self, repository: str, tag: str, image: BuiltImage) -> None:
        for name in (tag, digest_of(image.manifest)):
            self.manifests[repository, name] = (image.media_type, image.manifest)
        self.blobs |= image.blobs

    async def __aenter__(self) -> "FakeRegistry":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            first = await reader.readexactly(1)
            if first == b"\x16":  # a TLS greeting: no such thing here
                return
            line, *rest = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {k.lower(): v for k, _, v in (entry.partition(": ") for entry in rest if entry)}
            target = line.split()[1]
            self.requests.append(target)
            status, extra, body, length = self._answer(target, headers)
            head = "".join(f"{name}: {value}\r\n" for name, value in extra.items())
            writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n{head}\r\n".encode())
            writer.write(body)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):  # the client left
            pass
        finally:
            writer.close()

    def _answer(self, target: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes, int]:
        path = target.partition("?")[0]
        if path == "/token":
            if headers.get("authorization") != f"Basic {self.credentials}":
                return 401, {}, b"", 0
            body = json.dumps({"token": self.token}).encode()
            return 200, {}, body, len(body)
        if self.token and headers.get("authorization") != f"Bearer {self.token}":
            realm = f'Bearer realm="http://127.0.0.1:{self.port}/token",service="fake",scope="repository:app:pull"'
            return 401, {"WWW-Authenticate": realm}, b"", 0
        if path == "/v2/":
            return 200, {}, b"{}", 2
        repository, kind, name = path.removeprefix("/v2/").rsplit("/", 2)
        if kind == "manifests" and (repository, name) in self.manifests:
            media_type, body = self.manifests[repository, name]
            return 200, {"Content-Type": media_type}, body, len(body)
        if kind == "blobs" and name in self.blobs:
            return self._blob(self.blobs[name], headers)
        return 404, {}, b"{}", 2

    def _blob(self, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes, int]:
        start = int(headers.get("range", "bytes=0-")[6:-1])
        part, status = body[start:], 206 if start else 200
        if self.break_after and len(part) > self.break_after:
            cut, self.break_after = part[: self.break_after], 0
            return status, {}, cut, len(part)
        return status, {}, part, len(part)
