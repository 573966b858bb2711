"""Leader election against a store of one Lease with optimistic concurrency, as the API server has it."""

import asyncio
import copy
from typing import Any

import pytest

from kubeclient.http import ConnectError
from kubeclient.leaderelection import LeaderElector, LostLeadership
from kubeclient.rest import ApiError


class Leases:
    """The three verbs that the elector uses. ``broken`` makes every call fail like a lost connection."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0
        self.broken = False

    def resource(self, api_version: str, plural: str) -> "Leases":
        return self

    def _store(self, lease: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        self.lease = copy.deepcopy(lease)
        self.lease["metadata"]["resourceVersion"] = str(self.version)
        return copy.deepcopy(self.lease)

    def _check(self) -> None:
        if self.broken:
            raise ConnectError("refused")

    async def get(self, name: str, namespace: str) -> dict[str, Any]:
        self._check()
        if self.lease is None:
            raise ApiError(404, {"reason": "NotFound"})
        return copy.deepcopy(self.lease)

    async def create(self, lease: dict[str, Any]) -> dict[str, Any]:
        self._check()
        if self.lease is not None:
            raise ApiError(409, {"reason": "AlreadyExists"})
        return self._store(lease)

    async def update(self, lease: dict[str, Any]) -> dict[str, Any]:
        self._check()
        assert self.lease is not None
        if lease["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise ApiError(409, {"reason": "Conflict"})
        return self._store(lease)


def elector(leases: Leases, name: str) -> LeaderElector:
    return LeaderElector(
        leases,  # type: ignore[arg-type]
        "manager",
        identity=name,
        lease_duration=0.6,
        renew_deadline=0.3,
        retry_period=0.05,
    )


class Candidate:
    def __init__(self, leases: Leases, name: str) -> None:
        self.elector = elector(leases, name)
        self.leading = asyncio.Event()
        self.task = asyncio.create_task(self.elector.run(self._lead))

    async def _lead(self) -> None:
        self.leading.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.leading.clear()

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def test_the_first_candidate_leads_at_once_and_the_second_waits() -> None:
    leases = Leases()
    first = Candidate(leases, "a")
    async with asyncio.timeout(5):
        await first.leading.wait()
    second = Candidate(leases, "b")
    await asyncio.sleep(0.8)  # longer than the lease: renewing must keep the second out
    assert first.leading.is_set()
    assert not second.leading.is_set()
    await first.stop()
    await second.stop()


async def test_a_leader_that_stops_gives_the_lease_back() -> None:
    leases = Leases()
    first = Candidate(leases, "a")
    async with asyncio.timeout(5):
        await first.leading.wait()
    await first.stop()
    assert leases.lease is not None
    assert leases.lease["spec"]["holderIdentity"] == ""
    second = Candidate(leases, "b")
    async with asyncio.timeout(5):
        await second.leading.wait()
    assert leases.lease["spec"]["leaseTransitions"] == 1
    await second.stop()


async def test_a_leader_that_vanished_is_replaced_after_the_lease_ran_out() -> None:
    leases = Leases()
    dead = elector(leases, "dead")
    assert await dead._try()
    second = Candidate(leases, "b")
    async with asyncio.timeout(10):
        await second.leading.wait()
    await second.stop()


async def test_a_leader_that_cannot_renew_stops_leading_before_the_lease_runs_out() -> None:
    leases = Leases()
    first = Candidate(leases, "a")
    async with asyncio.timeout(5):
        await first.leading.wait()
    leases.broken = True
    with pytest.raises(LostLeadership):
        async with asyncio.timeout(10):
            await first.task
    assert not first.leading.is_set()


async def test_two_that_race_for_a_free_lease_never_both_lead() -> None:
    leases = Leases()
    candidates = [Candidate(leases, name) for name in "abc"]
    await asyncio.sleep(0.3)
    assert sum(c.leading.is_set() for c in candidates) == 1
    for candidate in candidates:
        await candidate.stop()


def test_times_that_cannot_work_are_refused() -> None:
    with pytest.raises(ValueError, match="renew deadline"):
        LeaderElector(Leases(), "x", lease_duration=5, renew_deadline=10)  # type: ignore[arg-type]


async def test_a_supervised_process_that_was_killed_takes_its_own_lease_back_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    leases = Leases()
    monkeypatch.setenv("LEADER_ELECTION_IDENTITY", "host_controllers_demo")
    killed = Candidate(leases, "")
    async with asyncio.timeout(5):
        await killed.leading.wait()
    leases.broken = True  # what kill -9 looks like from the store: nothing is given back
    await killed.stop()
    leases.broken = False
    assert leases.lease is not None
    assert leases.lease["spec"]["holderIdentity"] == "host_controllers_demo"
    restarted = Candidate(leases, "")
    async with asyncio.timeout(0.5):  # the lease lasts 0.6 s
        await restarted.leading.wait()
    await restarted.stop()
