"""The scheduler as a process: informers, leader election, health and the loop, put together from its flags."""

import argparse
import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from componentbase.health import HealthServer
from componentbase.process import first_failure
from kubeclient import ApiError, Client, Config, EventRecorder, Informer, InformerFactory, LeaderElector, TransportError
from kubeclient.informer import without_managed_fields
from scheduler import metrics
from scheduler.algorithm import Algorithm
from scheduler.binding import PodWriter
from scheduler.cache import Cache
from scheduler.eventhandlers import EventHandlers
from scheduler.loop import SchedulingLoop
from scheduler.nominator import Nominator
from scheduler.plugins import default_plugins
from scheduler.queue import SchedulingQueue
from scheduler.workloads import WorkloadSelectors

log = logging.getLogger(__name__)

Object = dict[str, Any]

SCHEDULER_NAME = "default-scheduler"

#: Kinds that help to decide but that a server may lack: (API version, plural).
_SERVICES = ("v1", "services")
_OWNERS = {
    ("", "ReplicationController"): ("v1", "replicationcontrollers"),
    ("apps", "ReplicaSet"): ("apps/v1", "replicasets"),
    ("apps", "StatefulSet"): ("apps/v1", "statefulsets"),
}
_BUDGETS = ("policy/v1", "poddisruptionbudgets")


async def served_resources(client: Client, versions: Sequence[str]) -> set[tuple[str, str]]:
    """(API version, plural) of all that the server has in these API versions; waits for a server that is not up yet."""
    await client.wait_ready()
    found: set[tuple[str, str]] = set()
    for version in versions:
        path = f"/apis/{version}" if "/" in version else f"/api/{version}"
        listed = await _ask_until_answered(client, path)
        found |= {(version, resource["name"]) for resource in listed.get("resources") or ()}
    return found


async def _ask_until_answered(client: Client, path: str) -> Object:
    delay = 0.05
    while True:
        try:
            return await client.json("GET", path)
        except ApiError as error:
            if error.not_found:
                return {}
            log.warning("%s: %s", path, error)
        except TransportError as error:
            log.info("waiting for the API server: %s", error or type(error).__name__)
        await asyncio.sleep(delay)
        delay = min(delay * 2, 2.0)


class _Parts:
    """Everything that decides, wired together."""

    def __init__(self, client: Client, factory: InformerFactory, served: set[tuple[str, str]]) -> None:
        def informer(kind: tuple[str, str]) -> Informer | None:
            return factory.informer(*kind) if kind in served else None

        services = factory.informer(*_SERVICES)
        owners = {owner: i for owner, kind in _OWNERS.items() if (i := informer(kind)) is not None}
        budgets = informer(_BUDGETS)
        list_budgets: Callable[[], list[Object]] = budgets.list if budgets is not None else list
        rng = random.Random()
        self.cache, nominator = Cache(), Nominator()
        plugins = default_plugins(WorkloadSelectors(services, owners))
        self.queue = SchedulingQueue(
            plugins, time.monotonic, on_change=lambda: self.loop.wake(), on_move=metrics.queued
        )
        self.recorder = EventRecorder(client, SCHEDULER_NAME)
        self.loop = SchedulingLoop(
            self.cache,
            self.queue,
            Algorithm(self.cache, plugins, nominator, rng=rng),
            nominator,
            PodWriter(client, SCHEDULER_NAME),
            self.recorder,
            budgets=list_budgets,
            rng=rng,
        )
        EventHandlers(self.cache, self.queue, nominator, SCHEDULER_NAME).attach(factory)
        metrics.watch_sizes(self.queue.sizes, self.cache.sizes)


async def run(options: argparse.Namespace) -> None:
    """Never returns."""
    client = Client(Config.load(options.kubeconfig or None), user_agent="kube-scheduler")
    health = HealthServer(
        options.bind_address,
        options.secure_port,
        cert_file=options.tls_cert_file,
        key_file=options.tls_private_key_file,
    )
    factory = InformerFactory(client, transform=without_managed_fields)
    started = False
    health.add_check("informers", lambda: factory.unsynced() if started else "not started", ready_only=True)
    await health.start()
    try:
        served = await served_resources(client, ("v1", "apps/v1", "policy/v1"))
        parts = _Parts(client, factory, served)
        started = True

        async def lead() -> None:
            await factory.wait_synced()
            log.info("scheduling on %d nodes", len(parts.cache.nodes))
            await parts.loop.run()

        if options.leader_elect:
            elector = LeaderElector(
                client,
                options.leader_elect_resource_name,
                namespace=options.leader_elect_resource_namespace,
                lease_duration=options.leader_elect_lease_duration,
                renew_deadline=options.leader_elect_renew_deadline,
                retry_period=options.leader_elect_retry_period,
            )
            work = elector.run(lead)
        else:
            work = lead()
        await first_failure(factory.run(), parts.recorder.run(), work)
    finally:
        await health.stop()
        await client.close()
