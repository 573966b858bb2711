"""The task that drives Raft, where only a narrow moment shows what is wrong."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from etcd_raft.proto.internal_pb2 import Request
from etcd_raft.proto.rpc_pb2 import PutRequest
from etcd_raft.raft.core import ProposalDropped
from etcd_raft.raft.messages import ConfChange, ConfChangeType, ConfState, Message, MessageType, Snapshot
from etcd_raft.server.node import Node
from tests.etcd_raft.raft.network import BASE, member


async def test_a_proposal_in_the_moment_after_the_leader_was_lost_lets_others_have_their_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raw = member(1, [1, 2, 3])
    node = Node(
        raw, Any, SimpleNamespace(applied=BASE), tick_seconds=0.01, election_seconds=0.1, snapshot_count=10  # type: ignore[arg-type]
    )  # fmt: skip
    node._leader_known.set()  # as of the last round; the core has lost its leader since
    tries = 0

    def refused(data: bytes) -> None:
        nonlocal tries
        tries += 1
        assert tries < 100, "it never yields"
        raise ProposalDropped("no leader")

    monkeypatch.setattr(raw, "propose", refused)
    waiting = asyncio.create_task(node.propose(Request(put=PutRequest(key=b"k"))))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    node._thread.shutdown()


def test_a_membership_change_of_before_a_received_state_does_not_undo_what_that_says() -> None:
    """A round with the change is being synced when a leader's state arrives, which knows of later changes."""
    follower = member(2, [1, 2, 3])
    late = Snapshot(BASE + 9, 2, ConfState([1, 2], []))
    follower.step(Message(MessageType.SNAPSHOT, to=2, sender=1, term=2, snapshot=late))
    assert follower.apply_conf_change(ConfChange(ConfChangeType.ADD_VOTER, 7)) == ConfState([1, 2], [])
    assert follower.raft.conf_state() == ConfState([1, 2], [])
