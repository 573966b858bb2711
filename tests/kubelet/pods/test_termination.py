from pathlib import Path
from typing import Any

from kubelet.layout import Layout
from kubelet.pods.termination import message
from tests.kubelet.making import container, pod, run


def ended(tmp_path: Path, text: str | None = None, log: str = "", code: int = 1, **fields: Any) -> str:
    layout = Layout(str(tmp_path))
    of = pod(container("a", **fields))
    seen = run(of, "a", exit=code)
    path = layout.termination_message("uid-web", "a", 0)
    path.parent.mkdir(parents=True)
    if text is not None:
        path.write_text(text)
    layout.log_of(seen).parent.mkdir(parents=True)
    layout.log_of(seen).write_text(log)
    return message(layout, seen)


def test_the_message_is_what_the_container_wrote(tmp_path: Path) -> None:
    assert ended(tmp_path, "bye") == "bye"


def test_a_long_message_is_cut_to_its_end(tmp_path: Path) -> None:
    assert ended(tmp_path, "x" * 5000 + "end") == "x" * 4093 + "end"


def test_the_log_speaks_for_a_failed_container_that_wrote_nothing(tmp_path: Path) -> None:
    log = "2026-01-01T00:00:00.0Z stdout F one\n2026-01-01T00:00:00.1Z stderr P tw\n2026-01-01T00:00:00.2Z stderr F o\n"
    assert ended(tmp_path, "", log, terminationMessagePolicy="FallbackToLogsOnError") == "one\ntwo\n"


def test_the_log_stays_out_of_it_otherwise(tmp_path: Path) -> None:
    assert ended(tmp_path, "", "2026-01-01T00:00:00.0Z stdout F one\n") == ""
