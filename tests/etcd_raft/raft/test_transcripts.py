"""The interesting runs of the core, word for word; see ``transcript`` for how to read and how to renew them."""

import difflib
from pathlib import Path

import pytest

from tests.etcd_raft.raft.transcript import FOLDER, play

_EXPECTED = {
    "check_quorum", "conflict", "election", "flow_control", "learner", "membership", "pipelining", "pre_vote",
    "read_index", "removed_leader", "snapshot", "transfer", "uncommitted",
}  # fmt: skip


def test_every_interesting_run_has_its_transcript() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == _EXPECTED


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_the_core_answers_word_for_word_as_written(path: Path) -> None:
    written = path.read_text()
    played = play(written)
    difference = "\n".join(
        difflib.unified_diff(written.splitlines(), played.splitlines(), "written", "played", lineterm="", n=4)
    )
    assert played == written, f"python -m tests.etcd_raft.raft.transcript writes it anew\n{difference}"


def test_a_transcript_notices_a_changed_answer() -> None:
    written = (FOLDER / "election.txt").read_text()
    assert play(written.replace("log ends 1/1", "log ends 1/2")) != written.replace("log ends 1/1", "log ends 1/2")
