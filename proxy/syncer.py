"""Keeps the node's iptables equal to what the tracker knows: soon, whole, and not too often.

The first news is written at once; under a storm of changes the pauses between writes grow with what a write costs. A
normal write contains only the chains of the ports that changed. Everything is written anew at the start, once an hour,
after a failure and when somebody has flushed the tables.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable

from proxy import metrics
from proxy.conntrack import Conntrack, stale
from proxy.iptables import Iptables, IptablesError, with_jumps
from proxy.rules import PortRules, Settings, port_rules, restore_input
from proxy.tracker import PortId, Tracker

log = logging.getLogger(__name__)

MIN_PERIOD, MAX_PERIOD = 0.05, 1.0
#: A sync may take this share of the time at most (one part in so many).
_RESTRAINT = 5
FULL_SYNC_PERIOD = 3600.0
_CANARY_PERIOD = 30.0
_MAX_RETRY = 30.0


class Syncer:
    """``tables`` and ``open_conntrack`` are for another network namespace than our own."""

    def __init__(
        self,
        tracker: Tracker,
        settings: Settings,
        *,
        tables: Iptables | None = None,
        open_conntrack: Callable[[], Conntrack] = Conntrack,
    ) -> None:
        self._tracker, self._settings = tracker, settings
        self._iptables, self._open_conntrack = tables or Iptables(), open_conntrack
        self._rules: dict[PortId, PortRules] = {}
        self._by_service: dict[str, list[PortId]] = {}
        self._wanted = asyncio.Event()
        self._full = True
        self._last_full = 0.0
        self._pending_since: float | None = None
        self.synced = False

    def trigger(self) -> None:
        """Something has changed."""
        if self._pending_since is None:
            self._pending_since = time.monotonic()
        self._wanted.set()

    def trigger_full(self) -> None:
        self._full = True
        self.trigger()

    def set_settings(self, settings: Settings) -> None:
        if settings != self._settings:
            self._settings = settings
            self.trigger_full()

    def unhealthy(self) -> str | None:
        """For ``/healthz``: changes that could not be written for long."""
        since = self._pending_since
        if since is not None and time.monotonic() - since > 2 * _MAX_RETRY:
            return f"changes have been waiting for {time.monotonic() - since:.0f} s"
        return None

    async def run(self) -> None:
        """Never returns."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sync_forever(), name="iptables sync")
            group.create_task(self._watch_canary(), name="iptables canary")

    async def _sync_forever(self) -> None:
        retry = 1.0
        while True:
            await self._await_trigger()
            self._wanted.clear()
            started = time.monotonic()
            try:
                await self.sync()
                retry = 1.0
            except (IptablesError, OSError) as error:
                log.error("iptables not written, trying again in %g s: %s", retry, error)
                metrics.restore_failures.inc()
                self._full = True
                self._wanted.set()
                await asyncio.sleep(retry)
                retry = min(retry * 2, _MAX_RETRY)
                continue
            took = time.monotonic() - started
            await asyncio.sleep(min(max(took * _RESTRAINT, MIN_PERIOD), MAX_PERIOD))

    async def _await_trigger(self) -> None:
        """Returns at a trigger, or when it is time to write everything again."""
        due = self._last_full + FULL_SYNC_PERIOD - time.monotonic() if self.synced else None
        try:
            async with asyncio.timeout(due):
                await self._wanted.wait()
        except TimeoutError:
            self._full = True

    async def _watch_canary(self) -> None:
        while True:
            await asyncio.sleep(_CANARY_PERIOD)
            if self.synced and not await self._iptables.canary_alive():
                log.warning("somebody has flushed iptables: writing all rules again")
                self.trigger_full()

    # --- one sync -----------------------------------------------------------------------------------------------

    async def sync(self) -> None:
        full = self._full
        started, pending = time.monotonic(), self._pending_since
        changed = self._tracker.services() | set(self._by_service) if full else set()
        changed |= self._tracker.take_changes()
        before = {name for ids in self._ids(changed) for name in self._rules[ids].nat_chains}
        ids = self._regenerate(changed)
        after = {name for i in ids if i in self._rules for name in self._rules[i].nat_chains}
        self._pending_since = None
        try:
            if full:
                tables = await self._iptables.save()
                old = sorted(tables.port_chains() - after)
                text = restore_input(self._rules, self._settings, stale_chains=old)
                await self._iptables.restore(with_jumps(text, tables))
            else:
                text = restore_input(self._rules, self._settings, changed=ids, stale_chains=sorted(before - after))
                await self._iptables.restore(text)
        except BaseException:
            self._pending_since = pending or started
            raise
        if full:
            self._full, self._last_full = False, started
        self.synced = True
        metrics.synced(time.monotonic() - started, full=full, rules=text.count("\n-A "))
        log.debug("%s sync of %d services: %d rules", "full" if full else "partial", len(changed), text.count("\n-A "))
        if any(protocol == "udp" for _, protocol in ids):
            self._forget_stale_flows()

    def _ids(self, services: Iterable[str]) -> list[PortId]:
        return [port_id for key in services for port_id in self._by_service.get(key, ())]

    def _regenerate(self, services: set[str]) -> list[PortId]:
        """The rules of these Services, new; returns the ids of their ports, those that are gone included."""
        touched: list[PortId] = []
        for key in services:
            for port_id in self._by_service.pop(key, ()):
                touched.append(port_id)
                del self._rules[port_id]
            for port in self._tracker.ports(key):
                port_id = (port.name, port.protocol)
                self._by_service.setdefault(key, []).append(port_id)
                self._rules[port_id] = port_rules(port, self._tracker.endpoints(key, port), self._settings)
                touched.append(port_id)
        # The same order whatever came first, so that two nodes with the same Services have the same rules.
        self._rules = dict(sorted(self._rules.items()))
        return sorted(set(touched))

    def _forget_stale_flows(self) -> None:
        by_address: dict[tuple[str, int], set[tuple[str, int]]] = {}
        by_node_port: dict[int, set[tuple[str, int]]] = {}
        for key in self._tracker.services():
            for port in self._tracker.ports(key):
                if port.protocol != "udp":
                    continue
                serving = {(e.ip, e.port) for e in self._tracker.endpoints(key, port) if e.serving}
                for ip in (port.cluster_ip, *port.external_ips, *port.load_balancer_ips):
                    by_address[ip, port.port] = serving
                if port.node_port:
                    by_node_port[port.node_port] = serving
        try:
            with self._open_conntrack() as table:
                for flow in stale(table.udp_flows(), by_address, by_node_port):
                    table.forget(flow)
        except OSError as error:
            log.warning("stale UDP flows not removed: %s", error)
