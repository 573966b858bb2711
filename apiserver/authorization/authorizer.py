"""The one place that decides whether a user may do what a request asks for: the modes in order, any may allow.

Members of ``system:masters`` may do everything whatever the modes are, as upstream: they repair what a role broke.
"""

import logging
from typing import Any

from apimachinery import errors
from apimachinery.resources import lookup
from apiserver.authentication.user import ANONYMOUS, MASTERS_GROUP, User
from apiserver.authorization import action as actions
from apiserver.authorization.action import Action, forbidden
from apiserver.authorization.node import NodeAuthorizer, PodGraph, node_name
from apiserver.authorization.rbac import GROUP, Rbac
from apiserver.cacher import Cacher
from apiserver.cacher.entry import Change
from apiserver.cacher.resource_cache import ResourceCache
from apiserver.request import Request

log = logging.getLogger(__name__)
Object = dict[str, Any]
#: What everybody may see, as upstream's ``system:public-info-viewer`` says.
_PUBLIC = frozenset(("/healthz", "/livez", "/readyz", "/version", "/version/"))
MODES = ("AlwaysAllow", "AlwaysDeny", "Node", "RBAC")
_EVERYTHING: Object = {
    "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    "incomplete": False,
}


class Authorizer:
    """``rbac`` and ``pods`` follow the cache when their mode is on, and stay empty otherwise."""

    def __init__(self, modes: tuple[str, ...], cacher: Cacher) -> None:
        unknown = [mode for mode in modes if mode not in MODES]
        if unknown:
            raise ValueError(
                f"--authorization-mode: {', '.join(unknown)} is not supported, only {', '.join(MODES)} are"
            )
        if len(set(modes)) != len(modes):
            raise ValueError(f"--authorization-mode: {','.join(modes)} has a mode more than once")
        self.modes = modes
        self.rbac = Rbac()
        self.pods = PodGraph()
        self._cacher = cacher
        self._open = "AlwaysAllow" in modes
        self._node: NodeAuthorizer | None = None
        if self.uses_roles:
            self._follow_rbac()
        if "Node" in modes:
            from apiserver.authorization.defaults import node_rules  # a large table, not needed in every mode

            self._node = NodeAuthorizer(self.pods, self._read, node_rules())
            _follow(_cache(cacher, "", "pods"), self._pods_changed)

    @property
    def uses_roles(self) -> bool:
        return "RBAC" in self.modes

    @property
    def restricts_nodes(self) -> bool:
        return self._node is not None

    # --- deciding

    def check(self, request: Request) -> None:
        """Raises 401 for a request without credentials that would need some, 403 for one that is not allowed."""
        user, info = request.user, request.info
        if user.name == ANONYMOUS:
            if info.path in _PUBLIC and info.verb == "get":
                return
            if self.rbac.allows(user, actions.action_of(request)):
                return
            raise errors.unauthorized()
        if self._open or MASTERS_GROUP in user.groups:
            return
        action = actions.action_of(request)
        if not self.allows(user, action):
            refusal = forbidden(user, action, self.decide(user, action)[1])
            log.info("%s", refusal.message)  # a component that lacks a right is to be found in the log
            raise refusal

    def allows(self, user: User, action: Action) -> bool:
        """The decision alone, as fast as it can be had."""
        if MASTERS_GROUP in user.groups or (self._open and user.name != ANONYMOUS):
            return True
        if self._node is not None and self._node.decide(user, action)[0]:
            return True
        return self.rbac.allows(user, action)

    def decide(self, user: User, action: Action) -> tuple[bool, str]:
        """Whether the user may, and why: what an access review answers."""
        if MASTERS_GROUP in user.groups or (self._open and user.name != ANONYMOUS):
            return True, ""
        reasons: list[str] = []
        for decide in (self._node.decide if self._node is not None else None, self.rbac.explain):
            allowed, reason = decide(user, action) if decide is not None else (False, "")
            if allowed:
                return True, reason
            if reason:
                reasons.append(reason)
        if self.modes == ("AlwaysDeny",):
            return False, "Everything is forbidden."
        return False, "\n".join(reasons)

    def rules(self, user: User, namespace: str) -> Object:
        """What the user may do in a namespace, as ``SelfSubjectRulesReview`` tells it."""
        if self._open and user.name != ANONYMOUS:
            return _EVERYTHING
        held = self.rbac.rules_for(user, namespace)
        answer: Object = {
            "resourceRules": [rule.json() for rule in held if rule.resources],
            "nonResourceRules": [rule.json() for rule in held if rule.urls],
            "incomplete": False,
        }
        if self._node is not None and node_name(user) is not None:
            answer["incomplete"] = True
            answer["evaluationError"] = "node authorizer does not support user rule resolution"
        return answer

    # --- following the cache

    def _follow_rbac(self) -> None:
        rbac = self.rbac
        for plural in ("roles", "clusterroles"):
            _follow(_cache(self._cacher, GROUP, plural), _Feed(rbac.put_role, rbac.remove_role))
        for plural in ("rolebindings", "clusterrolebindings"):
            _follow(_cache(self._cacher, GROUP, plural), _Feed(rbac.put_binding, rbac.remove_binding))

    def _pods_changed(self, cache: ResourceCache, key: str, there: bool) -> None:
        entry = cache.get(key) if there else None
        if entry is None:
            self.pods.remove(key)
        else:
            self.pods.put(key, cache.attributes(entry).fields.get("spec.nodeName", ""))

    def _read(self, plural: str, key: str) -> Any:
        group = "storage.k8s.io" if plural == "volumeattachments" else ""
        cache = _cache(self._cacher, group, plural)
        entry = cache.get(key)
        return None if entry is None else cache.codec.decode_body(entry.body)


class _Feed:
    """Hands a cache's changes to an index."""

    def __init__(self, put: Any, remove: Any) -> None:
        self._put = put
        self._remove = remove

    def __call__(self, cache: ResourceCache, key: str, there: bool) -> None:
        entry = cache.get(key) if there else None
        if entry is None:
            namespace, _, name = key.rpartition("/")
            self._remove((namespace, name))
        else:
            self._put(cache.codec.decode_body(entry.body))


def _follow(cache: ResourceCache, changed: Any) -> None:
    """Calls ``changed(cache, key, there)`` for each object now, whenever it changes, and when it is gone."""
    known: set[str] = set()

    def listen(change: Change | None) -> None:
        if change is not None:
            there = change.entry is not None
            (known.add if there else known.discard)(change.key)
            changed(cache, change.key, there)
            return
        now = {entry.key for entry in cache.entries()}
        for key in known - now:
            changed(cache, key, False)
        for key in now:
            changed(cache, key, True)
        known.clear()
        known.update(now)

    cache.listeners.append(listen)


def _cache(cacher: Cacher, group: str, plural: str) -> ResourceCache:
    row = lookup(group, "v1", plural)
    assert row is not None, f"{plural} is a row of the resource table"
    return cacher.cache(row)
