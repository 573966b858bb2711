"""The Watch service: one stream carries any number of watches.

A stream has one outbox. Answers, events and notices go into it in order, so a progress notice can never overtake the events
before it. When the client does not read, the outbox fills up, the hub stops handing events to this stream and reads them from
history later: memory stays bounded whatever the client does.
"""

import asyncio
import random
from collections import deque
from typing import Any, Protocol

from etcd_raft.mvcc import errors, wire
from etcd_raft.mvcc.auth import READ
from etcd_raft.mvcc.watch import Watcher
from etcd_raft.proto import rpc_pb2 as pb
from etcd_raft.server.access import current_user
from etcd_raft.server.services import Services

_FULL_BYTES = 4 << 20
_FRAGMENT_BYTES = 1 << 20
_SEND_BYTES = 64 * 1024
_BROADCAST_ID = -1


class Duplex(Protocol):
    """A two-way stream of encoded messages."""

    async def receive(self) -> bytes | None: ...

    async def send(self, *messages: bytes) -> None: ...


class WatchService(Services):
    def __init__(self, member: Any) -> None:
        super().__init__(member)
        self.streams: set[WatchStream] = set()

    async def serve(self, duplex: Duplex, require_leader: bool = False) -> None:
        """One stream, until the client ends it."""
        stream = WatchStream(self, require_leader)
        self.streams.add(stream)
        sender = asyncio.create_task(stream.drain(duplex))
        receiver = asyncio.create_task(stream.listen(duplex))
        guard = asyncio.create_task(self._guard()) if require_leader else None
        tasks = [task for task in (sender, receiver, guard) if task is not None]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self.streams.discard(stream)
            stream.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _guard(self) -> None:
        """A client that asks for it is not left with a member that hears from no leader."""
        missing = 0
        interval = self.node.election_seconds
        while True:
            await asyncio.sleep(interval)
            missing = missing + 1 if not self.node.leader else 0
            if missing >= 3:
                raise errors.NO_LEADER

    def notify_progress(self) -> None:
        """The periodic notice to the watches that asked for it and have heard nothing since the last one."""
        for stream in self.streams:
            stream.periodic_progress()


class WatchStream:
    """A sink for the hub, and the answers to what the client asks."""

    def __init__(self, service: WatchService, require_leader: bool) -> None:
        self._service = service
        self._hub = service.state.hub
        self._watchers: dict[int, Watcher] = {}
        self._next_id = 0
        self._outbox: deque[bytes] = deque()
        self._size = 0
        self._wake = asyncio.Event()
        self._progress_asked = False

    # ---- for the hub

    @property
    def full(self) -> bool:
        return self._size >= _FULL_BYTES

    def events(self, watcher: Watcher, revision: int, events: list[bytes]) -> None:
        header = self._service.header()
        if not watcher.fragment:
            self._put(header + wire.watch_body(watcher.id, events))
            return
        for part, is_last in _fragments(events):
            self._put(header + wire.watch_body(watcher.id, part, fragment=not is_last))

    def compacted(self, watcher: Watcher, revision: int) -> None:
        self._watchers.pop(watcher.id, None)
        header = self._service.header_message()
        header.ClearField("revision")  # this is about no revision, as in etcd
        response = pb.WatchResponse(header=header, watch_id=watcher.id, canceled=True, compact_revision=revision)
        self._put(response.SerializeToString())

    # ---- the client's side

    async def listen(self, duplex: Duplex) -> None:
        while (data := await duplex.receive()) is not None:
            request = pb.WatchRequest.FromString(data)
            match request.WhichOneof("request_union"):
                case "create_request":
                    self._create(request.create_request)
                case "cancel_request":
                    self._cancel(request.cancel_request.watch_id)
                case "progress_request":
                    self._progress_asked = True
                    self._answer_progress()

    async def drain(self, duplex: Duplex) -> None:
        while True:
            while self._outbox:
                was_full = self.full
                messages, size = [], 0
                while self._outbox and size < _SEND_BYTES:  # what one write, and few frames, carry
                    messages.append(self._outbox.popleft())
                    size += len(messages[-1])
                self._size -= size
                await duplex.send(*messages)
                if was_full and not self.full:
                    self._service.node.wake()  # watchers that are behind may go on
            self._answer_progress()
            if not self._outbox:
                self._wake.clear()
                await self._wake.wait()

    def close(self) -> None:
        for watcher in self._watchers.values():
            self._hub.remove(watcher)
        self._watchers.clear()

    def _put(self, data: bytes) -> None:
        self._outbox.append(data)
        self._size += len(data)
        self._wake.set()

    def _respond(self, **fields: Any) -> None:
        response = pb.WatchResponse(header=self._service.header_message(), **fields)
        self._put(response.SerializeToString())

    def _create(self, request: Any) -> None:
        store = self._service.state.store
        key, end = request.key or b"\0", request.range_end
        if not request.key and not end:
            end = b""
        id = request.watch_id
        if id == 0:
            id = self._free_id()
        elif id in self._watchers:
            reason = "mvcc: watcher duplicate ID"
            self._respond(watch_id=_BROADCAST_ID, created=True, canceled=True, cancel_reason=reason)
            return
        try:
            self._service.state.auth.require(current_user.get(), READ, key, end)
        except errors.StoreError:
            # Whatever is in the way, and as a whole gRPC error: so etcd says it, and its clients look for it.
            reason = f"rpc error: code = PermissionDenied desc = {errors.PERMISSION_DENIED.text}"
            self._respond(watch_id=_BROADCAST_ID, created=True, canceled=True, cancel_reason=reason)
            return
        if end and end != b"\0" and key >= end:
            reason = "mvcc: watcher range is empty"
            self._respond(watch_id=_BROADCAST_ID, created=True, canceled=True, cancel_reason=reason)
            return
        start = request.start_revision if request.start_revision > 0 else store.revision + 1
        watcher = Watcher(self, id, key, end, start)
        watcher.prev_kv = request.prev_kv
        watcher.progress_notify = request.progress_notify
        watcher.fragment = request.fragment
        watcher.no_put = pb.WatchCreateRequest.NOPUT in request.filters
        watcher.no_delete = pb.WatchCreateRequest.NODELETE in request.filters
        self._watchers[id] = watcher
        self._respond(watch_id=id, created=True)
        self._hub.add(watcher)
        if not self._hub.is_synced(watcher):
            self._service.node.wake()

    def _free_id(self) -> int:
        while self._next_id in self._watchers:
            self._next_id += 1
        self._next_id += 1
        return self._next_id - 1

    def _cancel(self, id: int) -> None:
        watcher = self._watchers.pop(id, None)
        if watcher is not None:
            self._hub.remove(watcher)
            self._respond(watch_id=id, canceled=True)

    # ---- progress

    def _answer_progress(self) -> None:
        """Answer a progress request as soon as everything up to now is on its way to every watch of this stream."""
        if not self._progress_asked or not all(self._hub.is_synced(w) for w in self._watchers.values()):
            return  # asked again whenever the outbox has been drained
        self._progress_asked = False
        if any(self._is_ahead(w) for w in self._watchers.values()):
            return  # as etcd: a notice from before the revision that a watch asked for would look like a step back
        self._respond(watch_id=_BROADCAST_ID)

    def _is_ahead(self, watcher: Watcher) -> bool:
        """It waits for a revision that is yet to come, and not for the very next one."""
        return watcher.next > self._service.state.store.revision + 1

    def periodic_progress(self) -> None:
        for watcher in self._watchers.values():
            if (
                watcher.progress_notify
                and watcher.quiet
                and self._hub.is_synced(watcher)
                and not self._is_ahead(watcher)
            ):
                self._respond(watch_id=watcher.id)
            watcher.quiet = True


def _fragments(events: list[bytes]) -> list[tuple[list[bytes], bool]]:
    """Split what would be too long for one message; with each part, whether it is the last."""
    parts: list[list[bytes]] = [[]]
    size = 0
    for event in events:
        if size + len(event) > _FRAGMENT_BYTES and parts[-1]:
            parts.append([])
            size = 0
        parts[-1].append(event)
        size += len(event)
    return [(part, part is parts[-1]) for part in parts]


async def notify_periodically(service: WatchService, seconds: float) -> None:
    """Until cancelled. A little jitter, so that members do not do it all at once."""
    while True:
        await asyncio.sleep(seconds * (0.9 + 0.2 * random.random()))
        service.notify_progress()
