"""Requests that are nearly right: about a kind that exists, with something in them that does not belong there.

One seed gives one sequence of requests. Objects are drawn from the kind's own schema, so that most of what is damaged would
have been taken, and the damage gets as far as defaults, validation, patches and owners.
"""

import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson
import yaml

from apimachinery.resources import RESOURCES, Resource
from apimachinery.schema import schema_for
from tests.apimachinery.objects import random_object
from tests.apiserver import manifests
from tests.apiserver.fuzz.wire import Answer, request

NAMESPACE = "fuzzed"
_JUNK: list[Any] = [
    None, True, 0, -1, 3.5, 1 << 63, -(1 << 63), 1e300, "", "x" * 300, "\u0000", "ä/..%2f", "1e99999", "9" * 5000, "-1Gi", "\u2028",
    [], {}, [None], {"": {}}, [[]], {"a": {"b": []}}, {"$patch": "delete"}, {"$patch": "replace"}, {"$retainKeys": [1]},
    "0001-01-01T00:00:00Z", "2024-02-30T00:00:00Z", "::1/129", "*/0 * * * *", "a=b,", "{}", "[" * 300,
]  # fmt: skip
_NAMES = (
    *[b"a", b"web"] * 12,
    b"-",
    b"%00",
    b"a%2fb",
    b"..",
    b"%C3%84",
    b"%ff",
    b"a" * 300,
    b"a:b:c",
    b"a%20b",
    b"%25",
)
_NAMESPACES = (*[NAMESPACE.encode()] * 40, b"missing", b"%00", b"..", b"%ff")
_BODIES = (
    b"", b"{", b"kind: [", b"null", b"[]", b'"x"', b"\xff\xfe", b"k8s\0\x0a\xff", b"[" * 5000, b"&a [*a]", b"0", b"\x1f\x8b\x08", b"{}",
    b'{"a":' * 300 + b"1" + b"}" * 300, b"- " * 3000, b'{"a":1,"a":' + b"9" * 5000 + b"}", b'{"\\ud800":1}', b"a: *b", b"---\n---\n",
)  # fmt: skip
_QUERIES = (
    b"", b"", b"", b"limit=-1", b"limit=x", b"limit=1", b"watch=1&timeoutSeconds=x", b"watch=1&timeoutSeconds=1&resourceVersion=zz",
    b"resourceVersion=-5", b"resourceVersion=" + b"9" * 5000, b"continue=%00", b"continue=eyJ2IjoxfQ", b"labelSelector=a%20in%20(",
    b"labelSelector=%F0%9F", b"labelSelector=" + b"a%2C" * 500, b"labelSelector=!!a", b"fieldSelector=a", b"fieldSelector=metadata.name%3D",
    b"fieldSelector=metadata.name%3Da%2Cspec.x%21%3D1", b"dryRun=x", b"dryRun=All", b"fieldValidation=x", b"fieldValidation=Strict",
    b"fieldManager=" + b"x" * 200, b"fieldManager=%00", b"gracePeriodSeconds=x", b"gracePeriodSeconds=-1", b"propagationPolicy=x",
    b"orphanDependents=1&propagationPolicy=Orphan", b"pretty=1", b"includeObject=x", b"timeout=x", b"timeout=-1s", b"force=maybe",
    b"tailLines=-1", b"sinceTime=x", b"timeoutSeconds=99999999999999999999", b"resourceVersionMatch=Exact", b"%", b"a;b", b"&&=&",
    b"sendInitialEvents=true&watch=1&timeoutSeconds=1", b"&".join(b"a%d=%%" % i for i in range(300)),
)  # fmt: skip
_ACCEPTS = (
    b"", b"*/*", b"application/json", b"application/json;as=Table;g=meta.k8s.io;v=v1", b"application/yaml", b"text/html", b";;;", b"\xff",
    b"application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", b"application/json;as=Table;q=x", b"a/b;q=" + b"9" * 5000, b"," * 3000,
    b"application/vnd.kubernetes.protobuf", b"application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
)  # fmt: skip
_EXTRA = (
    (b"Content-Encoding", b"gzip"), (b"Accept-Encoding", b"gzip;q=x,\xff"), (b"If-None-Match", b"\xff"), (b"User-Agent", b"\xff\xfe/\x80"),
    (b"Impersonate-User", b"\xff"), (b"Impersonate-User", b"system:node:"), (b"Impersonate-Uid", b""), (b"Expect", b"100-continue"),
    (b"Authorization", b"Bearer \xff"), (b"Cookie", b"a" * 9000), (b"Transfer-Encoding", b"identity"), (b"X-Forwarded-For", b"\xff"),
    (b"Content-Type", b"\xff"), (b"Connection", b"\xff"), (b"Traceparent", b"00-0-0-0"), (b"Date", b"x"),
)  # fmt: skip
_MERGE, _JSON_PATCH, _STRATEGIC, _APPLY = (
    b"application/" + kind
    for kind in (b"merge-patch+json", b"json-patch+json", b"strategic-merge-patch+json", b"apply-patch+yaml")
)
_PROTOBUF = b"application/vnd.kubernetes.protobuf"
_TYPES = (
    b"application/json",
    b"application/yaml",
    _MERGE,
    _JSON_PATCH,
    _STRATEGIC,
    _APPLY,
    _PROTOBUF,
    b"application/cbor",
    b"text/plain",
    b"",
)
#: Proxies reach out to whatever address a damaged object names; they have tests of their own.
_NOT_FUZZED = ("proxy",)


_METHODS = [*[b"GET", b"POST", b"PUT", b"PATCH"] * 4, b"DELETE", b"DELETE", b"HEAD", b"OPTIONS", b"BREW"]


def _present() -> dict[str, Any]:
    """One of each of these is there under the names ``a`` and ``web``, for patches to be about."""
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
    deployment = manifests.deployment("web")["spec"]
    return {
        "ConfigMap": {"data": {"a": "b"}},
        "Secret": {"data": {"a": "YWJj"}},
        "Pod": manifests.pod("web"),
        "Service": manifests.service("web"),
        "ServiceAccount": {},
        "PodTemplate": {"template": manifests.pod("web")},
        "Endpoints": {"subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80, "name": "p"}]}]},
        "Deployment": {"spec": deployment},
        "ReplicaSet": {"spec": deployment},
        "StatefulSet": {"spec": deployment | {"serviceName": "web"}},
        "Role": {"rules": [rule]},
        "ClusterRole": {"rules": [rule]},
        "Lease": {"spec": {"holderIdentity": "x"}},
        "NetworkPolicy": {"spec": {"podSelector": {}, "ingress": [{"ports": [{"port": 80}]}]}},
        "PriorityClass": {"value": 1},
        "IngressClass": {"spec": {"controller": "a.b/c"}},
        "EndpointSlice": {"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"port": 80}]},
        "PodDisruptionBudget": {"spec": {"minAvailable": 1}},
        "Node": {"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}},
    }


PRESENT = _present()
_PRESENT = [r for r in RESOURCES if r.kind in PRESENT]


def objects_to_start_with() -> Iterator[tuple[str, Any]]:
    """Collection and object of all that is there."""
    for resource in _PRESENT:
        for name in ("a", "web"):
            envelope = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": name}}
            yield resource.path(NAMESPACE), PRESENT[resource.kind] | envelope


class Malformed(NamedTuple):
    method: bytes
    raw: bytes


class Source:
    """An endless supply of them."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._damage = 0.0

    def next(self) -> Malformed:
        r = self._random
        resource = r.choice(_PRESENT if r.random() < 0.5 else RESOURCES)
        method = b"PATCH" if resource.kind in PRESENT and r.random() < 0.5 else r.choice(_METHODS)
        media = r.choice(_TYPES) if r.random() < 0.1 else self._media(method)
        body = b"" if method in (b"GET", b"HEAD") else self._body(resource, media)
        query = r.choice(_QUERIES) if r.random() < 0.4 else b""
        if method == b"DELETE" and r.random() < 0.9:
            query = b"dryRun=All&" + query  # what is gone cannot be patched
        if method == b"PATCH" and media == _APPLY and r.random() < 0.8:
            query = b"fieldManager=f%d&force=%d&" % (r.randrange(3), r.randrange(2)) + query
        headers = [(b"Content-Type", media), (b"Accept", r.choice(_ACCEPTS) if r.random() < 0.1 else b"*/*")]
        if r.random() < 0.1:
            headers.append(r.choice(_EXTRA))
        return Malformed(method, request(method, self._path(resource, method) + b"?" + query, body, *headers))

    def _media(self, method: bytes) -> bytes:
        if method == b"PATCH":
            return self._random.choice([_MERGE, _JSON_PATCH, _STRATEGIC, _APPLY])
        return self._random.choice([b"application/json"] * 4 + [b"application/yaml", _PROTOBUF])

    def _path(self, resource: Resource, method: bytes) -> bytes:
        r = self._random
        path = resource.api_root.encode()
        if resource.namespaced and r.random() < 0.95:
            path += b"/namespaces/" + r.choice(_NAMESPACES)
        path += b"/" + resource.plural.encode()
        if method == b"POST" and r.random() < 0.8:
            return path
        if r.random() < 0.9:
            path += b"/" + r.choice(_NAMES)
            subresources = [s for s in resource.subresources if s not in _NOT_FUZZED]
            if subresources and r.random() < 0.4:
                path += b"/" + r.choice(subresources).encode()
        return path + (r.choice([b"/", b"/x", b"//"]) if r.random() < 0.05 else b"")

    def _body(self, resource: Resource, media: bytes) -> bytes:
        r = self._random
        if r.random() < 0.08:
            return r.choice(_BODIES)
        if media == _PROTOBUF:
            return self._protobuf(resource)
        data = self._encoded(self._operations(resource) if media == _JSON_PATCH else self._object(resource), media)
        if r.random() < 0.15:
            at = r.randrange(len(data) + 1)
            data = data[:at] + bytes([r.randrange(256)]) + data[at + r.randrange(3) :]
        return data

    def _object(self, resource: Resource) -> Any:
        r = self._random
        self._damage = r.choice([0.0, 0.002, 0.01])
        value: Any = random_object(schema_for(resource), r)
        if resource.kind in PRESENT and r.random() < 0.6:
            value = orjson.loads(orjson.dumps(PRESENT[resource.kind]))
        value |= {"apiVersion": resource.api_version, "kind": resource.kind}
        metadata = value.get("metadata")
        if isinstance(metadata, dict) and r.random() < 0.8:
            # So that it gets past the first check, and now and then is what it claims to be.
            for server_made in (
                "namespace",
                "resourceVersion",
                "uid",
                "deletionTimestamp",
                "finalizers",
                "generateName",
            ):
                metadata.pop(server_made, None)
            metadata["name"] = r.choice(["a", "web"])
        return self._damaged(value)

    def _damaged(self, node: Any, depth: int = 0) -> Any:
        r = self._random
        if r.random() < self._damage * (1 + depth):
            return r.choice(_JUNK)
        if isinstance(node, dict):
            out = {key: self._damaged(value, depth + 1) for key, value in node.items()}
            if r.random() < 2 * self._damage:
                out[r.choice(["", "x", "metadata", "spec", "kind", "status", "$patch", "$setElementOrder/ports"])] = (
                    r.choice(_JUNK)
                )
            return out
        if isinstance(node, list):
            return [self._damaged(value, depth + 1) for value in node] * r.choice([1, 1, 1, 2])
        return node

    def _operations(self, resource: Resource) -> Any:
        r = self._random
        value = self._object(resource)
        operations: list[Any] = []
        for _ in range(r.randrange(1, 5)):
            operation = {
                "op": r.choice(["add", "replace", "remove", "move", "copy", "test", "x"]),
                "path": self._pointer(value),
            }
            if r.random() < 0.4:
                operation["from"] = self._pointer(value)
            if r.random() < 0.8:
                operation["value"] = r.choice([*_JUNK, value, value.get("spec") if isinstance(value, dict) else 1])
            operations.append(operation)
        return self._damaged(operations)

    def _pointer(self, value: Any) -> str:
        r = self._random
        pointer = ""
        while r.random() < 0.75:
            if isinstance(value, dict) and value:
                key = r.choice(list(value))
                pointer, value = f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}", value[key]
            else:
                pointer += r.choice(["/0", "/-", "/-1", "/~", "/x", "/" + "9" * 5000])
                break
        return pointer

    def _encoded(self, value: Any, media: bytes) -> bytes:
        if media in (b"application/yaml", _APPLY) and self._random.random() < 0.5:
            return yaml.dump(value, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper)).encode()
        return orjson.dumps(value)

    def _protobuf(self, resource: Resource) -> bytes:
        """An envelope that names the kind, around bytes that are fields of some number and of any type."""
        r = self._random
        meta = _field(1, resource.api_version.encode()) + _field(2, resource.kind.encode())
        return b"k8s\0" + _field(1, meta) + _field(2, self._fields(4)) + (r.randbytes(5) if r.random() < 0.2 else b"")

    def _fields(self, depth: int) -> bytes:
        r = self._random
        out = b""
        for _ in range(r.randrange(1, 4)):
            number = r.randrange(1, 20)
            kind = r.random()
            if kind < 0.6 and depth:
                out += _field(number, self._fields(depth - 1))
            elif kind < 0.8:
                out += _field(number, r.choice([b"a", b"web", b"\xff", b"", r.randbytes(8)]))
            elif kind < 0.95:
                out += bytes([number << 3 & 0x7F]) + b"\xff" * r.randrange(11) + b"\x01"
            else:
                out += r.randbytes(6)
        return out


def _field(number: int, data: bytes) -> bytes:
    size, head = len(data), b""
    while size > 0x7F:
        head, size = head + bytes([size & 0x7F | 0x80]), size >> 7
    tag = number << 3 | 2
    start = bytes([tag]) if tag < 0x80 else bytes([tag & 0x7F | 0x80, tag >> 7])
    return start + head + bytes([size]) + data


#: Upstream answers 500 to these as well.
_UPSTREAMS = (
    b"failed to create typed ", b"failed to decode managed fields", b"failed to merge config",
    b"failed to convert new object", b"without impersonating a user",
    b"required revision is a future revision",
)  # fmt: skip


def is_the_servers_fault(answer: Answer) -> bool:
    """Whether it is a 5xx that upstream would not have given."""
    return (
        answer.status >= 500
        and answer.status not in (501, 503, 504)
        and not any(text in answer.body for text in _UPSTREAMS)
    )
