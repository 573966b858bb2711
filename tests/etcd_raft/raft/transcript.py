"""Plays of the core as text: what is done to members, and word for word what they answer.

A transcript holds comments (``#``), commands (``>``) and, below each command, everything that came of it: messages that
arrived, what had to be on disk, what was sent before and after the sync, what was applied. A test plays the commands again and
compares. ``python -m tests.etcd_raft.raft.transcript`` writes all transcripts anew: read the difference before committing it.

Commands (members by number, times in ticks):

    members 1 2 3 [learners 4] [option=value ...]   start them; options are those of ``member``, such as max_inflight=2
    log 2 1 1 3                                     before ``members``: the terms of the entries that member 2 starts with
    term 5                                          before ``members``: the term that all start in
    join 4 of 1 2 3                                 one more, as yet in nobody's membership
    campaign 1 | tick 1 [times] | propose 1 text | read 1 name | transfer 1 2 | compact 1 index | unreachable 1 2
    add-voter 1 4 | add-learner 1 4 | remove 1 3    asked of member 1
    ready 1                                         work off what member 1 has to do, once
    deliver 2 [from 1]                              hand member 2 what is under way to it
    lose 1->2                                       what is under way from 1 to 2 is lost
    cut 3 | heal                                    nothing gets through between 3 and the others | everything does
    stabilize [1 2]                                 ready and deliver until all (or these) are quiet
    quietly COMMAND                                 the same without the details
    status                                          where everybody stands, and what leaders know of the others
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from etcd_raft.raft.codec import decode_conf_change
from etcd_raft.raft.core import ProposalDropped, Role
from etcd_raft.raft.messages import ConfChange, ConfChangeType, ConfState, Entry, EntryType, Message, MessageType
from etcd_raft.raft.node import RawNode, Ready
from tests.etcd_raft.raft.network import log_of, member

FOLDER = Path(__file__).parent / "transcripts"
_CHANGES = {
    "add-voter": ConfChangeType.ADD_VOTER,
    "add-learner": ConfChangeType.ADD_LEARNER,
    "remove": ConfChangeType.REMOVE,
}


def play(text: str) -> str:
    """The transcript with what the members answer today."""
    stage = Stage()
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("> "):
            lines.append(line)
            lines += [f"  {said}" for said in stage.command(line[2:])]
        elif line.startswith("#") or not line.strip():
            lines.append(line)
    return "\n".join(lines) + "\n"


class Stage:
    """Members, and the messages under way between them."""

    def __init__(self) -> None:
        self.nodes: dict[int, RawNode] = {}
        self._under_way: list[Message] = []
        self._cut: set[int] = set()
        self._logs: dict[int, list[int]] = {}
        self._term = 1
        self._options: dict[str, Any] = {}
        self._said: list[str] = []

    def command(self, line: str) -> list[str]:
        name, *words = line.split()
        if name == "quietly":
            self.command(" ".join(words))
            return []
        self._said = []
        if name in _CHANGES:
            self._propose_change(_CHANGES[name], int(words[0]), int(words[1]))
        else:
            run: Callable[..., None] = getattr(self, f"_do_{name}")
            run(*words)
        return self._said

    def _say(self, text: str) -> None:
        self._said.append(text)

    # ---- the cast

    def _do_log(self, id: str, *terms: str) -> None:
        self._logs[int(id)] = [int(term) for term in terms]

    def _do_term(self, term: str) -> None:
        self._term = int(term)

    def _do_members(self, *words: str) -> None:
        self._options = dict(_option(word) for word in words if "=" in word)
        plain = [word for word in words if "=" not in word]
        at = plain.index("learners") if "learners" in plain else len(plain)
        voters, learners = [int(id) for id in plain[:at]], [int(id) for id in plain[at + 1 :]]
        for id in (*voters, *learners):
            self._start(id, voters, learners)

    def _do_join(self, id: str, _of: str, *voters: str) -> None:
        self._start(int(id), [int(voter) for voter in voters], [])

    def _start(self, id: int, voters: list[int], learners: list[int]) -> None:
        entries = log_of(*self._logs.get(id, []))
        options = self._options
        self.nodes[id] = member(id, voters, learners=learners, entries=entries, term=self._term, **options)

    # ---- what is done to them

    def _ask(self, what: Callable[[], None]) -> None:
        try:
            what()
        except ProposalDropped as dropped:
            self._say(f"refused: {dropped}")

    def _do_campaign(self, id: str) -> None:
        self.nodes[int(id)].campaign()

    def _do_tick(self, id: str, times: str = "1") -> None:
        for _ in range(int(times)):
            self.nodes[int(id)].tick()

    def _do_propose(self, id: str, data: str) -> None:
        self._ask(lambda: self.nodes[int(id)].propose(data.encode()))

    def _propose_change(self, kind: ConfChangeType, id: int, node: int) -> None:
        self._ask(lambda: self.nodes[id].propose_conf_change(ConfChange(kind, node)))

    def _do_read(self, id: str, name: str) -> None:
        self.nodes[int(id)].read_index(name.encode())

    def _do_transfer(self, id: str, to: str) -> None:
        self.nodes[int(id)].transfer_leadership(int(to))

    def _do_compact(self, id: str, index: str) -> None:
        self.nodes[int(id)].compact(int(index))

    def _do_unreachable(self, id: str, other: str) -> None:
        self.nodes[int(id)].report_unreachable(int(other))

    # ---- the network

    def _do_cut(self, *ids: str) -> None:
        self._cut = {int(id) for id in ids}

    def _do_heal(self) -> None:
        self._cut = set()

    def _do_lose(self, link: str) -> None:
        sender, to = (int(id) for id in link.split("->"))
        lost = [m for m in self._under_way if (m.sender, m.to) == (sender, to)]
        self._under_way = [m for m in self._under_way if (m.sender, m.to) != (sender, to)]
        for m in lost:
            self._say(f"lost      {_message(m)}")
        assert lost, f"nothing is under way on {link}"

    def _do_deliver(self, id: str, _from: str = "", sender: str = "") -> None:
        wanted = [
            m for m in self._under_way if m.to == int(id) and (not sender or m.sender == int(sender))
        ]  # fmt: skip
        self._under_way = [m for m in self._under_way if m not in wanted]
        for m in wanted:
            self._hand_over(m)

    def _hand_over(self, m: Message) -> None:
        if m.to not in self.nodes or (m.to in self._cut) != (m.sender in self._cut):
            self._say(f"lost      {_message(m)}")
            return
        self._say(f"{m.to} receives {_message(m)}")
        snapshot = m.type == MessageType.SNAPSHOT
        self._ask(lambda: self.nodes[m.to].step(m))
        if snapshot:
            self.nodes[m.sender].report_snapshot(m.to, True)

    def _do_stabilize(self, *ids: str) -> None:
        among = sorted(int(id) for id in ids) or sorted(self.nodes)
        for _ in range(200):
            busy = [id for id in among if self.nodes[id].has_ready()]
            for id in busy:
                self._do_ready(str(id))
            ready = [m for m in self._under_way if m.to in among or (not ids and m.to not in self.nodes)]
            self._under_way = [m for m in self._under_way if m not in ready]
            for m in ready:
                self._hand_over(m)
            if not busy and not ready:
                return
        raise AssertionError("the members do not come to rest")

    # ---- what they answer

    def _do_ready(self, id: str) -> None:
        node = self.nodes[int(id)]
        if not node.has_ready():
            self._say(f"{id} has nothing to do")
            return
        ready = node.ready()
        raft = node.raft
        self._say(f"{id} ready: {raft.role.name.lower()} of term {raft.term}, leader {raft.leader or 'unknown'}")
        self._say_ready(ready)
        for entry in ready.committed:
            if entry.type == EntryType.CONF_CHANGE:
                self._say(f"  members {_conf(node.apply_conf_change(decode_conf_change(entry.data)))}")
        self._under_way += [*ready.messages, *ready.promises]
        node.advance()

    def _say_ready(self, ready: Ready) -> None:
        for m in ready.messages:
            self._say(f"  send    {_message(m)}")
        if ready.snapshot is not None:
            self._say(
                f"  store   snapshot of {ready.snapshot.index}/{ready.snapshot.term}, {_conf(ready.snapshot.conf)}"
            )
        if ready.hard_state is not None:
            state = ready.hard_state
            how = "sync" if ready.must_sync else "note"
            self._say(f"  {how}    term {state.term}, vote {state.vote or 'none'}, commit {state.commit}")
        if ready.entries:
            self._say(f"  sync    {_entries(ready.entries)}")
        for m in ready.promises:
            self._say(f"  then    {_message(m)}")
        if ready.committed:
            self._say(f"  apply   {_entries(ready.committed)}")
        for read in ready.read_states:
            self._say(f"  read    {read.context.decode()!r} once {read.index} is applied")

    def _do_status(self) -> None:
        for id, node in sorted(self.nodes.items()):
            raft, log = node.raft, node.raft.log
            self._say(
                f"{id} {raft.role.name.lower()} of term {raft.term}, leader {raft.leader or 'unknown'}, "
                f"log {log.first_index}..{log.last_index}, committed {log.committed}, applied {log.applied}, "
                f"{_conf(raft.conf_state())}"
            )
            if raft.role != Role.LEADER:
                continue
            for other, progress in sorted(raft.progress.items()):
                waits = ", waits" if progress.paused() else ""
                self._say(
                    f"  of {other}: {progress.state.name.lower()}, match {progress.match}, next {progress.next}, "
                    f"{len(progress.inflights)} in flight{waits}"
                )


def _option(word: str) -> tuple[str, Any]:
    name, value = word.split("=")
    return name, value == "true" if value in ("true", "false") else int(value)


def _conf(conf: ConfState) -> str:
    learners = f" learners {conf.learners}" if conf.learners else ""
    return f"voters {conf.voters}{learners}"


def _entries(entries: list[Entry]) -> str:
    return ", ".join(_entry(entry) for entry in entries)


def _entry(entry: Entry) -> str:
    """index/term and what is in it."""
    if entry.type == EntryType.CONF_CHANGE:
        change = decode_conf_change(entry.data)
        return f"{entry.index}/{entry.term} {change.type.name.lower()}({change.node})"
    if len(entry.data) > 20:
        return f"{entry.index}/{entry.term} {len(entry.data)} bytes"
    return f"{entry.index}/{entry.term} {entry.data.decode()!r}"


def _message(m: Message) -> str:
    parts = [f"{m.sender}->{m.to} {m.type.name}"]
    if m.term:
        parts.append(f"term {m.term}")
    if m.type in (MessageType.VOTE, MessageType.PRE_VOTE):
        parts.append(f"log ends {m.index}/{m.log_term}")
    elif m.type == MessageType.APPEND:
        parts.append(f"after {m.index}/{m.log_term}")
    elif m.index:
        parts.append(f"index {m.index}")
    if m.reject:
        parts.append("refused")
    if m.reject_hint:
        parts.append(f"perhaps {m.reject_hint}/{m.log_term}")
    if m.commit:
        parts.append(f"commit {m.commit}")
    if m.context:
        parts.append(repr(m.context.decode()))
    if m.snapshot is not None:
        parts.append(f"state of {m.snapshot.index}/{m.snapshot.term}, {_conf(m.snapshot.conf)}")
    if m.entries:
        parts.append(f"[{_entries(m.entries)}]")
    return " ".join(parts)


def main() -> int:
    for path in sorted(FOLDER.glob("*.txt")):
        before = path.read_text()
        after = play(before)
        if after != before:
            path.write_text(after)
            print(f"{path.name} differs now")
    return 0


if __name__ == "__main__":
    sys.exit(main())
