"""What every control loop is, and what all of them share."""

import argparse
import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from controllers.podindex import PodIndex
from controllers.servicepods import ServicePods
from kubeclient import Client, Controller, EventRecorder, Informer, InformerFactory
from kubeclient.discovery import ApiResource

Object = dict[str, Any]


@dataclass
class Context:
    """What the process gives its loops. ``clock`` is wall-clock seconds, as timestamps in objects are."""

    client: Client
    informers: InformerFactory
    options: argparse.Namespace
    resources: list[ApiResource] = field(default_factory=list)
    clock: Callable[[], float] = time.time
    recorders: dict[str, EventRecorder] = field(default_factory=dict)
    _shared: dict[str, Any] = field(default_factory=dict)

    def under(self, client: Client) -> "Context":
        """The same, for a loop that works under another identity. What loops read is read by the process itself."""
        return replace(self, client=client)

    def recorder(self, component: str) -> EventRecorder:
        """Events of one source, named as upstream's controllers name themselves."""
        if component not in self.recorders:
            self.recorders[component] = EventRecorder(self.client, component)
        return self.recorders[component]

    def pods(self) -> PodIndex:
        """All pods, found by their controller; its bookkeeping is done before any loop's handler runs."""
        if "pods" not in self._shared:
            self._shared["pods"] = PodIndex(self.informers.informer("v1", "pods"))
        found: PodIndex = self._shared["pods"]
        return found

    def service_pods(self) -> ServicePods:
        """Services and their pods, shared by the loops that make endpoints of them."""
        if "service pods" not in self._shared:
            services, pods = self.informers.informer("v1", "services"), self.informers.informer("v1", "pods")
            self._shared["service pods"] = ServicePods(services, pods)
        found: ServicePods = self._shared["service pods"]
        return found


class Loop:
    """One control loop: handlers put keys into ``queue``, ``reconcile`` takes them out.

    A subclass calls ``watch`` for what it reads (before anything runs); it starts as soon as these, and only these,
    have synced.
    """

    name: ClassVar[str]
    workers: ClassVar[int] = 5

    def __init__(self, context: Context) -> None:
        self.context = context
        self.client = context.client
        self.clock = context.clock
        self.controller = Controller(self.name, self.reconcile, workers=self.workers)
        self.queue = self.controller.queue
        self.informers: list[Informer] = []

    def watch(
        self, api_version: str, plural: str, *, namespace: str | None = None, field_selector: str = ""
    ) -> Informer:
        informer = self.context.informers.informer(
            api_version, plural, namespace=namespace, field_selector=field_selector
        )
        if informer not in self.informers:
            self.informers.append(informer)
        return informer

    def watch_service_pods(self, changed: Callable[[str], None]) -> ServicePods:
        """Which pods each Service selects; ``changed`` is told of every Service whose endpoints may look different."""
        self.watch("v1", "services")
        self.watch("v1", "pods")
        members = self.context.service_pods()
        members.on_change(changed)
        return members

    def watch_pods(self) -> PodIndex:
        """Like ``watch``, but found by their controllers."""
        pods = self.context.pods()
        self.watch("v1", "pods")
        return pods

    async def reconcile(self, key: str) -> None:
        """Level-triggered: compare and do the next step for the object that ``key`` names; raise to be called again."""
        raise NotImplementedError

    async def run(self) -> None:
        """Never returns until cancelled."""
        await asyncio.gather(*(informer.wait_synced() for informer in self.informers))
        await self.controller.run()
