"""The store against the simplest thing that could be right: a dict for every revision."""

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from etcd_raft.mvcc import errors
from etcd_raft.mvcc.backend import Backend
from etcd_raft.mvcc.errors import StoreError
from etcd_raft.mvcc.watch import Watcher
from etcd_raft.proto import kv_pb2
from etcd_raft.proto import rpc_pb2 as pb
from etcd_raft.server.apply import State

_LONG = b"k" * 499
_KEYS = st.sampled_from([b"a", b"b", b"b/1", b"c", _LONG, _LONG + b"1", _LONG + b"12", _LONG + b"2"])
_ENDS = st.sampled_from([b"", b"\0", b"c", b"z", _LONG + b"13"])
_VALUES = st.binary(max_size=3)


class Collector:
    """A watch's sink that can be made full."""

    def __init__(self) -> None:
        self.full = False
        self.seen: list[tuple[int, bytes, int, bytes]] = []
        self.compacted_at: int | None = None

    def events(self, watcher: Watcher, revision: int, events: list[bytes]) -> None:
        for data in events:
            event = kv_pb2.Event.FromString(data)
            assert event.kv.mod_revision <= revision
            self.seen.append((event.kv.mod_revision, event.kv.key, event.type, event.kv.value))

    def compacted(self, watcher: Watcher, revision: int) -> None:
        self.compacted_at = revision


class StoreMachine(RuleBasedStateMachine):
    """Random requests on the store and on the model; restarts in between."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="store-model-")
        self.state = State(Backend(Path(self.folder.name) / "db", 1 << 24))
        self.revisions: dict[int, dict[bytes, tuple[bytes, int, int, int]]] = {1: {}}
        self.compacted = -1
        self.changes: list[tuple[int, bytes, int, bytes]] = []
        self.watches: list[tuple[Collector, Watcher, int]] = []

    def teardown(self) -> None:
        self.state.backend.close()
        self.folder.cleanup()

    @property
    def now(self) -> int:
        return max(self.revisions)

    def _notify(self, applied: Any) -> None:
        if applied.changes:
            self.state.hub.notify(applied.revision, applied.changes)

    def _model_put(self, model: dict[bytes, tuple[bytes, int, int, int]], at: int, key: bytes, value: bytes) -> None:
        old = model.get(key)
        model[key] = (value, old[1] if old else at, at, old[3] + 1 if old else 1)
        self.changes.append((at, key, 0, value))

    @rule(key=_KEYS, value=_VALUES)
    def put(self, key: bytes, value: bytes) -> None:
        model = dict(self.revisions[self.now])
        self._model_put(model, self.now + 1, key, value)
        applied = self.state.keys.put(pb.PutRequest(key=key, value=value))
        self.revisions[self.now + 1] = model
        assert applied.revision == self.now
        self._notify(applied)

    @rule(key=_KEYS, end=_ENDS)
    def delete(self, key: bytes, end: bytes) -> None:
        doomed = self._in_range(self.revisions[self.now], key, end)
        applied = self.state.keys.delete_range(pb.DeleteRangeRequest(key=key, range_end=end, prev_kv=True))
        answer = pb.DeleteRangeResponse.FromString(applied.body)
        assert [kv.key for kv in answer.prev_kvs] == doomed
        if doomed:
            at = self.now + 1
            self.changes += [(at, key, 1, b"") for key in doomed]
            self.revisions[at] = {k: v for k, v in self.revisions[self.now].items() if k not in doomed}
        assert applied.revision == self.now
        self._notify(applied)

    @rule(
        guard=_KEYS,
        version=st.integers(0, 2),
        puts=st.lists(st.tuples(_KEYS, _VALUES), max_size=3, unique_by=lambda p: p[0]),
    )
    def transaction(self, guard: bytes, version: int, puts: list[tuple[bytes, bytes]]) -> None:
        request = pb.TxnRequest(compare=[pb.Compare(key=guard, target=0, result=0, version=version)])  # type: ignore[arg-type]
        for key, value in puts:
            request.success.add().request_put.CopyFrom(pb.PutRequest(key=key, value=value))
        current = self.revisions[self.now]
        holds = (current[guard][3] if guard in current else 0) == version
        applied = self.state.keys.txn(request)
        assert pb.TxnResponse.FromString(applied.body).succeeded == holds
        if holds and puts:
            model, at = dict(current), self.now + 1
            for key, value in puts:
                self._model_put(model, at, key, value)
            self.revisions[at] = model
        assert applied.revision == self.now
        self._notify(applied)

    @rule(key=_KEYS, end=_ENDS, back=st.integers(-1, 12), limit=st.integers(0, 3))
    def read(self, key: bytes, end: bytes, back: int, limit: int) -> None:
        revision = self.now - back
        request = pb.RangeRequest(key=key, range_end=end, revision=revision, limit=limit)
        try:
            answer = pb.RangeResponse.FromString(self.state.keys.range(request).body)
        except StoreError as error:
            expected = errors.FUTURE_REVISION if revision > self.now else errors.COMPACTED
            if not (isinstance(error, expected) and (revision > self.now or revision < self.compacted)):
                raise
            return
        model = self.revisions[revision if revision > 0 else self.now]
        keys = self._in_range(model, key, end)
        page = keys[:limit] if limit else keys
        assert answer.count == len(keys)
        assert answer.more == (len(page) < len(keys))
        assert [(kv.key, kv.value, kv.create_revision, kv.mod_revision, kv.version) for kv in answer.kvs] == [
            (k, *model[k]) for k in page
        ]

    @precondition(lambda self: self.now > 3)
    @rule(back=st.integers(0, 5), steps=st.booleans())
    def compact(self, back: int, steps: bool) -> None:
        revision = self.now - back
        if revision <= self.compacted:
            with pytest.raises(errors.COMPACTED):
                self.state.store.compact(revision)
            return
        self.state.store.compact(revision)
        self.compacted = revision
        while steps and self.state.store.compact_step():
            pass

    @rule()
    def restart(self) -> None:
        """Commit, close, open again: nothing but what is in the file."""
        if self.watches:
            return
        self.state.commit()
        path = self.state.backend.path
        self.state.backend.close()
        self.state = State(Backend(path, 1 << 24))

    @precondition(lambda self: len(self.watches) < 4)
    @rule(key=_KEYS, end=_ENDS, back=st.integers(-2, 6))
    def watch(self, key: bytes, end: bytes, back: int) -> None:
        sink, start = Collector(), max(1, self.now - back)
        watcher = Watcher(sink, len(self.watches), key, end, start)
        self.state.hub.add(watcher)
        self.watches.append((sink, watcher, start))

    @precondition(lambda self: self.watches)
    @rule(which=st.integers(0, 3), full=st.booleans())
    def stall(self, which: int, full: bool) -> None:
        self.watches[which % len(self.watches)][0].full = full

    @invariant()
    def watches_tell_everything_once_and_in_order(self) -> None:
        while self.state.hub.catch_up():
            pass
        for sink, watcher, start in self.watches:
            wanted = [c for c in self.changes if c[0] >= start and self._in_range({c[1]: ()}, watcher.key, watcher.end)]
            assert sink.seen == wanted[: len(sink.seen)]
            if not sink.full and sink.compacted_at is None:
                assert len(sink.seen) == len(wanted)

    @staticmethod
    def _in_range(model: dict[bytes, Any], key: bytes, end: bytes) -> list[bytes]:
        if not end:
            return [key] if key in model else []
        return sorted(k for k in model if k >= key and (end == b"\0" or k < end))


StoreMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
TestStore = StoreMachine.TestCase
