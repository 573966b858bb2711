"""Who asks."""

from collections.abc import Mapping, Sequence

ANONYMOUS = "system:anonymous"
AUTHENTICATED_GROUP = "system:authenticated"
UNAUTHENTICATED_GROUP = "system:unauthenticated"
MASTERS_GROUP = "system:masters"


class User:
    """A name, its groups and whatever else the authenticator knows."""

    __slots__ = ("extra", "groups", "name", "uid")

    def __init__(
        self,
        name: str,
        groups: Sequence[str] = (),
        uid: str = "",
        extra: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.name = name
        self.groups = tuple(groups)
        self.uid = uid
        self.extra = dict(extra or {})

    def __repr__(self) -> str:
        return f"User({self.name!r}, {self.groups!r})"
