"""What the header block of a request means: which method, how long it may take, and what else the caller says."""

from collections.abc import Mapping
from types import MappingProxyType

from etcd_raft.grpc.headers import Headers
from etcd_raft.grpc.status import parse_timeout

# RFC 9113, 8.2.2: these belong to one connection of HTTP/1.1 and make a request malformed.
_OF_CONNECTION = frozenset({"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"})
_PSEUDO = frozenset({":method", ":scheme", ":path", ":authority"})
_RESERVED = frozenset({"content-type", "te", "user-agent", "grpc-timeout", "grpc-encoding", "grpc-accept-encoding"})


class RequestHead:
    """Made once for a block that repeats, so it must not be changed. ``malformed`` says what is wrong with it as HTTP/2."""

    __slots__ = (
        "authority",
        "content_type",
        "encoding",
        "http_method",
        "malformed",
        "metadata",
        "path",
        "timeout",
        "timeout_text",
    )

    def __init__(self, headers: Headers) -> None:
        pseudo: dict[str, str] = {}
        fields: dict[str, str] = {}
        self.malformed = ""
        for name, value in headers:
            if name.startswith(":"):
                if name not in _PSEUDO or name in pseudo or fields:
                    self.malformed = f"a misplaced or unknown {name}"
                pseudo[name] = value
            elif name in _OF_CONNECTION or name != name.lower() or (name == "te" and value != "trailers"):
                self.malformed = f"the header {name}: {value}"
            else:
                fields[name] = f"{fields[name]},{value}" if name in fields else value
        if not self.malformed and not (":method" in pseudo and ":scheme" in pseudo and pseudo.get(":path")):
            self.malformed = "no method, scheme or path"
        self.http_method = pseudo.get(":method", "")
        self.path = pseudo.get(":path", "")
        self.authority = pseudo.get(":authority", "")
        self.content_type = fields.get("content-type", "")
        self.encoding = fields.get("grpc-encoding", "identity")
        self.timeout_text = fields.get("grpc-timeout")
        self.timeout = parse_timeout(self.timeout_text) if self.timeout_text is not None else None
        self.metadata: Mapping[str, str] = MappingProxyType({k: v for k, v in fields.items() if k not in _RESERVED})

    @property
    def is_grpc(self) -> bool:
        return self.content_type.startswith("application/grpc") and self.content_type[16:17] in ("", "+", ";")
