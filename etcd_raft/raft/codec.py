"""Entries, messages and hard states as bytes: fixed little-endian records, the same in the log file and on the wire."""

import struct

from etcd_raft.raft.messages import (
    ConfChange,
    ConfChangeType,
    ConfState,
    Entry,
    HardState,
    Message,
    MessageType,
    Snapshot,
)

_ENTRY = struct.Struct("<QQBI")  # term, index, type, length of data
_HARD_STATE = struct.Struct("<QQQ")
_SNAPSHOT = struct.Struct("<QQII")  # index, term, voters, learners
_CONF_CHANGE = struct.Struct("<BQ")
# type, to, sender, term, log term, index, commit, reject, reject hint, entries, length of context, has snapshot
_MESSAGE = struct.Struct("<BQQQQQQBQIIB")


def encode_entry(entry: Entry) -> bytes:
    return _ENTRY.pack(entry.term, entry.index, entry.type, len(entry.data)) + entry.data


def decode_entry(data: bytes, offset: int = 0) -> tuple[Entry, int]:
    """The entry at ``offset`` and the offset after it."""
    term, index, kind, length = _ENTRY.unpack_from(data, offset)
    start = offset + _ENTRY.size
    end = start + length
    if end > len(data):
        raise ValueError(f"entry {index} says {length} bytes and has {len(data) - start}")
    return Entry(term, index, bytes(data[start:end]), kind), end


def encode_hard_state(state: HardState) -> bytes:
    return _HARD_STATE.pack(state.term, state.vote, state.commit)


def decode_hard_state(data: bytes) -> HardState:
    return HardState(*_HARD_STATE.unpack(data))


def encode_snapshot(snapshot: Snapshot) -> bytes:
    voters, learners = snapshot.conf.voters, snapshot.conf.learners
    head = _SNAPSHOT.pack(snapshot.index, snapshot.term, len(voters), len(learners))
    return head + struct.pack(f"<{len(voters) + len(learners)}Q", *voters, *learners)


def decode_snapshot(data: bytes, offset: int = 0) -> tuple[Snapshot, int]:
    index, term, voters, learners = _SNAPSHOT.unpack_from(data, offset)
    start = offset + _SNAPSHOT.size
    ids = struct.unpack_from(f"<{voters + learners}Q", data, start)
    return Snapshot(index, term, ConfState(list(ids[:voters]), list(ids[voters:]))), start + 8 * len(ids)


def encode_conf_change(change: ConfChange) -> bytes:
    return _CONF_CHANGE.pack(change.type, change.node) + change.context


def decode_conf_change(data: bytes) -> ConfChange:
    kind, node = _CONF_CHANGE.unpack_from(data)
    return ConfChange(ConfChangeType(kind), node, bytes(data[_CONF_CHANGE.size :]))


def encode_message(m: Message) -> bytes:
    head = _MESSAGE.pack(
        m.type,
        m.to,
        m.sender,
        m.term,
        m.log_term,
        m.index,
        m.commit,
        m.reject,
        m.reject_hint,
        len(m.entries),
        len(m.context),
        m.snapshot is not None,
    )
    parts = [head, m.context]
    if m.snapshot is not None:
        parts.append(encode_snapshot(m.snapshot))
    parts.extend(encode_entry(entry) for entry in m.entries)
    return b"".join(parts)


def decode_message(data: bytes) -> Message:
    kind, to, sender, term, log_term, index, commit, reject, hint, entries, context, has_snapshot = (
        _MESSAGE.unpack_from(data)
    )
    offset = _MESSAGE.size + context
    message = Message(
        MessageType(kind),
        to=to,
        sender=sender,
        term=term,
        log_term=log_term,
        index=index,
        commit=commit,
        reject=bool(reject),
        reject_hint=hint,
        context=bytes(data[_MESSAGE.size : offset]),
    )
    if has_snapshot:
        message.snapshot, offset = decode_snapshot(data, offset)
    for _ in range(entries):
        entry, offset = decode_entry(data, offset)
        message.entries.append(entry)
    if offset != len(data):
        raise ValueError(f"a message of {len(data)} bytes has {len(data) - offset} bytes too many")
    return message
