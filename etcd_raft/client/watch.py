"""Watching: many watchers on one stream, that survive the loss of a stream, a member or a leader.

A ``Watcher`` remembers the next revision it has not seen. When its stream ends, it is created again from exactly there,
at whichever endpoint answers, so nothing is lost; what a member sends twice is dropped by revision, so nothing is
doubled. A consumer that does not keep up never holds up its neighbours: beyond ``MAX_QUEUED`` batches its watch is
cancelled at the server and created again, from where it was, once the queue has been read.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from etcd_raft.client.errors import Compacted, EtcdError, Unavailable
from etcd_raft.client.results import Event, WatchBatch
from etcd_raft.proto import rpc_pb2 as pb

if TYPE_CHECKING:
    from etcd_raft.client.client import EtcdClient
    from etcd_raft.client.connection import Connection, Stream

log = logging.getLogger(__name__)

MAX_QUEUED = 4096
_PATH = "/etcdserverpb.Watch/Watch"
# A member cut off from its leader ends the stream instead of staying silent: then another member serves us.
_REQUIRE_LEADER = (("hasleader", "true"),)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 1.0
_BROADCAST_ID = -1  # the answer to a progress request is for every watch of the stream


class Watcher:
    """``async with client.watch(...) as w: async for batch in w: ...``; entering waits until the store has the watch.

    Batches hold whole revisions in order, each change once. Raises ``Compacted`` when the history it needs is gone and
    ``EtcdError`` when the store refuses the watch; a lost connection is not an error, the watch goes on elsewhere.
    """

    def __init__(self, stream: "WatchStream", request: Any) -> None:
        self._stream = stream
        self.request = request
        self.next_revision: int = request.start_revision
        self.watch_id: int | None = None  # known while the server has the watch
        self.paused = False
        self._queue: deque[WatchBatch] = deque()
        self._wake = asyncio.Event()
        self._created = asyncio.Event()
        self._error: EtcdError | None = None

    async def __aenter__(self) -> "Watcher":
        self._stream.add(self)
        try:
            await self._created.wait()
        except asyncio.CancelledError:
            self._stream.remove(self)
            raise
        if self._error is not None and not self._queue:
            raise self._error
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._stream.remove(self)

    def __aiter__(self) -> AsyncIterator[WatchBatch]:
        return self

    async def __anext__(self) -> WatchBatch:
        while not self._queue:
            if self._error is not None:
                raise self._error
            if self.paused:
                self.paused = False
                self._stream.create(self)
            self._wake.clear()
            await self._wake.wait()
        return self._queue.popleft()

    async def request_progress(self) -> None:
        """Ask the store to say up to where everything has been delivered: comes as a batch with ``is_progress``."""
        self._stream.enqueue(pb.WatchRequest(progress_request=pb.WatchProgressRequest()))

    # ---- called by the stream

    def created(self, watch_id: int, revision: int) -> None:
        self.watch_id = watch_id
        if self.next_revision == 0:
            self.next_revision = revision + 1  # "from now" has to mean the same now after a reconnection
        self._created.set()

    def deliver(self, response: Any) -> None:
        revision = response.header.revision
        if response.events:
            fresh = [Event(e) for e in response.events if e.kv.mod_revision >= self.next_revision]
            if not fresh:
                return
            self.next_revision = fresh[-1].kv.mod_revision + 1
            self._push(WatchBatch(fresh, fresh[-1].kv.mod_revision))
            return
        if response.watch_id != _BROADCAST_ID:
            # Only a notice to this very watch moves the place where it would resume: etcd before 3.4.25 and 3.5.8
            # answers a progress request ahead of events that it has yet to send.
            self.next_revision = max(self.next_revision, revision + 1)
        self._push(WatchBatch([], revision, is_progress=True))

    def _push(self, batch: WatchBatch) -> None:
        self._queue.append(batch)
        self._wake.set()
        if len(self._queue) >= MAX_QUEUED and not self.paused:
            self.paused = True
            self._stream.cancel_on_server(self)

    def fail(self, error: EtcdError) -> None:
        self._error = error
        self.watch_id = None
        self._created.set()
        self._wake.set()


class WatchStream:
    """The one stream of a client's watches: opened with the first watcher, reopened for as long as there is one."""

    def __init__(self, client: "EtcdClient") -> None:
        self._client = client
        self._watchers: dict[Watcher, None] = {}
        self._by_id: dict[int, Watcher] = {}
        self._pending: deque[Watcher] = deque()  # created requests are answered in the order in which they were sent
        self._outbox: asyncio.Queue[Any] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._connected = False

    def add(self, watcher: Watcher) -> None:
        self._watchers[watcher] = None
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="etcd-watch")
        elif self._connected:
            self.create(watcher)

    def remove(self, watcher: Watcher) -> None:
        self._watchers.pop(watcher, None)
        self.cancel_on_server(watcher)

    def create(self, watcher: Watcher) -> None:
        """Put a watch on the stream that is open now; while there is none, reconnecting does it."""
        if not self._connected:
            return
        watcher.request.start_revision = watcher.next_revision
        request = pb.WatchRequest()
        request.create_request.CopyFrom(watcher.request)
        self._pending.append(watcher)
        self._outbox.put_nowait(request)

    def cancel_on_server(self, watcher: Watcher) -> None:
        watch_id, watcher.watch_id = watcher.watch_id, None
        if watch_id is not None and self._by_id.pop(watch_id, None) is not None:
            self._outbox.put_nowait(pb.WatchRequest(cancel_request=pb.WatchCancelRequest(watch_id=watch_id)))

    def enqueue(self, request: Any) -> None:
        if self._connected:
            self._outbox.put_nowait(request)

    async def close(self) -> None:
        task, self._task = self._task, None
        for watcher in self._watchers:
            watcher.fail(EtcdError("CANCELLED", "the client was closed"))
        self._watchers.clear()
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            connection = self._client.connection
            try:
                if await self._serve(connection):
                    pause = _FIRST_PAUSE
            except EtcdError as error:
                if not isinstance(error, Unavailable) and error.code not in ("CANCELLED", "UNKNOWN", "INTERNAL"):
                    for watcher in list(self._watchers):
                        self._watchers.pop(watcher)
                        watcher.fail(error)
                log.debug("watch stream to %s ended: %s", connection.endpoint, error)
            self._client.leave(connection)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _serve(self, connection: "Connection") -> bool:
        """One life of the stream; whether the server ever answered."""
        stream = await connection.stream(_PATH, _REQUIRE_LEADER)
        self._outbox = asyncio.Queue()
        self._pending.clear()
        self._by_id.clear()
        self._connected = True
        for watcher in self._watchers:
            watcher.watch_id = None
            if not watcher.paused:
                self.create(watcher)
        sender = asyncio.create_task(self._send(stream), name="etcd-watch-send")
        answered = False
        try:
            while (data := await stream.receive()) is not None:
                answered = True
                self._handle(pb.WatchResponse.FromString(data))
        except EtcdError:
            if not answered:
                raise
        finally:
            self._connected = False
            sender.cancel()
            stream.cancel()
            await asyncio.gather(sender, return_exceptions=True)
        return answered

    async def _send(self, stream: "Stream") -> None:
        try:
            while True:
                await stream.send((await self._outbox.get()).SerializeToString())
        except EtcdError as error:
            log.debug("watch stream takes no more requests: %s", error)  # the receiving side reports the end

    def _handle(self, response: Any) -> None:
        if response.created:
            self._on_created(response)
            if not response.canceled:
                return
        if response.canceled:
            self._on_canceled(response)
        elif response.watch_id == _BROADCAST_ID:
            for watcher in list(self._by_id.values()):
                watcher.deliver(response)
        elif (target := self._by_id.get(response.watch_id)) is not None:
            target.deliver(response)

    def _on_created(self, response: Any) -> None:
        watcher = self._pending.popleft()
        if response.canceled:  # refused: no watch came to be
            if self._watchers.pop(watcher, 0) is None:
                watcher.fail(_cancel_error(response))
            return
        if watcher in self._watchers:
            self._by_id[response.watch_id] = watcher
            watcher.created(response.watch_id, response.header.revision)
        else:  # its owner left before the answer came
            request = pb.WatchCancelRequest(watch_id=response.watch_id)
            self._outbox.put_nowait(pb.WatchRequest(cancel_request=request))

    def _on_canceled(self, response: Any) -> None:
        watcher = self._by_id.pop(response.watch_id, None)
        if watcher is None or watcher not in self._watchers:
            return  # our own cancellation, confirmed
        self._watchers.pop(watcher)
        watcher.fail(_cancel_error(response))


def _cancel_error(response: Any) -> EtcdError:
    if response.compact_revision:
        text = "etcdserver: mvcc: required revision has been compacted"
        return Compacted("OUT_OF_RANGE", text, compact_revision=response.compact_revision)
    return EtcdError("CANCELLED", response.cancel_reason or "etcdserver: watch canceled")
