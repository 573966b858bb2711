"""May they? ``authorizer`` is the one place that decides."""

from apiserver.authorization.authorizer import Authorizer

__all__ = ["Authorizer"]
