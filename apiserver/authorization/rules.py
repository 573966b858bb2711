"""One rule of a role: what it allows, whether rules cover others, and how they read in a refusal.

Pure functions. The meaning of ``*``, ``*/scale``, ``resourceNames`` and a trailing ``*`` in URLs is upstream's.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from apimachinery.errors import quote

Object = dict[str, Any]


_NO_NAMES: list[tuple[str, ...]] = [()]


class Rule(NamedTuple):
    """A ``PolicyRule``: about resources, or about URLs."""

    verbs: tuple[str, ...]
    groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()

    @classmethod
    def of(cls, obj: Object) -> "Rule":
        """From the JSON form."""
        fields = ("verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs")
        return cls(*(tuple(obj.get(field) or ()) for field in fields))

    def json(self) -> Object:
        """The JSON form; empty fields are left out, verbs are always there."""
        pairs = (("apiGroups", self.groups), ("resources", self.resources), ("resourceNames", self.names))
        obj: Object = {field: list(values) for field, values in pairs if values}
        if self.urls:
            obj["nonResourceURLs"] = list(self.urls)
        obj["verbs"] = list(self.verbs)
        return obj

    def speaks_of(self, verb: str, group: str, resource: str, subresource: str) -> bool:
        """Whether it allows the verb on some object of the resource: all, or those that it names."""
        verbs, groups = self.verbs, self.groups
        if verb not in verbs and "*" not in verbs:
            return False
        if group not in groups and "*" not in groups:
            return False
        resources = self.resources
        if "*" in resources:
            return True
        if not subresource:
            return resource in resources
        return f"{resource}/{subresource}" in resources or f"*/{subresource}" in resources

    def allows(self, verb: str, group: str, resource: str, subresource: str, name: str) -> bool:
        named = not self.names or name in self.names
        return named and self.speaks_of(verb, group, resource, subresource)

    def allows_path(self, verb: str, path: str) -> bool:
        if verb not in self.verbs and "*" not in self.verbs:
            return False
        return any(_url_covers(url, path) for url in self.urls)


def _url_covers(url: str, path: str) -> bool:
    return url in ("*", path) or (url.endswith("*") and path.startswith(url.rstrip("*")))


# --- escalation: whether somebody holds what a role grants ---


def missing(held: Iterable[Rule], wanted: Iterable[Rule]) -> list[Rule]:
    """The smallest parts of ``wanted`` that no single rule of ``held`` covers."""
    held = list(held)
    return [part for rule in wanted for part in _parts(rule) if not any(_covers(own, part) for own in held)]


def _parts(rule: Rule) -> list[Rule]:
    """One verb on one resource of one group (on one name) each, and one verb on one URL each."""
    found = [
        Rule((verb,), (group,), (resource,), names)
        for group in rule.groups
        for resource in rule.resources
        for verb in rule.verbs
        for names in [(n,) for n in rule.names] or _NO_NAMES
    ]
    return found + [Rule((verb,), urls=(url,)) for url in rule.urls for verb in rule.verbs]


def _covers(own: Rule, part: Rule) -> bool:
    verb = part.verbs[0]
    if verb not in own.verbs and "*" not in own.verbs:
        return False
    if part.urls:
        return any(_url_covers(url, part.urls[0]) for url in own.urls)
    if part.groups[0] not in own.groups and "*" not in own.groups:
        return False
    if own.names and (not part.names or part.names[0] not in own.names):
        return False
    resource = part.resources[0]
    _, slash, subresource = resource.partition("/")
    return "*" in own.resources or resource in own.resources or (bool(slash) and f"*/{subresource}" in own.resources)


def compact(parts: Iterable[Rule]) -> list[Rule]:
    """Parts that differ in their verb only become one; everything else stays as it is."""
    merged: dict[Rule, list[str]] = {}
    alone: list[Rule] = []
    for part in parts:
        if part.urls:
            alone.append(part)
        else:
            merged.setdefault(part._replace(verbs=()), []).extend(part.verbs)
    return alone + [rule._replace(verbs=tuple(dict.fromkeys(verbs))) for rule, verbs in merged.items()]


def describe(rule: Rule) -> str:
    """``{APIGroups:["apps"], Resources:["deployments"], Verbs:["get" "list"]}``."""
    pairs = (
        ("APIGroups", rule.groups),
        ("Resources", rule.resources),
        ("NonResourceURLs", rule.urls),
        ("ResourceNames", rule.names),
        ("Verbs", rule.verbs),
    )
    return "{" + ", ".join(f"{label}:{quoted(values)}" for label, values in pairs if values) + "}"


def quoted(values: Sequence[str]) -> str:
    """A list as Go's ``%q`` prints it."""
    return "[" + " ".join(quote(v) for v in values) + "]"
