"""May they? ``authorizer`` is the one place that decides, by the modes of ``--authorization-mode``.

``action`` is what somebody wants to do, ``rules`` what one rule of a role allows, ``rbac`` the index of roles and bindings, ``node``
what a kubelet may do. ``escalation`` guards the writing of roles, ``impersonation`` acting as somebody else. ``defaults``,
``controllerroles`` and ``components`` are the roles that a cluster starts with, ``reconcile`` brings them in.
"""

from apiserver.authorization.action import Action
from apiserver.authorization.authorizer import Authorizer

__all__ = ["Action", "Authorizer"]
