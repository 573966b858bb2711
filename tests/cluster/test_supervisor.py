"""The supervisor with toy processes: what falls is started again, whoever it was that fell."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster import control, pidfile
from cluster.home import Home

TOY = Path(__file__).parent / "toy.py"


def eventually(condition: Callable[[], Any], what: str, seconds: float = 20.0) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"not within {seconds:g} s: {what}")


class Toys:
    """One toy cluster in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.home = Home("toys", folder)
        self.home.create()
        self.child: subprocess.Popen[bytes] | None = None

    def plan(self, *toys: dict[str, Any], api_ports: tuple[int, ...] = ()) -> None:
        (self.home.path / "toys.json").write_text(json.dumps({"toys": toys, "api_ports": api_ports}))

    def start(self) -> None:
        with open(self.home.log("supervisor"), "ab") as log:
            self.child = subprocess.Popen([sys.executable, str(TOY), str(self.home.path)], stdout=log, stderr=log)
        control.await_supervisor(self.home, self.child)
        control.ask_once(self.home, {"do": "reload"})

    def record(self, name: str) -> pidfile.Record | None:
        record = pidfile.load(self.home.run / f"{name}.pid")
        return record if record and record.alive else None

    def alive(self, name: str, *, other_than: int = 0) -> pidfile.Record:
        def living() -> pidfile.Record | None:
            record = self.record(name)
            return record if record and record.pid != other_than else None

        return eventually(living, f"{name} runs (not as pid {other_than})")

    def log(self, name: str) -> str:
        try:
            return self.home.log(name).read_text()
        except FileNotFoundError:
            return ""

    def clean_up(self) -> None:
        for _ in range(3):
            for name in ("guard", "supervisor", *self.home.processes_recorded()):
                record = self.record(name)
                if record:
                    record.kill()
        if self.child:
            self.child.wait(10)


@pytest.fixture
def toys(tmp_path: Path) -> Iterator[Toys]:
    made = Toys(tmp_path)
    yield made
    made.clean_up()


def test_a_killed_process_is_started_again(toys: Toys) -> None:
    toys.plan({"name": "a"}, {"name": "b"})
    toys.start()
    a, b = toys.alive("a"), toys.alive("b")
    a.kill()
    again = toys.alive("a", other_than=a.pid)
    assert again.restarts == 1
    assert again.last_exit == "was killed by SIGKILL"
    assert toys.alive("b").pid == b.pid, "its neighbour is left alone"


def test_a_process_that_fails_again_and_again_is_started_less_and_less_often(toys: Toys) -> None:
    toys.plan({"name": "bad", "flags": ["--exit"]})
    toys.start()

    def failing() -> Any:
        rows = control.ask_once(toys.home, {"do": "status"})["processes"]
        row = next(r for r in rows if r["name"] == "bad")
        return row if row["failures"] >= 4 and row["waiting"] > 0.2 else None

    row = eventually(failing, "four failures in a row")
    assert row["last_exit"] == "exited with 3"


def test_a_killed_supervisor_is_replaced_and_its_processes_live_on(toys: Toys) -> None:
    toys.plan({"name": "a"})
    toys.start()
    a, supervisor = toys.alive("a"), toys.alive("supervisor")
    supervisor.kill()
    successor = toys.alive("supervisor", other_than=supervisor.pid)
    control.await_supervisor(toys.home, None)
    eventually(lambda: "took over a" in toys.log("supervisor"), "the successor watches the survivors")
    assert toys.alive("a").pid == a.pid
    toys.alive("guard", other_than=successor.pid)
    a.kill()
    toys.alive("a", other_than=a.pid)


def test_a_killed_guard_is_replaced(toys: Toys) -> None:
    toys.plan({"name": "a"})
    toys.start()
    guard = toys.alive("guard")
    guard.kill()
    toys.alive("guard", other_than=guard.pid)


def test_stop_ends_everything_and_leaves_no_pid_file(toys: Toys) -> None:
    toys.plan({"name": "a"}, {"name": "store", "tier": 0})
    toys.start()
    pids = [toys.alive(name).pid for name in ("a", "store", "guard")]
    lines = list(control.ask(toys.home, {"do": "stop"}))
    assert [line.get("stopped") for line in lines] == ["a", "store", None], "in the reverse order of starting"
    assert lines[-1] == {"done": True}
    assert toys.child is not None
    assert toys.child.wait(10) == 0
    assert not any(pidfile.born(pid) for pid in pids)
    assert toys.home.processes_recorded() == []


def test_sigterm_to_the_supervisor_stops_everything_too(toys: Toys) -> None:
    toys.plan({"name": "a"})
    toys.start()
    a, guard = toys.alive("a"), toys.alive("guard")
    toys.alive("supervisor").kill(signal.SIGTERM)
    assert toys.child is not None
    assert toys.child.wait(10) == 0
    assert not a.alive
    assert not guard.alive


def test_a_process_that_ignores_sigterm_is_killed(toys: Toys) -> None:
    toys.plan({"name": "a", "flags": ["--stubborn"]})
    toys.start()
    a = toys.alive("a")
    eventually(lambda: "running" in toys.log("a"), "the toy runs")
    [stopped, _] = control.ask(toys.home, {"do": "stop"})
    assert stopped == {"stopped": "a", "how": "was killed by SIGKILL"}
    assert not a.alive


def test_reload_starts_what_is_new_and_stops_what_is_no_longer_wanted(toys: Toys) -> None:
    toys.plan({"name": "a"}, {"name": "b"})
    toys.start()
    a, b = toys.alive("a"), toys.alive("b")
    toys.plan({"name": "a"}, {"name": "c"})
    control.ask_once(toys.home, {"do": "reload"})
    toys.alive("c")
    assert toys.alive("a").pid == a.pid
    assert not b.alive
    eventually(lambda: "b" not in toys.home.processes_recorded(), "the pid file of b is gone")


def test_components_wait_for_the_api_server_to_listen(toys: Toys) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    toys.plan({"name": "api", "tier": 1, "flags": ["--exit"]}, {"name": "late", "tier": 2}, api_ports=(port,))
    toys.start()
    toys.alive("late")
    eventually(lambda: "running" in toys.log("api"), "the API server was started")
    assert "running" not in toys.log("late")
    with socket.create_server(("127.0.0.1", port)):
        eventually(lambda: "running" in toys.log("late"), "the component runs once the port answers")


def test_a_second_supervisor_leaves_the_cluster_to_the_first(toys: Toys) -> None:
    toys.plan({"name": "a"})
    toys.start()
    first = toys.alive("supervisor")
    second = subprocess.run(
        [sys.executable, str(TOY), str(toys.home.path)], capture_output=True, timeout=30, check=False
    )
    assert second.returncode == 0
    assert b"another supervisor" in second.stderr
    assert toys.alive("supervisor").pid == first.pid


def test_a_component_has_none_of_the_supervisors_files_open(toys: Toys) -> None:
    toys.plan({"name": "a"})
    toys.start()
    a = toys.alive("a")
    eventually(lambda: "running" in toys.log("a"), "the toy runs")
    assert sorted(os.listdir(f"/proc/{a.pid}/fd")) == ["0", "1", "2"]
    assert Path(f"/proc/{a.pid}/comm").read_text() == "a\n"
    assert Path(f"/proc/{a.pid}/cmdline").read_bytes().startswith(b"python -m toyprocess [a]")
