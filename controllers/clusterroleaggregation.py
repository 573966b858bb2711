"""A ClusterRole with an ``aggregationRule`` holds the rules of all ClusterRoles that its selectors match."""

from collections.abc import Iterable
from typing import Any

from apimachinery import meta
from apimachinery.selectors import from_label_selector
from controllers.loop import Context, Loop
from kubeclient import ApiError

Object = dict[str, Any]


class ClusterRoleAggregationLoop(Loop):
    name = "clusterrole-aggregation-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.roles = self.watch("rbac.authorization.k8s.io/v1", "clusterroles")
        self.api = self.client.resource("rbac.authorization.k8s.io/v1", "clusterroles")
        self.roles.on(self._changed, lambda old, new: self._changed(new), self._changed)

    def _changed(self, role: Object) -> None:
        """Any role may be part of any aggregated one; there are few of those."""
        for other in self.roles.list():
            if other.get("aggregationRule"):
                self.queue.add(meta.name(other))

    async def reconcile(self, key: str) -> None:
        role = self.roles.get(key)
        if role is None or not role.get("aggregationRule"):
            return
        rules = aggregated(role, self.roles.list())
        if rules == (role.get("rules") or []):
            return
        try:
            await self.api.update({**role, "rules": rules})
        except ApiError as error:
            if not error.not_found:
                raise


def aggregated(role: Object, roles: Iterable[Object]) -> list[Object]:
    """The rules that a role gathers: selector by selector, of each match by name, each rule once, itself left out."""
    found: list[Object] = []
    by_name = sorted(roles, key=meta.name)
    for label_selector in role["aggregationRule"].get("clusterRoleSelectors") or ():
        selector = from_label_selector(label_selector)
        for other in by_name:
            if meta.name(other) != meta.name(role) and selector.matches(meta.labels(other)):
                found += [rule for rule in other.get("rules") or () if rule not in found]
    return found
