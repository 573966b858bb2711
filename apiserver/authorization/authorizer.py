"""The one place that decides whether a user may do what a request asks for."""

from dataclasses import dataclass
from typing import Any

from apimachinery import errors
from apimachinery.errors import StatusError, quote
from apiserver.authentication.user import ANONYMOUS, User
from apiserver.request import Request, RequestInfo

#: What everybody may see, as upstream's ``system:public-info-viewer`` says.
_PUBLIC = frozenset(("/healthz", "/livez", "/readyz", "/version", "/version/"))
#: RBAC and Node are not here yet, and a mode that is accepted without being enforced would be worse than none.
MODES = ("AlwaysAllow",)


@dataclass(frozen=True, slots=True)
class Action:
    """What somebody wants to do: with a resource, or with a ``path`` that is none."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


class Authorizer:
    def __init__(self, modes: tuple[str, ...]) -> None:
        unknown = [mode for mode in modes if mode not in MODES]
        if unknown:
            raise ValueError(
                f"--authorization-mode: {', '.join(unknown)} is not supported (yet); only {', '.join(MODES)} is: "
                "whoever has a credential of this cluster may do everything"
            )
        self.modes = modes

    def check(self, request: Request) -> None:
        """Raises 401 for a request without credentials, 403 for one that is not allowed."""
        user, info = request.user, request.info
        if user.name == ANONYMOUS:
            if info.path in _PUBLIC or info.path.startswith(("/healthz/", "/livez/", "/readyz/")):
                return
            raise errors.unauthorized()

    def decide(self, user: User, action: Action) -> tuple[bool, str]:
        """Whether the user may, and why (what an access review answers)."""
        return user.name != ANONYMOUS, ""

    def rules(self, user: User, namespace: str) -> dict[str, Any]:
        """What the user may do in a namespace, as ``SelfSubjectRulesReview`` tells it."""
        return {
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": False,
        }


def denied(user: User, info: RequestInfo) -> StatusError:
    """Upstream's 403: who may not do what, where."""
    if not info.is_resource:
        text = f"forbidden: User {quote(user.name)} cannot {info.verb} path {quote(info.path)}"
        return StatusError(403, "Forbidden", text, {})
    what = f"{info.plural}/{info.subresource}" if info.subresource else info.plural
    where = f" in the namespace {quote(info.namespace)}" if info.namespace else " at the cluster scope"
    qualified = f"{info.plural}.{info.group}" if info.group else info.plural
    subject = f"{qualified} {quote(info.name)}" if info.name else qualified
    text = (
        f"{subject} is forbidden: User {quote(user.name)} cannot {info.verb} resource {quote(what)} "
        f"in API group {quote(info.group)}{where}"
    )
    details: dict[str, object] = {"kind": info.plural}
    if info.name:
        details["name"] = info.name
    if info.group:
        details["group"] = info.group
    return StatusError(403, "Forbidden", text, details)
