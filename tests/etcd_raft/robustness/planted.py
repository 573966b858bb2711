"""A member with a bug, to show that the checks would notice: ``python -m tests.etcd_raft.robustness.planted BUG flags...``.

The product has no switch for any of this: each bug is a patch from outside, before the member starts.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any


def stale_read() -> None:
    """Reads are answered from what the member has, without asking whether the leader still leads."""
    from etcd_raft.server.node import Node

    async def linearizable(self: Node) -> None:
        return None

    Node.linearizable = linearizable  # type: ignore[method-assign]


def lost_write() -> None:
    """A write is acknowledged before it is in the log: a round's entries go to the disk with those of some later one."""
    from etcd_raft.wal import WAL

    write = WAL.write
    late: list[Any] = []

    def write_late(self: WAL, hard_state: Any, entries: Sequence[Any], snapshot: Any = None) -> bool:
        late.extend(entries)
        due = late[:] if len(late) > 20 else []
        del late[: len(due)]
        return write(self, hard_state, due, snapshot)

    WAL.write = write_late  # type: ignore[method-assign]


def lonely_commit() -> None:
    """A leader commits what it has itself, without waiting for a majority."""
    from etcd_raft.raft import leader

    def maybe_commit(raft: Any) -> bool:
        index = raft.progress[raft.id].match
        if index <= raft.log.committed:
            return False
        raft.log.commit_to(index)
        return True

    leader.maybe_commit = maybe_commit


def half_transaction() -> None:
    """Every fifth transaction forgets its last operation."""
    from etcd_raft.mvcc.txn import Keys

    txn, due = Keys.txn, _every(5)

    def half(self: Keys, request: Any) -> Any:
        if len(request.success) > 1 and due():
            del request.success[-1]
        return txn(self, request)

    Keys.txn = half  # type: ignore[method-assign]


def _every(count: int) -> Callable[[], bool]:
    seen = 0

    def due() -> bool:
        nonlocal seen
        seen += 1
        return seen % count == 0

    return due


def dropped_event() -> None:
    """Every twentieth revision is told to nobody who is up to date."""
    from etcd_raft.mvcc.watch import WatchHub

    notify, due = WatchHub.notify, _every(20)

    def forgetful(self: WatchHub, revision: int, changes: list[Any]) -> None:
        if not due():
            notify(self, revision, changes)

    WatchHub.notify = forgetful  # type: ignore[method-assign]


def repeated_event() -> None:
    """Who is brought up to date is told the last revision once more."""
    from etcd_raft.mvcc.watch import WatchHub

    add = WatchHub.add

    def eager(self: WatchHub, watcher: Any) -> None:
        if watcher.next > 1:
            watcher.next -= 1
        add(self, watcher)

    WatchHub.add = eager  # type: ignore[method-assign]


def hasty_notice() -> None:
    """A progress notice is sent although a watch of the stream is still behind."""
    from etcd_raft.mvcc.watch import WatchHub
    from etcd_raft.server.watching import WatchStream

    def answer(self: WatchStream) -> None:
        if self._progress_asked:
            self._progress_asked = False
            self._respond(watch_id=-1)

    # Bringing watchers up to date takes its time, so that notices find them behind.
    catch_up, due = WatchHub.catch_up, _every(40)

    def seldom(self: WatchHub) -> bool:
        return catch_up(self) if due() else True

    WatchStream._answer_progress = answer  # type: ignore[method-assign]
    WatchHub.catch_up = seldom  # type: ignore[method-assign]


BUGS: dict[str, Callable[[], Any]] = {
    bug.__name__.replace("_", "-"): bug
    for bug in (stale_read, lost_write, lonely_commit, half_transaction, dropped_event, repeated_event, hasty_notice)
}


def main() -> int:
    from etcd_raft.__main__ import main as member

    BUGS[sys.argv[1]]()
    return member(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
