"""Which objects a list, a watch or a deletecollection is about: namespace, name, label selector, field selector."""

from apimachinery import errors
from apimachinery.selectors import FieldSelector, FieldTerm, SelectorError, parse_fields, parse_labels
from apiserver.cacher import Entry, ResourceCache
from apiserver.cacher.entry import Attributes
from apiserver.cacher.watcher import Matches
from apiserver.registry import Strategy
from apiserver.request import Request

#: What every kubelet selects its pods by.
_INDEXED = "spec.nodeName"


class Selection:
    """``scope`` is the part of the key space (see ``ResourceCache``), ``matches`` what is left to check there, if anything.

    ``index`` is a field and value among what ``matches`` checks by which watchers can be found.
    """

    __slots__ = ("index", "matches", "scope")

    def __init__(self, scope: str, matches: Matches | None, index: tuple[str, str] | None = None) -> None:
        self.scope = scope
        self.matches = matches
        self.index = index

    def entries(self, cache: ResourceCache) -> list[Entry]:
        """In key order."""
        found = cache.entries(self.scope)
        if self.matches is None:
            return found
        matches, attributes = self.matches, cache.attributes
        return [entry for entry in found if matches(attributes(entry))]


def select(request: Request, strategy: Strategy) -> Selection:
    """From the request's path and query. Raises 400 for a selector that cannot be read or a field that is not selectable."""
    info, query = request.info, request.query
    scope = f"{info.namespace}/" if info.namespace and strategy.resource.namespaced else ""
    if info.name:
        scope += info.name  # a watch of one object by its path
    labels_text, fields_text = query.get("labelSelector"), query.get("fieldSelector")
    if not labels_text and not fields_text:
        return Selection(scope, None)
    try:
        labels = parse_labels(labels_text or "")
        fields = parse_fields(fields_text or "")
    except SelectorError as error:
        raise errors.bad_request(str(error)) from None
    scope, fields = _narrow(scope, fields.transform(strategy.check_field_label), strategy)
    if fields.empty:
        return Selection(scope, None if labels.empty else lambda a: labels.matches(a.labels))
    node = fields.exact_match(_INDEXED)
    index = (_INDEXED, node) if node is not None else None
    if labels.empty:
        return Selection(scope, lambda a: fields.matches(a.fields), index)

    def both(attributes: Attributes) -> bool:
        return fields.matches(attributes.fields) and labels.matches(attributes.labels)

    return Selection(scope, both, index)


def _narrow(scope: str, fields: FieldSelector, strategy: Strategy) -> tuple[str, FieldSelector]:
    """A selector on the namespace or the name is a smaller part of the key space; the rest has to be checked."""
    left: list[FieldTerm] = []
    for term in sorted(fields.terms, key=lambda t: t.field != "metadata.namespace"):
        plain = term.equal and term.value and "/" not in term.value
        if plain and term.field == "metadata.namespace" and not scope and strategy.resource.namespaced:
            scope = f"{term.value}/"
        elif (
            plain
            and term.field == "metadata.name"
            and scope.endswith("/") is strategy.resource.namespaced
            and (scope.endswith("/") or not scope)
        ):
            scope += term.value
        else:
            left.append(term)
    return scope, FieldSelector(tuple(left))
