"""The one place that decides whether a user may do what a request asks for."""

from apimachinery import errors
from apimachinery.errors import StatusError, quote
from apiserver.authentication.user import ANONYMOUS, User
from apiserver.request import Request, RequestInfo

#: What everybody may see, as upstream's ``system:public-info-viewer`` says.
_PUBLIC = frozenset(("/healthz", "/livez", "/readyz", "/version", "/version/"))
MODES = ("AlwaysAllow", "RBAC", "Node")


class Authorizer:
    def __init__(self, modes: tuple[str, ...]) -> None:
        unknown = [mode for mode in modes if mode not in MODES]
        if unknown:
            raise ValueError(f"--authorization-mode: {', '.join(unknown)} is none of {', '.join(MODES)}")
        self.modes = modes

    def check(self, request: Request) -> None:
        """Raises 401 for a request without credentials, 403 for one that is not allowed."""
        user, info = request.user, request.info
        if user.name == ANONYMOUS:
            if info.path in _PUBLIC or info.path.startswith(("/healthz/", "/livez/", "/readyz/")):
                return
            raise errors.unauthorized()


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
