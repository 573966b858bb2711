"""What somebody wants to do, as authorization sees it, and upstream's words for refusing it."""

from dataclasses import dataclass

from apimachinery.errors import StatusError, quote
from apimachinery.selectors import parse_fields
from apiserver.authentication.user import User
from apiserver.request import Request

#: On a collection these are nothing that is served, but who may not do them learns no more than that.
_WRITES = {"PUT": "update", "PATCH": "patch"}
_COLLECTION = frozenset(("list", "watch", "deletecollection"))


@dataclass(frozen=True, slots=True)
class Action:
    """A verb on a resource, or on a ``path`` that is none. ``field_selector`` is the one that the request asks with."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    field_selector: str = ""

    def selects(self, field: str) -> str | None:
        """The value that the field selector wants of a field, when it wants exactly one."""
        if not self.field_selector:
            return None
        try:
            return parse_fields(self.field_selector).exact_match(field)
        except ValueError:
            return None  # the handler answers 400; for authorization it selects nothing


def action_of(request: Request) -> Action:
    """A list or watch of one name counts as access to that object, as upstream's ``RequestInfo`` has it."""
    info = request.info
    if not info.is_resource:
        return Action(info.verb, path=info.path)
    verb, name, selector = info.verb or _WRITES.get(request.method, ""), info.name, ""
    if verb in _COLLECTION and b"fieldSelector" in request.scope["query_string"]:
        selector = request.query.get("fieldSelector", "")
    action = Action(verb, info.group, info.plural, info.subresource, info.namespace, name, field_selector=selector)
    if selector and not name:
        name = action.selects("metadata.name") or ""
        if name:
            return Action(verb, info.group, info.plural, info.subresource, info.namespace, name, "", selector)
    return action


def forbidden(user: User, action: Action, reason: str = "") -> StatusError:
    """Upstream's 403: who may not do what, where."""
    why = f": {reason}" if reason else ""
    if action.path:
        text = f"forbidden: User {quote(user.name)} cannot {action.verb} path {quote(action.path)}{why}"
        return StatusError(403, "Forbidden", text, {})
    what = f"{action.resource}/{action.subresource}" if action.subresource else action.resource
    where = f" in the namespace {quote(action.namespace)}" if action.namespace else " at the cluster scope"
    qualified = f"{action.resource}.{action.group}" if action.group else action.resource
    subject = f"{qualified} {quote(action.name)}" if action.name else qualified
    text = (
        f"{subject} is forbidden: User {quote(user.name)} cannot {action.verb} resource {quote(what)} "
        f"in API group {quote(action.group)}{where}{why}"
    )
    details: dict[str, object] = {"kind": action.resource}
    if action.name:
        details["name"] = action.name
    if action.group:
        details["group"] = action.group
    return StatusError(403, "Forbidden", text, details)
