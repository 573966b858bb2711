"""Documents made once, in a process of their own.

Building one takes a tenth of a second and tens of megabytes for a moment. A child process keeps both away from the API
server: the event loop stays free, the memory goes with the child, and what remains is the compressed result.

    python -m apiserver.openapi.rendered v2-protobuf | apis/apps/v1 ...     writes gzip to standard output
"""

import asyncio
import gzip
import logging
import os
import sys
from pathlib import Path

log = logging.getLogger(__name__)
V2, V2_PROTOBUF = "v2", "v2-protobuf"


class Rendered:
    """``get(name)``: gzip-compressed bytes of ``v2``, ``v2-protobuf`` or a group-version's v3 document."""

    def __init__(self) -> None:
        self._documents: dict[str, bytes] = {}
        self._lock = asyncio.Lock()

    async def get(self, name: str) -> bytes:
        """Raises RuntimeError when the child fails, whose complaint is in the log."""
        if name not in self._documents:
            async with self._lock:
                if name not in self._documents:
                    self._documents[name] = await _render(name)
        return self._documents[name]


async def _render(name: str) -> bytes:
    # Our packages may be on the path by ways that a child does not inherit.
    home = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))}
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "apiserver.openapi.rendered", name, env=environment,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, complaint = await child.communicate()
    if child.returncode:
        log.error("making the OpenAPI document %s failed: %s", name, complaint.decode(errors="replace"))
        raise RuntimeError(f"cannot make the OpenAPI document {name}")
    return out


def render(name: str) -> bytes:
    """The uncompressed document. Raises KeyError for a group-version that nobody serves."""
    import orjson

    from apiserver.openapi import documents, v2_protobuf

    if name == V2:
        return orjson.dumps(documents.v2_document())
    if name == V2_PROTOBUF:
        return v2_protobuf.encode(documents.v2_document())
    document = documents.v3_document(name)
    if document is None:
        raise KeyError(name)
    return document


def main() -> int:
    sys.stdout.buffer.write(gzip.compress(render(sys.argv[1]), 6, mtime=0))
    return 0


if __name__ == "__main__":
    sys.exit(main())
