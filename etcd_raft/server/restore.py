"""``python -m etcd_raft snapshot restore|status``: a saved snapshot becomes the first state of a new cluster.

Every member of the new cluster restores the same file with the same ``--initial-cluster``; identities, membership and the
log start anew, keys and revisions stay.
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

from etcd_raft.mvcc.backend import Backend
from etcd_raft.raft.messages import Snapshot
from etcd_raft.server.apply import State
from etcd_raft.server.membership import member_id
from etcd_raft.wal import WAL

_DIGEST = hashlib.sha256().digest_size


class RestoreError(Exception):
    """The snapshot or the arguments do not serve; the text says why."""


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="etcd_raft snapshot", description="Restore or inspect a saved snapshot.")
    commands = parser.add_subparsers(dest="command", required=True)
    restore_parser = commands.add_parser("restore", help="make a data directory from a snapshot")
    restore_parser.add_argument("snapshot", type=Path)
    restore_parser.add_argument("--data-dir", type=Path, default=None)
    restore_parser.add_argument("--name", default="default")
    restore_parser.add_argument("--initial-cluster", default="default=http://localhost:2380")
    restore_parser.add_argument("--initial-cluster-token", default="etcd-cluster")
    restore_parser.add_argument("--initial-advertise-peer-urls", default="http://localhost:2380")
    restore_parser.add_argument("--skip-hash-check", action="store_true")
    status_parser = commands.add_parser("status", help="say what a snapshot holds")
    status_parser.add_argument("snapshot", type=Path)
    flags = parser.parse_args(argv)
    try:
        if flags.command == "status":
            print(json.dumps(status(flags.snapshot)))
        else:
            restore(flags)
    except (RestoreError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def checked_copy(snapshot: Path, to: Path, skip_check: bool = False) -> None:
    """The state file in a saved snapshot, without the checksum that it ends with."""
    data_length = snapshot.stat().st_size
    has_digest = data_length % 512 == _DIGEST
    if not has_digest and not skip_check:
        raise RestoreError(
            f"{snapshot} has no checksum at its end: it is not a snapshot, or was copied from a data directory"
        )
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(snapshot, to)
    with to.open("r+b") as file:
        if has_digest:
            file.truncate(data_length - _DIGEST)
            digest = hashlib.file_digest(file, "sha256").digest()
            with snapshot.open("rb") as original:
                original.seek(data_length - _DIGEST)
                if original.read() != digest and not skip_check:
                    raise RestoreError(f"{snapshot}: the checksum does not fit: the file is damaged")
        os.fsync(file.fileno())


def status(snapshot: Path) -> dict[str, int]:
    copy = snapshot.with_name(snapshot.name + ".part")
    try:
        checked_copy(snapshot, copy)
        state = State(Backend(copy, 2 << 30))
        found = {
            "revision": state.store.revision,
            "totalKey": state.store.range(b"\0", b"\0", count_only=True).count,
            "totalSize": copy.stat().st_size,
        }
        state.backend.close()
    finally:
        for leftover in (copy, copy.with_name(copy.name + "-lock")):
            leftover.unlink(missing_ok=True)
    return found


def restore(flags: argparse.Namespace) -> None:
    from etcd_raft.server.config import parse_cluster

    data_dir: Path = flags.data_dir or Path(f"{flags.name}.etcd")
    if data_dir.exists() and any(data_dir.iterdir()):
        raise RestoreError(f"{data_dir} is not empty")
    cluster = parse_cluster(flags.initial_cluster)
    advertised = flags.initial_advertise_peer_urls.split(",")
    if sorted(cluster.get(flags.name, [])) != sorted(advertised):
        raise RestoreError(f"--initial-cluster does not say {flags.initial_advertise_peer_urls} for {flags.name!r}")
    db = data_dir / "member" / "snap" / "db"
    checked_copy(flags.snapshot, db, flags.skip_hash_check)
    state = State(Backend(db, 2 << 30))
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
