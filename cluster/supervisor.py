"""The supervisor: starts every process of one cluster, watches them, restarts what falls.

    python -m cluster.supervisor [--resume] $MK8S_HOME/NAME

One thread, no event loop: it forks (see :mod:`cluster.zygote`). Processes are watched through pidfds, so that a supervisor which takes
over after a crash (``--resume``, started by :mod:`cluster.guard`) watches the survivors as it watches its own children.

``run/supervisor.sock`` takes one JSON object a line and answers with one a line: ``{"do": "status"}``, ``reload`` (read ``cluster.json``
and start what is missing), ``stop`` (take everything down in order, one line for each process, then ``{"done": true}``).
"""

import contextlib
import fcntl
import os
import selectors
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster import guard, pidfile, zygote
from cluster.home import Home, short_path
from cluster.plan import REST, Process, plan
from cluster.spec import Spec

BACKOFF, BACKOFF_MAX = 0.1, 10.0
#: A process that lived this long starts its back-off anew.
STABLE = 10.0
#: How long a process may take to end after SIGTERM.
GRACE = 6.0
LOG_LIMIT = 10 << 20

#: What should run, and whether an API server is ready now.
Planner = Callable[[Home], tuple[list[Process], Callable[[], bool]]]


@dataclass
class Managed:
    """One process that should live: a component (``process``), or the guard (None)."""

    name: str
    process: Process | None
    pid: int = 0
    pidfd: int = -1
    ours: bool = False
    started: float = 0.0
    restarts: int = 0
    failures: int = 0
    due: float = 0.0
    last_exit: str = ""
    wanted: bool = True
    command: list[str] = field(default_factory=list)

    @property
    def running(self) -> bool:
        return self.pidfd >= 0


class Supervisor:
    """``planner`` reads what should run; ``successor`` are the interpreter's arguments for a new supervisor."""

    def __init__(self, home: Home, planner: Planner, successor: list[str]) -> None:
        self.home, self._planner, self._successor = home, planner, successor
        self.managed: dict[str, Managed] = {}
        self.selector = selectors.DefaultSelector()
        self.stopping = False
        self._gate: tuple[int, int] | None = None
        self._api_ready: Callable[[], bool] = bool
        self._ahead = deque((*zygote.FIRST, *zygote.SECOND))
        self._preloading = 0.0

    # -- life ---------------------------------------------------------------------------------------------------

    def run(self, resume: bool) -> int:
        lock = os.open(self.home.run / "supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another supervisor has the lock; leaving it the work")
            return 0
        self._record("supervisor", os.getpid())
        self._watch_signals()
        self._listen()
        if resume:
            self.reload()
        while not self.stopping:
            if self._ahead and not self.selector.select(0):
                self._preload_next()
            else:
                self._turn()
        self.stop(lambda line: None)
        return 0

    def _preload_next(self) -> None:
        """Import one more shared module; between two of them, whoever asks for something is answered."""
        began = time.monotonic()
        zygote.preload(self._ahead.popleft())
        self._preloading += time.monotonic() - began
        if not self._ahead:
            say(f"preloaded the shared modules in {self._preloading:.2f} s")
            # Only now: a fork shares the supervisor's memory, and the guard hardly has any of its own.
            self._keep_guard()

    def _preload_until(self, last: str) -> None:
        while last in self._ahead:
            self._preload_next()

    def _watch_signals(self) -> None:
        receive, send = socket.socketpair()
        receive.setblocking(False)
        send.setblocking(False)
        signal.set_wakeup_fd(send.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: setattr(self, "stopping", True))
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._wakeup = (receive, send)
        self.selector.register(receive, selectors.EVENT_READ, lambda: receive.recv(64))

    def _turn(self) -> None:
        """Wait for the next thing that happens, and deal with it."""
        for key, _ in self.selector.select(self._timeout()):
            key.data()
        now = time.monotonic()
        for entry in [m for m in self.managed.values() if not m.running]:
            if not entry.wanted:
                self._forget(entry)
            elif entry.due <= now:
                self._start(entry)
        if self._gate and self._api_ready():
            self._open_gate()

    def _timeout(self) -> float | None:
        if self._gate:
            return 0.01
        waiting = [m.due for m in self.managed.values() if not m.running]
        return max(0.0, min(waiting) - time.monotonic()) if waiting else None

    # -- processes ----------------------------------------------------------------------------------------------

    def reload(self) -> None:
        """Bring what runs in line with ``cluster.json``."""
        processes, self._api_ready = self._planner(self.home)
        wanted = {p.name: p for p in processes}
        for name, entry in list(self.managed.items()):
            if entry.process and name not in wanted:
                self._dismiss(entry)
        fresh = [p for name, p in wanted.items() if name not in self.managed or not self.managed[name].wanted]
        for process in fresh:
            self.managed[process.name] = Managed(process.name, process, command=process.command)
            self._adopt(self.managed[process.name])
        missing = [self.managed[p.name] for p in fresh if not self.managed[p.name].running]
        if any(m.process and m.process.tier < REST for m in missing) and self._gate is None:
            self._gate = os.pipe2(os.O_CLOEXEC)  # type: ignore[attr-defined]
        for entry in sorted(missing, key=lambda m: m.process.tier if m.process else 0):
            # The store and the API server import what only they need on the other core, while we go on importing here.
            rest = entry.process is not None and entry.process.tier == REST
            self._preload_until((zygote.SECOND if rest else zygote.FIRST)[-1])
            self._start(entry)

    def _adopt(self, entry: Managed) -> None:
        """Take over a process that an earlier supervisor left running; one with other flags is replaced."""
        record = pidfile.load(self.home.run / f"{entry.name}.pid")
        if record is None:
            return
        entry.restarts, entry.last_exit = record.restarts, record.last_exit
        if not record.alive:
            return
        if record.command != entry.command:
            say(f"{entry.name} (pid {record.pid}) runs with other flags: replacing it")
            record.kill(signal.SIGTERM)
            _await_end(record.pid, GRACE)
            record.kill()
            return
        try:
            pidfd = os.pidfd_open(record.pid)
        except ProcessLookupError:
            return
        self._attach(entry, record.pid, pidfd, ours=False)
        say(f"took over {entry.name} (pid {entry.pid})")

    def _start(self, entry: Managed) -> None:
        if entry.process is None:
            pid = guard.fork(self._successor, lambda pid: self._record(entry.name, pid, entry))
        else:
            gate = self._gate[0] if self._gate and entry.process.tier == REST else -1
            log = self.home.log(entry.name)
            _rotate(log)
            pid = zygote.fork(entry.process, log, lambda pid: self._record(entry.name, pid, entry), gate)
        self._attach(entry, pid, os.pidfd_open(pid), ours=True)

    def _attach(self, entry: Managed, pid: int, pidfd: int, *, ours: bool) -> None:
        entry.pid, entry.pidfd, entry.ours, entry.started = pid, pidfd, ours, time.monotonic()
        self.selector.register(pidfd, selectors.EVENT_READ, lambda: self._ended(entry))

    def _ended(self, entry: Managed) -> None:
        how = _reap(entry)
        self.selector.unregister(entry.pidfd)
        os.close(entry.pidfd)
        entry.pidfd = -1
        if not entry.wanted:
            return
        lived = time.monotonic() - entry.started
        entry.failures = 0 if lived >= STABLE else entry.failures + 1
        delay = 0.0 if entry.failures == 0 else min(BACKOFF * 2 ** (entry.failures - 1), BACKOFF_MAX)
        entry.due = time.monotonic() + delay
        entry.restarts += 1
        entry.last_exit = how
        say(f"{entry.name} (pid {entry.pid}) {how} after {lived:.1f} s; starting it again in {delay:g} s")

    def _dismiss(self, entry: Managed) -> None:
        entry.wanted = False
        if entry.running:
            _signal(entry, signal.SIGTERM)
            _await_end(entry.pid, GRACE)
            _signal(entry, signal.SIGKILL)
        else:
            self._forget(entry)

    def _forget(self, entry: Managed) -> None:
        if self.managed.get(entry.name) is entry:
            del self.managed[entry.name]
        (self.home.run / f"{entry.name}.pid").unlink(missing_ok=True)

    def _record(self, name: str, pid: int, entry: Managed | None = None) -> None:
        record = pidfile.Record(pid, pidfile.born(pid))
        if entry:
            record.restarts, record.last_exit, record.command = entry.restarts, entry.last_exit, entry.command
        pidfile.save(self.home.run / f"{name}.pid", record)

    def _keep_guard(self) -> None:
        entry = Managed("guard", None)
        record = pidfile.load(self.home.run / "guard.pid")
        if record and record.pid == os.getpid():
            entry.restarts = record.restarts  # we were the guard until a moment ago
        self.managed["guard"] = entry
        self._start(entry)

    # -- the gate: components that need the API server import their code, then wait for it here --------------------

    def _open_gate(self) -> None:
        if self._gate:
            os.close(self._gate[0])
            os.close(self._gate[1])
            self._gate = None

    # -- stopping -----------------------------------------------------------------------------------------------

    def stop(self, tell: Any) -> None:
        """SIGTERM in the reverse order of starting, SIGKILL for what does not listen; ``tell`` gets a line for each."""
        self.stopping = True
        self._open_gate()
        watcher = self.managed.pop("guard", None)
        if watcher:
            watcher.wanted = False
            _signal(watcher, signal.SIGKILL)
            _reap(watcher)
            (self.home.run / "guard.pid").unlink(missing_ok=True)
        entries = [m for m in self.managed.values() if m.process]
        for tier in sorted({m.process.tier for m in entries if m.process}, reverse=True):
            self._stop_tier([m for m in entries if m.process and m.process.tier == tier], tell)
        for file in ("supervisor.sock", "supervisor.pid"):
            (self.home.run / file).unlink(missing_ok=True)
        say("everything stopped")

    def _stop_tier(self, entries: list[Managed], tell: Any) -> None:
        for entry in entries:
            entry.wanted = False
            _signal(entry, signal.SIGTERM)
        deadline = time.monotonic() + GRACE
        for entry in entries:
            how = "was not running"
            if entry.running:
                ended = _await_end(entry.pid, max(0.0, deadline - time.monotonic()), entry.pidfd)
                if not ended:
                    say(f"{entry.name} (pid {entry.pid}) did not end within {GRACE:g} s of SIGTERM")
                    _signal(entry, signal.SIGKILL)
                    _await_end(entry.pid, 5.0, entry.pidfd)
                how = _reap(entry)
            (self.home.run / f"{entry.name}.pid").unlink(missing_ok=True)
            tell({"stopped": entry.name, "how": how})

    # -- control ------------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        self._server = socket.socket(socket.AF_UNIX)
        path = self.home.run / "supervisor.sock"
        path.unlink(missing_ok=True)
        with short_path(path) as short:
            self._server.bind(short)
        self._server.listen(8)
        self.selector.register(self._server, selectors.EVENT_READ, self._answer)

    def _answer(self) -> None:
        connection, _ = self._server.accept()
        with connection, contextlib.suppress(OSError, ValueError):
            connection.settimeout(2.0)
            self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        import orjson

        def tell(line: dict[str, Any]) -> None:
            with contextlib.suppress(OSError):
                connection.sendall(orjson.dumps(line) + b"\n")

        request = orjson.loads(connection.makefile("rb").readline())
        match request.get("do"):
            case "status":
                tell(self.status())
            case "reload":
                try:
                    self.reload()
                except Exception as error:  # whatever is wrong with the spec, the running cluster goes on
                    tell({"error": str(error)})
                else:
                    tell({"done": True})
            case "stop":
                self.stop(tell)
                tell({"done": True})
                sys.exit(0)
            case unknown:
                tell({"error": f"cannot do {unknown!r}"})

    def status(self) -> dict[str, Any]:
        now = time.monotonic()
        rows = [
            {
                "name": m.name,
                "pid": m.pid if m.running else 0,
                "restarts": m.restarts,
                # What failed often and then lived for long is well.
                "failures": 0 if m.running and now - m.started >= STABLE else m.failures,
                "last_exit": m.last_exit,
                "age": now - m.started if m.running else 0.0,
                "waiting": 0.0 if m.running else max(0.0, m.due - now),
            }
            for m in self.managed.values()
        ]
        return {"pid": os.getpid(), "processes": rows}


def say(text: str) -> None:
    clock = time.strftime("%m%d %H:%M:%S")
    print(f"I{clock} {os.getpid()} cluster.supervisor] {text}", file=sys.stderr, flush=True)


def _signal(entry: Managed, number: int) -> None:
    if entry.running:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(entry.pidfd, number)


def _reap(entry: Managed) -> str:
    """Collect the exit status, in words."""
    if not entry.ours:
        return "ended"
    try:
        result = os.waitid(os.P_PID, entry.pid, os.WEXITED)
    except ChildProcessError:
        return "ended"
    if result is None:
        return "ended"
    if result.si_code == os.CLD_EXITED:
        return f"exited with {result.si_status}"
    return f"was killed by {signal.Signals(result.si_status).name}"


def _await_end(pid: int, seconds: float, pidfd: int = -1) -> bool:
    """Wait until the process has ended; False when it has not in time."""
    import select

    opened = -1
    if pidfd < 0:
        try:
            opened = pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return True
    try:
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        return bool(poller.poll(int(seconds * 1000)))
    finally:
        if opened >= 0:
            os.close(opened)


def _rotate(log: Path) -> None:
    """Each start appends; a file beyond the limit becomes ``.1`` first."""
    try:
        if log.stat().st_size > LOG_LIMIT:
            log.replace(log.with_name(log.name + ".1"))
    except FileNotFoundError:
        pass


def plan_of(home: Home) -> tuple[list[Process], Callable[[], bool]]:
    """What ``cluster.json`` says should run."""
    spec = Spec.load(home)
    ports = [spec.port(name) for name in spec.api_names]
    return plan(spec, home).processes, lambda: any(api_ready(port, home.pki / "ca.crt") for port in ports)


def api_ready(port: int, authority: Path) -> bool:
    """Whether ``/readyz`` says yes: listening is not enough, for the first namespaces are made after that."""
    import ssl

    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.5) as connection:
        context = ssl.create_default_context(cafile=str(authority))
        with context.wrap_socket(connection, server_hostname="127.0.0.1") as secured:
            secured.sendall(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            return b" 200 " in secured.recv(64)
    return False


def main(argv: list[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    resume = "--resume" in arguments
    [folder] = [a for a in arguments if a != "--resume"]
    successor = ["-P", "-m", "cluster.supervisor", "--resume", folder]
    return Supervisor(Home.at(folder), plan_of, successor).run(resume)


if __name__ == "__main__":
    sys.exit(main())
