"""The file: one LMDB environment, and the one write transaction that is always open in it.

Everything reads and writes through that transaction, so a reader sees what was applied a moment ago although nothing is on
disk yet. ``commit`` makes it durable (LMDB syncs, and never overwrites a page that the last durable state uses), together
with the applied index that the server puts into it, and opens the next one. Between two commits durability is the write-ahead
log's job: after a crash the state is that of some commit, and the log is replayed from its applied index.

Only the task that applies entries touches this; copies for snapshots read the last commit and may run in a thread.
"""

import os
import time
from pathlib import Path
from typing import Any

import lmdb

from etcd_raft.histogram import Histogram

# Named databases. `meta` holds single facts under their names.
_NAMES = (b"log", b"index", b"lease", b"meta")
_PAGE = 4096


class Backend:
    """``path`` is the database file. Address space for the map is reserved, not used, so it may be generous."""

    def __init__(self, path: Path, quota: int) -> None:
        self.path = path
        self.quota = quota
        self.commit_times = Histogram()
        path.parent.mkdir(parents=True, exist_ok=True)
        # A transaction copies pages before it frees old ones: the map needs room beyond the quota.
        self._map_size = max(quota * 2, 1 << 30)
        self._open()

    def _open(self) -> None:
        self.env = lmdb.open(
            str(self.path), map_size=self._map_size, subdir=False, max_dbs=len(_NAMES), metasync=True, sync=True,
            readahead=False, meminit=False, lock=True, max_readers=16,
        )  # fmt: skip
        self._begin()
        self.log, self.index, self.lease, self.meta = (self.env.open_db(name, txn=self.txn) for name in _NAMES)

    def _begin(self) -> None:
        self.dirty = 0  # bytes written since the last commit, roughly
        self._size = int(self.env.info()["last_pgno"] + 1) * _PAGE  # asked for with every write
        self.txn: Any = self.env.begin(write=True)

    def commit(self) -> None:
        """Make everything so far durable. Raises ``lmdb.Error`` when the disk does not take it: then the member stops."""
        started = time.monotonic()
        self.txn.commit()
        self.commit_times.observe(time.monotonic() - started)
        self._begin()

    def close(self) -> None:
        """Close without committing: what is not committed is in the log."""
        self.txn.abort()
        self.env.close()

    # ---- single facts

    def get_meta(self, name: bytes) -> bytes | None:
        value: bytes | None = self.txn.get(name, db=self.meta)
        return value

    def put_meta(self, name: bytes, value: bytes) -> None:
        self.txn.put(name, value, db=self.meta)
        self.dirty += 64 + len(value)

    def get_number(self, name: bytes) -> int:
        value = self.get_meta(name)
        return int.from_bytes(value, "big") if value else 0

    def put_number(self, name: bytes, number: int) -> None:
        self.put_meta(name, number.to_bytes(8, "big"))

    # ---- size

    def size(self) -> int:
        """Bytes of the file that are allocated, as of the last commit."""
        return self._size

    def size_in_use(self) -> int:
        """Bytes in pages that hold something; the rest of ``size`` is free for what comes."""
        pages = 2
        for database in (self.log, self.index, self.lease, self.meta):
            stat = self.txn.stat(database)
            pages += stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        return pages * _PAGE

    # ---- copies

    def copy_to(self, path: Path) -> None:
        """Copy the last committed state to a new, synced file. Safe in a thread while the owner goes on writing.

        Always compacting: LMDB's other way to copy waits for the write transaction to end, and ours never does.
        """
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            self.env.copyfd(fd, compact=True)
            os.fsync(fd)
        except lmdb.Error as error:
            # The copy failed (most likely there is no room for it), our own file is as good as before.
            raise OSError(f"cannot copy the state to {path}: {error}") from error
        finally:
            os.close(fd)

    def replace_with(self, path: Path) -> None:
        """Go on with another file (a leader's snapshot, or our own without its holes), renamed over ours."""
        self.txn.abort()
        self.env.close()
        os.replace(path, self.path)
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._open()

    def defragment(self) -> None:
        """Give free pages back to the file system."""
        self.commit()
        copy = self.path.with_suffix(".defrag")
        self.copy_to(copy)
        self.replace_with(copy)
