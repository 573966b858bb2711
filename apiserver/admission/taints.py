"""Taints and tolerations that the server adds: new nodes start as not ready, pods bear a dead node for five minutes."""

from typing import Any

from apiserver.admission.chain import Attributes, Plugin

Object = dict[str, Any]
NOT_READY, UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"
_SECONDS = 300


class TaintNodesByCondition(Plugin):
    """A new node takes no pods until the node lifecycle controller has seen it ready."""

    handles = frozenset({"CREATE"})

    async def admit(self, attributes: Attributes) -> None:
        if attributes.what != "nodes" or attributes.obj is None:
            return
        taints = attributes.obj.setdefault("spec", {}).setdefault("taints", [])
        if all(t.get("key") != NOT_READY or t.get("effect") != "NoSchedule" for t in taints):
            taints.append({"key": NOT_READY, "effect": "NoSchedule"})


class DefaultTolerationSeconds(Plugin):
    """A pod without an opinion is evicted from a node that has been gone for five minutes."""

    handles = frozenset({"CREATE", "UPDATE"})

    async def admit(self, attributes: Attributes) -> None:
        if attributes.what != "pods" or attributes.obj is None:
            return
        tolerations: list[Object] = attributes.obj["spec"].setdefault("tolerations", [])
        for key in (NOT_READY, UNREACHABLE):
            if not any(_tolerates(t, key) for t in tolerations):
                tolerations.append(
                    {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": _SECONDS}
                )


def _tolerates(toleration: Object, key: str) -> bool:
    return toleration.get("key", "") in (key, "") and toleration.get("effect", "") in ("NoExecute", "")
