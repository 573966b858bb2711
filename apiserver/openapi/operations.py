"""What one operation is called, takes and answers: upstream's words for a verb on a resource.

The names are a contract: generators make method names of ``operationId`` and class names of ``tags``. The query parameters'
descriptions come from ``parameters.json.gz``.
"""

import gzip
from pathlib import Path
from typing import Any, NamedTuple

import orjson

Object = dict[str, Any]
META = "io.k8s.apimachinery.pkg.apis.meta.v1."
STATUS, DELETE_OPTIONS, PATCH = META + "Status", META + "DeleteOptions", META + "Patch"
PATCH_TYPES = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)
_LIST = (
    "allowWatchBookmarks", "continue", "fieldSelector", "labelSelector", "limit", "resourceVersion",
    "resourceVersionMatch", "sendInitialEvents", "timeoutSeconds", "watch",
)  # fmt: skip
_WRITE = ("dryRun", "fieldManager", "fieldValidation")
_DELETE = ("dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy")
_STREAM = ("container", "stderr", "stdin", "stdout", "tty")
#: Query parameters by action, and by subresource where that is connected to.
PARAMETERS: dict[str, tuple[str, ...]] = {
    "list": _LIST,
    "watch": _LIST,
    "watchlist": _LIST,
    "post": _WRITE,
    "put": _WRITE,
    "patch": (*_WRITE, "force"),
    "delete": _DELETE,
    "deletecollection": (*_DELETE, *(p for p in _LIST if p not in ("allowWatchBookmarks", "watch"))),
    "exec": ("command", *_STREAM),
    "attach": _STREAM,
    "portforward": ("ports",),
    "proxy": ("path",),
    "log": (
        "container", "follow", "insecureSkipTLSVerifyBackend", "limitBytes", "previous", "sinceSeconds", "tailLines",
        "timestamps",
    ),
}  # fmt: skip
_INTEGERS = {
    "gracePeriodSeconds", "limit", "limitBytes", "ports", "sinceSeconds", "tailLines", "timeoutSeconds",
}  # fmt: skip
_BOOLEANS = {
    "allowWatchBookmarks", "follow", "force", "insecureSkipTLSVerifyBackend", "orphanDependents", "previous",
    "sendInitialEvents", "stderr", "stdin", "stdout", "timestamps", "tty", "watch",
}  # fmt: skip
_CODES = {"post": ("200", "201", "202"), "put": ("200", "201"), "patch": ("200", "201"), "delete": ("200", "202")}
_REASONS = {"200": "OK", "201": "Created", "202": "Accepted"}
#: action -> first word of the operation's name
_VERBS = {
    "get": "read", "list": "list", "put": "replace", "patch": "patch", "post": "create", "delete": "delete",
    "deletecollection": "delete", "watch": "watch", "watchlist": "watch",
}  # fmt: skip
_WATCH = "deprecated: use the 'watch' parameter with a list operation instead"


class Operation(NamedTuple):
    action: str
    """``x-kubernetes-action``; ``connect`` for what is tunnelled."""
    kind: tuple[str, str, str]
    """Group, version and kind of what is sent and answered."""
    subject: str
    """``NamespacedPodStatus``: the rest of the operation's name."""
    noun: str
    """``Pod``: what the description speaks of."""
    path_group: str
    path_version: str
    part: str = ""
    """The subresource, for the description."""
    method: str = ""
    """For ``connect``, which method."""
    body: str | None = None
    answer: str = ""
    """Names of definitions; an empty answer is a string."""

    @property
    def tag(self) -> str:
        group = _camel((self.path_group or "core").removesuffix(".k8s.io"))
        return f"{group}_{self.path_version}"

    @property
    def id(self) -> str:
        group = _title((self.path_group or "core").removesuffix(".k8s.io")) + self.path_version.title()
        if self.action == "connect":
            return f"connect{group}{self.method.title()}{self.subject}"
        collection = "Collection" if self.action == "deletecollection" else ""
        return f"{_VERBS[self.action]}{group}{collection}{self.subject}"

    @property
    def description(self) -> str:
        noun, part = self.noun, self.part
        of = f"{part} of " if part else ""
        article = "an" if noun[0] in "AEIOU" else "a"
        match self.action:
            case "get":
                return f"read {of}the specified {noun}"
            case "list":
                return f"list or watch objects of kind {noun}"
            case "put":
                return f"replace {of}the specified {noun}"
            case "patch":
                return f"partially update {of}the specified {noun}"
            case "post":
                return f"create {of}{article} {noun}"
            case "delete":
                return f"delete {article} {noun}"
            case "deletecollection":
                return f"delete collection of {noun}"
            case "watch":
                single = "filtered to a single item with the 'fieldSelector' parameter."
                return f"watch changes to an object of kind {noun}. {_WATCH}, {single}"
            case "watchlist":
                return f"watch individual changes to a list of {noun}. {_WATCH}."
            case _:
                return f"connect {self.method.upper()} requests to {of}{noun}"

    def responses(self) -> dict[str, str]:
        """Status code -> description."""
        codes = {code: _REASONS[code] for code in _CODES.get(self.action, ("200",))}
        return {**codes, "401": "Unauthorized"}


def _title(name: str) -> str:
    """``rbac.authorization`` -> ``RbacAuthorization``."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("."))


def _camel(name: str) -> str:
    titled = _title(name)
    return titled[:1].lower() + titled[1:]


def load_descriptions() -> dict[str, dict[str, str]]:
    """action -> parameter -> description; under ``path`` those of ``name``, ``namespace`` and ``pretty``."""
    packed = Path(__file__).with_name("parameters.json.gz").read_bytes()
    described: dict[str, dict[str, str]] = orjson.loads(gzip.decompress(packed))
    return described


def type_of(parameter: str) -> str:
    if parameter in _INTEGERS:
        return "integer"
    return "boolean" if parameter in _BOOLEANS else "string"
