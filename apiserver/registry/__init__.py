"""What each kind means to the API server: defaults, rules, printed columns, selectable fields.

``STRATEGIES`` has one ``Strategy`` for each row of the resource table. Read ``strategy.py`` for the questions that the
HTTP machine asks, then ``pod.py`` and ``workloads.py`` for the richest answers. Everything here is a pure function of objects;
allocation, storage and admission are elsewhere in ``apiserver``.
"""

from apimachinery.resources import RESOURCES, Resource
from apiserver.registry.strategy import Strategy

STRATEGIES: dict[Resource, Strategy] = {r: Strategy(r) for r in RESOURCES}

__all__ = ["STRATEGIES", "Strategy"]
