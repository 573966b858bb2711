"""Leader election through a Lease, with client-go's rules.

Whoever holds the Lease leads. A holder renews it; a challenger takes it over only after it has *watched* the Lease unchanged for a
whole lease duration by its own clock, so clocks need not agree. A leader that could not renew within the renew deadline stops
leading before anybody else may start.
"""

import asyncio
import logging
import os
import random
import socket
import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from kubeclient.http import TransportError
from kubeclient.rest import ApiError, Client, Object

log = logging.getLogger(__name__)


#: Who we are, when a supervisor guarantees that this name is only ever one process: its restart takes its own Lease back at once.
IDENTITY_VARIABLE = "LEADER_ELECTION_IDENTITY"


class LostLeadership(Exception):
    """The Lease could not be renewed in time: the process must stop acting (and is best restarted)."""


def _micro_time() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class LeaderElector:
    """Seconds: ``lease_duration`` > ``renew_deadline`` > ``retry_period``, as with upstream's flags (15, 10, 2)."""

    def __init__(
        self,
        client: Client,
        name: str,
        *,
        namespace: str = "kube-system",
        identity: str = "",
        lease_duration: float = 15.0,
        renew_deadline: float = 10.0,
        retry_period: float = 2.0,
    ) -> None:
        if not lease_duration > renew_deadline > retry_period > 0:
            raise ValueError("want lease duration > renew deadline > retry period > 0")
        self._leases = client.resource("coordination.k8s.io/v1", "leases")
        self._name, self._namespace = name, namespace
        unique = f"{socket.gethostname()}_{os.getpid()}_{uuid.uuid4()}"
        self.identity = identity or os.environ.get(IDENTITY_VARIABLE) or unique
        self._duration, self._deadline, self._retry = lease_duration, renew_deadline, retry_period
        self._lease: Object | None = None
        self._observed_at = 0.0
        self.is_leader = False

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Wait for the Lease, then run ``lead`` for as long as it is held. Raises :class:`LostLeadership`.

        On cancellation the Lease is given back, so that a successor need not wait for it to expire.
        """
        while not await self._try():
            await asyncio.sleep(self._retry * random.uniform(0.8, 1.2))
        log.info("%s leads %s", self.identity, self._name)
        self.is_leader = True
        work = asyncio.ensure_future(lead())
        keep = asyncio.ensure_future(self._renew())
        try:
            done, _ = await asyncio.wait({work, keep}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self.is_leader = False
            for task in (work, keep):
                task.cancel()
            await asyncio.gather(work, keep, return_exceptions=True)
            await self._release()

    async def _renew(self) -> None:
        renewed = time.monotonic()
        while True:
            await asyncio.sleep(self._retry)
            left = self._deadline - (time.monotonic() - renewed)
            try:
                async with asyncio.timeout(max(left, 0.01)):
                    ok = await self._try()
            except TimeoutError:
                ok = False
            if ok:
                renewed = time.monotonic()
            elif time.monotonic() - renewed >= self._deadline:
                raise LostLeadership(f"lease {self._name} not renewed within {self._deadline:g} s")

    async def _try(self) -> bool:
        """Acquire or renew once; True when we hold the Lease afterwards."""
        try:
            return await self._acquire_or_renew()
        except ApiError as error:
            if not (error.conflict or error.already_exists):
                log.warning("lease %s: %s", self._name, error)
            self._lease = None if error.conflict else self._lease
        except TransportError as error:
            log.info("lease %s: %s", self._name, error or type(error).__name__)
        return False

    async def _acquire_or_renew(self) -> bool:
        if self.is_leader and self._lease is not None:
            # The holder's fast path: no read, the resourceVersion guards the write.
            self._lease = await self._leases.update(self._renewed(self._lease))
            return True
        try:
            found = await self._leases.get(self._name, self._namespace)
        except ApiError as error:
            if not error.not_found:
                raise
            self._lease = await self._leases.create(self._fresh())
            return True
        known = self._lease
        if known is None or known["metadata"]["resourceVersion"] != found["metadata"]["resourceVersion"]:
            self._observed_at = time.monotonic()
        self._lease = found
        holder = found["spec"].get("holderIdentity")
        duration = found["spec"].get("leaseDurationSeconds") or self._duration
        if holder and holder != self.identity and time.monotonic() < self._observed_at + duration:
            return False
        self._lease = await self._leases.update(self._renewed(found))
        return True

    def _fresh(self) -> Object:
        now = _micro_time()
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": {
                "holderIdentity": self.identity,
                "leaseDurationSeconds": max(1, round(self._duration)),
                "acquireTime": now,
                "renewTime": now,
                "leaseTransitions": 0,
            },
        }

    def _renewed(self, lease: Object) -> Object:
        spec, now = dict(lease["spec"]), _micro_time()
        if spec.get("holderIdentity") != self.identity:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = (spec.get("leaseTransitions") or 0) + 1
        spec.update(holderIdentity=self.identity, leaseDurationSeconds=max(1, round(self._duration)), renewTime=now)
        return {**lease, "spec": spec}

    async def _release(self) -> None:
        lease = self._lease
        if lease is None or lease["spec"].get("holderIdentity") != self.identity:
            return
        spec = {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _micro_time()}
        try:
            async with asyncio.timeout(2):
                await self._leases.update({**lease, "spec": spec})
        except (ApiError, TransportError, TimeoutError) as error:
            log.info("lease %s not given back: %s", self._name, error or type(error).__name__)
