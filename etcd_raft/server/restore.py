"""``python -m etcd_raft snapshot restore|status``: a saved snapshot becomes the first state of a new cluster.

The snapshot may come from this store or from a real etcd (3.4, 3.5), by ``etcdctl snapshot save``, or be the state file of either, copied
from a data directory (``member/snap/db``). Every member of the new cluster restores the same file with the same ``--initial-cluster``;
identities, membership and the log start anew, keys and revisions stay.
"""

import argparse
import contextlib
import hashlib
import json
import mmap
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from etcd_raft.bbolt import FormatError, Reader, is_bbolt
from etcd_raft.mvcc.backend import Backend
from etcd_raft.mvcc.errors import StoreError
from etcd_raft.raft.messages import Snapshot
from etcd_raft.server import snapshots
from etcd_raft.server.apply import State
from etcd_raft.server.membership import member_id
from etcd_raft.wal import WAL

_DIGEST = hashlib.sha256().digest_size


class RestoreError(Exception):
    """The snapshot or the arguments do not serve; the text says why."""


def main(argv: list[str]) -> int:
    flags = _parser().parse_args(argv)
    try:
        if flags.command == "status":
            _show(status(flags.snapshot), flags.write_out)
        else:
            restore(flags)
    except (RestoreError, FormatError, snapshots.Untranslatable, StoreError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="etcd_raft snapshot", description="Restore or inspect a saved snapshot.")
    commands = parser.add_subparsers(dest="command", required=True)
    p = commands.add_parser("restore", help="make a data directory from a snapshot")
    p.add_argument("snapshot", type=Path)
    p.add_argument("--data-dir", type=Path, default=None, help="default NAME.etcd")
    p.add_argument("--name", default="default")
    p.add_argument("--initial-cluster", default="default=http://localhost:2380")
    p.add_argument("--initial-cluster-token", default="etcd-cluster")
    p.add_argument("--initial-advertise-peer-urls", default="http://localhost:2380")
    p.add_argument("--skip-hash-check", action="store_true", help="for a state file copied from a data directory")
    p.add_argument("--bump-revision", type=int, default=0, help="go on that much beyond the snapshot's revision, so that clients that "
                   "have seen later ones notice")  # fmt: skip
    p.add_argument("--mark-compacted", action="store_true", help="with --bump-revision: end all watches from before")
    p = commands.add_parser("status", help="say what a snapshot holds")
    p.add_argument("snapshot", type=Path)
    p.add_argument("-w", "--write-out", choices=("simple", "json", "table", "fields"), default="simple")
    return parser


# ---- reading


@contextlib.contextmanager
def _content(snapshot: Path, skip_check: bool) -> Iterator[memoryview]:
    """The state file in a snapshot, without the checksum that it ends with."""
    with snapshot.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if not size:
            raise RestoreError(f"{snapshot} is empty")
        has_digest = size % 512 == _DIGEST
        if not has_digest and not skip_check:
            raise RestoreError(f"snapshot missing hash but --skip-hash-check=false: {snapshot} is no snapshot, or was copied from a "
                               "data directory")  # fmt: skip
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as whole:
            length = size - _DIGEST if has_digest else size
            with whole[:length] as content:
                if has_digest and not skip_check:
                    digest = hashlib.sha256(content).digest()
                    if digest != whole[length:]:
                        raise RestoreError(
                            f"expected sha256 {whole[length:].hex()}, got {digest.hex()}: {snapshot} is damaged"
                        )
                yield content


def _open(snapshot: Path, to: Path, skip_check: bool) -> State:
    """The snapshot's state, in a file of our own."""
    to.parent.mkdir(parents=True, exist_ok=True)
    with _content(snapshot, skip_check) as content:
        if is_bbolt(snapshot):
            return snapshots.load(content, to)
        with to.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    try:
        return State(Backend(to, 2 << 30))
    except Exception as error:
        raise RestoreError(f"{snapshot}: invalid database: {error}") from error


def status(snapshot: Path) -> dict[str, int]:
    """As etcdutl has it: every item of every bucket counts, and goes into the hash."""
    with tempfile.TemporaryDirectory(prefix="etcd-snapshot-") as folder:
        file = snapshot
        if not is_bbolt(snapshot):
            state = _open(snapshot, Path(folder) / "db", skip_check=True)
            state.commit()
            file = Path(folder) / "bbolt"
            snapshots.export(state.backend.path, file)
            state.backend.close()
        with _content(file, skip_check=True) as content:
            reader = Reader(content)
            value, revision, count = 0, 0, 0
            for name in reader.names:
                value = _crc32c(name, value)
                for key, data in reader.bucket(name):
                    value = _crc32c(data, _crc32c(key, value))
                    count += 1
                    if name == b"key":
                        revision = int.from_bytes(key[:8], "big")
            return {"hash": value, "revision": revision, "totalKey": count, "totalSize": len(content)}


def _table() -> list[int]:
    """Castagnoli's polynomial, which etcd uses and Python's zlib does not."""
    table = []
    for number in range(256):
        for _ in range(8):
            number = number >> 1 ^ 0x82F63B78 if number & 1 else number >> 1
        table.append(number)
    return table


_CRC = _table()


def _crc32c(data: bytes, value: int) -> int:
    value ^= 0xFFFFFFFF
    for byte in data:
        value = _CRC[(value ^ byte) & 0xFF] ^ value >> 8
    return value ^ 0xFFFFFFFF


def _show(found: dict[str, int], form: str) -> None:
    row = [f"{found['hash']:x}", str(found["revision"]), str(found["totalKey"]), _human(found["totalSize"])]
    if form == "json":
        print(json.dumps(found, separators=(",", ":")))
    elif form == "fields":
        for name, value in zip(("Hash", "Revision", "Keys", "Size"), found.values(), strict=True):
            print(f'"{name}" : {value}')
    elif form == "table":
        heads = ["HASH", "REVISION", "TOTAL KEYS", "TOTAL SIZE"]
        widths = [max(len(a), len(b)) for a, b in zip(heads, row, strict=True)]
        line = "+" + "+".join("-" * (width + 2) for width in widths) + "+"
        print(line)
        print("|" + "|".join(f" {head.center(width)} " for head, width in zip(heads, widths, strict=True)) + "|")
        print(line)
        print("|" + "|".join(f" {cell.rjust(width)} " for cell, width in zip(row, widths, strict=True)) + "|")
        print(line)
    else:
        print(", ".join(row))


def _human(size: int) -> str:
    units = ("B", "kB", "MB", "GB", "TB")
    value, unit = float(size), 0
    while value >= 1000 and unit < len(units) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} {units[unit]}" if unit == 0 or value >= 10 else f"{value:.1f} {units[unit]}"


# ---- restoring


def restore(flags: argparse.Namespace) -> None:
    from etcd_raft.server.config import parse_cluster

    if bool(flags.bump_revision) != flags.mark_compacted or flags.bump_revision < 0:
        raise RestoreError("--mark-compacted required if --bump-revision > 0, and is nothing without it")
    data_dir: Path = flags.data_dir or Path(f"{flags.name}.etcd")
    if data_dir.exists() and any(data_dir.iterdir()):
        raise RestoreError(f'data-dir "{data_dir}" not empty or could not be read')
    cluster = parse_cluster(flags.initial_cluster)
    advertised = flags.initial_advertise_peer_urls.split(",")
    if sorted(cluster.get(flags.name, [])) != sorted(advertised):
        raise RestoreError(
            f"--initial-cluster does not say {flags.initial_advertise_peer_urls} for the member {flags.name!r}"
        )
    try:
        _make(flags, data_dir, cluster)
    except BaseException:
        shutil.rmtree(data_dir, ignore_errors=True)  # half a data directory would be taken for a whole one
        raise


def _make(flags: argparse.Namespace, data_dir: Path, cluster: dict[str, list[str]]) -> None:
    state = _open(flags.snapshot, data_dir / "member" / "snap" / "db", flags.skip_hash_check)
    if flags.bump_revision:
        state.store.revision += flags.bump_revision
        state.store.compact(state.store.revision)
    membership = state.membership
    membership.members, membership.removed = {}, set()
    membership.bootstrap(cluster, flags.initial_cluster_token)
    state.alarms = set()
    state.save_alarms()
    # The same on every member, and beyond whatever the old log said, so that nothing of it can be taken for ours.
    state.applied, state.applied_term = state.applied + 1, state.applied_term + 1
    state.commit()
    start = Snapshot(state.applied, state.applied_term, membership.conf_state())
    state.backend.close()
    metadata = {"member": member_id(cluster[flags.name], flags.initial_cluster_token), "cluster": membership.cluster_id}
    WAL.create(data_dir / "member" / "wal", json.dumps(metadata).encode(), start).close()
    print(f"restored revision {state.store.revision} into {data_dir}")
