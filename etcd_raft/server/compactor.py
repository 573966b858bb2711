"""Automatic compaction, by age or by number of revisions: ``--auto-compaction-mode`` and ``--auto-compaction-retention``.

When to forget what is a function of the clock and the revisions seen (``Periodic``, ``Revisions``); ``compact_automatically`` is the
task around it. Every member keeps the record, so that a new leader can go on where the old one was; only the leader acts.
"""

import asyncio
import logging
import time
from collections import deque
from typing import Any, Protocol

from etcd_raft.mvcc.errors import COMPACTED, StoreError
from etcd_raft.proto import rpc_pb2 as pb

log = logging.getLogger(__name__)

_HOUR = 3600.0
_REVISIONS_EVERY = 300.0


class Plan(Protocol):
    """``look`` is called every ``pause`` seconds; it returns the revision to compact at, or 0."""

    pause: float

    def look(self, now: float, revision: int, leading: bool) -> int: ...

    def done(self, now: float, at: int) -> None:
        """It has been compacted there, by us or by somebody else."""


class Periodic:
    """Keep what is younger than ``retention`` seconds: first after that long, then every hour, or as often as a shorter retention says."""

    def __init__(self, retention: float, now: float) -> None:
        self._interval = min(retention, _HOUR)
        self.pause = self._interval / 10
        self._seen: deque[int] = deque(maxlen=int(retention / self.pause) + 1)
        self._next = now + retention
        self._last = 0

    def look(self, now: float, revision: int, leading: bool) -> int:
        self._seen.append(revision)
        oldest = self._seen[0]
        if not leading or now < self._next or oldest == self._last:
            return 0
        return oldest

    def done(self, now: float, at: int) -> None:
        self._next, self._last = now + self._interval, at


class Revisions:
    """Keep the newest ``retention`` revisions: looked after every five minutes."""

    pause = _REVISIONS_EVERY

    def __init__(self, retention: int) -> None:
        self._retention = retention
        self._last = 0

    def look(self, now: float, revision: int, leading: bool) -> int:
        at = revision - self._retention
        return at if leading and at > 0 and at != self._last else 0

    def done(self, now: float, at: int) -> None:
        self._last = at


async def compact_automatically(kv: Any, plan: Plan) -> None:
    """Until cancelled. ``kv`` is the KV service."""
    node, store = kv.node, kv.state.store
    while True:
        await asyncio.sleep(plan.pause)
        at = plan.look(time.monotonic(), store.revision, node.is_leader)
        if not at:
            continue
        try:
            await kv.compact(pb.CompactionRequest(revision=at))
        except COMPACTED:
            log.debug("revision %d had been compacted already", at)
        except StoreError as error:
            log.warning("automatic compaction at revision %d failed, and is tried again: %s", at, error)
            continue
        else:
            log.info("compacted automatically at revision %d", at)
        plan.done(time.monotonic(), at)
