"""The chain: first every plugin may change the object, later, when it is complete, every plugin may refuse it."""

from typing import Any

from apimachinery import errors
from apimachinery.resources import Resource
from apiserver.authentication.user import User

Object = dict[str, Any]


class Attributes:
    """One operation under admission. ``operation`` is CREATE, UPDATE, DELETE or CONNECT; ``old`` what is there now."""

    __slots__ = (
        "dry_run", "name", "namespace", "obj", "old", "operation", "resource", "subresource", "user", "warnings",
    )  # fmt: skip

    def __init__(
        self,
        operation: str,
        resource: Resource,
        obj: Object | None,
        old: Object | None,
        user: User,
        *,
        namespace: str = "",
        name: str = "",
        subresource: str = "",
        dry_run: bool = False,
        warnings: list[str] | None = None,
    ) -> None:
        self.operation = operation
        self.resource = resource
        self.obj = obj
        self.old = old
        self.user = user
        self.namespace = namespace
        self.name = name
        self.subresource = subresource
        self.dry_run = dry_run
        self.warnings: list[str] = [] if warnings is None else warnings

    @property
    def what(self) -> str:
        """``pods`` or ``pods/binding``."""
        return f"{self.resource.plural}/{self.subresource}" if self.subresource else self.resource.plural

    def forbidden(self, why: str) -> errors.StatusError:
        """The refusal of this operation. A name that is yet to be generated is given as far as it is known."""
        metadata = (self.obj or {}).get("metadata") or {}
        name = self.name or metadata.get("name") or metadata.get("generateName") or "Unknown"
        return errors.forbidden(self.resource, name, why)


class Plugin:
    """One rule. ``handles`` names the operations it wants to see; both methods may raise ``StatusError``."""

    handles: frozenset[str] = frozenset({"CREATE", "UPDATE"})

    async def admit(self, attributes: Attributes) -> None:
        """May change ``attributes.obj``."""

    async def validate(self, attributes: Attributes) -> None:
        """Only looks."""


class Chain:
    """The plugins in order."""

    def __init__(self, plugins: list[Plugin]) -> None:
        self._admit: dict[str, list[Plugin]] = {}
        self._validate: dict[str, list[Plugin]] = {}
        for operation in ("CREATE", "UPDATE", "DELETE", "CONNECT"):
            handling = [p for p in plugins if operation in p.handles]
            self._admit[operation] = [p for p in handling if type(p).admit is not Plugin.admit]
            self._validate[operation] = [p for p in handling if type(p).validate is not Plugin.validate]

    async def admit(self, attributes: Attributes) -> None:
        for plugin in self._admit[attributes.operation]:
            await plugin.admit(attributes)

    async def validate(self, attributes: Attributes) -> None:
        given = attributes.name
        if not given and attributes.obj is not None:
            attributes.name = attributes.obj["metadata"].get("name") or ""  # generated meanwhile
        for plugin in self._validate[attributes.operation]:
            await plugin.validate(attributes)
        attributes.name = given
