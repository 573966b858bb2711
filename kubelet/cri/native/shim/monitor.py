"""The shim: one small process a container, which outlives the kubelet.

It starts the container, is its parent, holds its stdio, writes its log, lets others attach and exec, reaps it, and
writes down how it ended: ``exit`` in the container's directory, fsynced before anyone is told. Then it ends itself.
The kubelet that started it is connected from the start; a later one connects to ``shim.sock`` in the directory.

Requests ``{"id", "op", ...}`` are answered ``{"id", ...}`` or ``{"id", "error"}``:

``state``   ``{"pid", "started_at"}``
``signal``  ``number``, to the main process; ``all``: SIGKILL to everything in the container
``exec``    ``spec`` and, without a tty, the three descriptors for it -> ``{"exec": n, "pid"}``, with a tty the master
``kill``    ``exec``: SIGKILL that process
``attach``  two write ends for stdout and stderr (with a tty one) -> with stdin a write end for it, or the tty's master
``reopen``  the log

Events come to every connection: ``{"event": "started", "pid", "started_at"}``, ``{"event": "failed", "error"}``,
``{"event": "exit", "code", "oom", "finished_at"}``; ``{"event": "exec-exit", "exec", "code"}`` to the one that asked.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import posix
import select
import time

from . import launch, processes, syscalls, wire
from .log import LogFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

_CHUNK = 65536
_ATTACH_BACKLOG = 1 << 20  # a reader this far behind is cut off: it must not hold up the container
_DRAIN_SECONDS = 2.0  # for output that outlives the main process: a child that left the container's control


class _Exec:
    """An exec from its fork to its end."""

    def __init__(self, number: int, request: int, client: Any) -> None:
        self.number, self.request, self.client = number, request, client
        self.pid = 0
        self.master = -1
        self.error = ""
        self.code: int | None = None
        self.answered = False


class _Attached:
    """A write end of somebody's pipe, with what it did not take yet."""

    def __init__(self, stream: str, fd: int) -> None:
        self.stream, self.fd, self.backlog = stream, fd, b""


class Monitor:
    def __init__(self, spec: dict[str, Any], control: Any) -> None:
        self.spec = spec
        self.directory: str = spec["directory"]
        self.poll = select.poll()
        self.handlers: dict[int, Callable[[int], None]] = {}
        self.clients: dict[int, Any] = {}
        self.listener: Any = None
        self.log = LogFile(spec["log"])
        self.pid = 0
        self.started_at = 0
        self.stdin = -1
        self.master = -1
        self.outputs: dict[int, str] = {}
        self.attached: list[_Attached] = []
        self.execs: dict[int, _Exec] = {}
        self.unclaimed: dict[int, int] = {}
        self.last_exec = 0
        self.exit: dict[str, Any] | None = None
        self._add_client(control)

    # The loop

    def run(self) -> None:
        self._listen()
        self._watch_children()
        if not self._start():
            return
        deadline = 0.0
        while True:
            timeout = -1 if self.exit is None else max(0, int((deadline - time.monotonic()) * 1000))
            for fd, event in self.poll.poll(timeout):
                handler = self.handlers.get(fd)
                if handler is not None:
                    handler(event)
            if self.exit is not None:
                deadline = deadline or time.monotonic() + _DRAIN_SECONDS
                if not self.outputs or time.monotonic() >= deadline:
                    break
        self._finish()

    def _watch(self, fd: int, events: int, handler: Callable[[int], None]) -> None:
        self.handlers[fd] = handler
        self.poll.register(fd, events)

    def _unwatch(self, fd: int) -> None:
        if self.handlers.pop(fd, None) is not None:
            self.poll.unregister(fd)

    def _listen(self) -> None:
        self.listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
        # Through the directory's descriptor: the path itself may exceed the 107 bytes of a socket address.
        directory = posix.open(self.directory, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
        self.listener.bind(f"/proc/self/fd/{directory}/shim.sock")
        posix.close(directory)
        self.listener.listen(8)
        self._watch(self.listener.fileno(), select.POLLIN, lambda _event: self._accept())

    def _accept(self) -> None:
        fd, _address = self.listener._accept()
        posix.set_inheritable(fd, False)
        client = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, fd)
        self._add_client(client)

    def _add_client(self, client: Any) -> None:
        client.setblocking(False)
        self.clients[client.fileno()] = client
        self._watch(client.fileno(), select.POLLIN, lambda _event: self._serve(client))

    def _drop_client(self, client: Any) -> None:
        fd = client.fileno()
        if self.clients.pop(fd, None) is not None:
            self._unwatch(fd)
            client.close()

    def _send(self, client: Any, message: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
        if client.fileno() not in self.clients:
            return
        try:
            wire.send(client, message, fds)
        except OSError:  # it left, or does not read: it can connect again and ask
            self._drop_client(client)

    def _tell_all(self, message: dict[str, Any]) -> None:
        for client in list(self.clients.values()):
            self._send(client, message)

    # The container's start

    def _start(self) -> bool:
        ours, theirs = socketpair()
        stdio = self._stdio()
        pid = posix.fork()
        if pid == 0:
            launch.container(self.spec, theirs, stdio)
        theirs.close()
        if not self.spec["tty"]:
            for fd in stdio:
                posix.close(fd)
        error = self._await_launch(ours)
        ours.close()
        if not error and not self.pid:
            error = "the first process of the container ended before its main process existed"
        if error:
            self._reap_all()
            self._record_exit(launch.EXIT_LAUNCH_FAILED, error)
            self._tell_all({"event": "failed", "error": error})
            return False
        self.started_at = time.time_ns()
        started = f"{self.pid} {processes.start_time(self.pid)} {self.started_at}\n"
        write_durably(self.directory, "started", started.encode())
        if self.master >= 0:
            self._add_output(self.master, "stdout")
        self._tell_all({"event": "started", "pid": self.pid, "started_at": self.started_at})
        return True

    def _stdio(self) -> tuple[int, int, int]:
        """The container's three descriptors; our ends of them are watched. With a tty the container makes its own."""
        if self.spec["tty"]:
            return 0, 0, 0
        if self.spec["stdin"]:
            stdin, self.stdin = posix.pipe2(posix.O_CLOEXEC)
        else:
            stdin = posix.open("/dev/null", posix.O_RDONLY | posix.O_CLOEXEC)
        out, stdout = posix.pipe2(posix.O_CLOEXEC)
        err, stderr = posix.pipe2(posix.O_CLOEXEC)
        self._add_output(out, "stdout")
        self._add_output(err, "stderr")
        return stdin, stdout, stderr

    def _await_launch(self, sync: Any) -> str:
        while True:
            packet = wire.receive(sync)
            if packet is None:
                return ""
            message, fds = packet
            self.pid = message.get("pid", self.pid)
            if message.get("tty"):
                self.master = fds[0]
            if "note" in message:
                self._note(message["note"])
            if "error" in message:
                return message["error"]

    def _note(self, text: str) -> None:
        fd = posix.open(
            self.directory + "/notes", posix.O_WRONLY | posix.O_CREAT | posix.O_APPEND | posix.O_CLOEXEC, 0o600
        )
        posix.write(fd, text.encode() + b"\n")
        posix.close(fd)
        self._tell_all({"event": "note", "text": text})

    # Its output

    def _add_output(self, fd: int, stream: str) -> None:
        posix.set_blocking(fd, False)
        self.outputs[fd] = stream
        self._watch(fd, select.POLLIN, lambda _event: self._read(fd))

    def _read(self, fd: int) -> None:
        stream = self.outputs[fd]
        try:
            data = posix.read(fd, _CHUNK)
        except BlockingIOError:
            return
        except OSError:  # EIO: the last slave of the terminal was closed
            data = b""
        try:
            if data:
                self.log.write(stream, data)
            else:
                self.log.finish(stream)
        except OSError as e:  # a full disk costs log lines, not the container
            self._tell_all({"event": "note", "text": f"{self.spec['log']}: {e.strerror}: output is lost"})
        if not data:
            self._unwatch(fd)
            del self.outputs[fd]
            if fd != self.master:
                posix.close(fd)
        for reader in [r for r in self.attached if r.stream == stream]:
            if data:
                self._feed(reader, data)
            else:
                self._detach(reader)

    def _feed(self, reader: _Attached, data: bytes) -> None:
        reader.backlog += data
        try:
            while reader.backlog:
                reader.backlog = reader.backlog[posix.write(reader.fd, reader.backlog) :]
        except BlockingIOError:
            if len(reader.backlog) > _ATTACH_BACKLOG:
                self._detach(reader)
            elif reader.fd not in self.handlers:
                self._watch(reader.fd, select.POLLOUT, lambda _event: self._feed(reader, b""))
            return
        except OSError:  # its reader closed the other end
            self._detach(reader)
            return
        self._unwatch(reader.fd)

    def _detach(self, reader: _Attached) -> None:
        if reader in self.attached:
            self.attached.remove(reader)
            self._unwatch(reader.fd)
            posix.close(reader.fd)

    # Requests

    def _serve(self, client: Any) -> None:
        try:
            packet = wire.receive(client)
        except BlockingIOError:
            return
        except OSError:
            packet = None
        if packet is None:
            self._drop_client(client)
            return
        message, fds = packet
        operation = getattr(self, "_op_" + message["op"], None)
        try:
            if operation is None:
                raise OSError(38, f"this container's shim does not know {message['op']!r}")
            operation(client, message, fds)
        except OSError as e:
            self._send(client, {"id": message["id"], "error": e.strerror or str(e)})
        finally:
            for fd in fds:
                posix.close(fd)

    def _op_state(self, client: Any, message: dict[str, Any], fds: list[int]) -> None:
        self._send(client, {"id": message["id"], "pid": self.pid, "started_at": self.started_at})

    def _op_signal(self, client: Any, message: dict[str, Any], fds: list[int]) -> None:
        if self.exit is None:
            posix.kill(self.pid, message["number"])
            if message.get("all"):
                self._kill_rest()
        self._send(client, {"id": message["id"]})

    def _op_reopen(self, client: Any, message: dict[str, Any], fds: list[int]) -> None:
        self.log.reopen()
        self._send(client, {"id": message["id"]})

    def _op_attach(self, client: Any, message: dict[str, Any], fds: list[int]) -> None:
        streams = ("stdout",) if self.master >= 0 else ("stdout", "stderr")
        for stream, fd in zip(streams, list(fds), strict=False):
            fds.remove(fd)
            posix.set_blocking(fd, False)
            self.attached.append(_Attached(stream, fd))
        give: tuple[int, ...] = ()
        if self.master >= 0:
            give = (self.master,)
        elif message["stdin"] and self.stdin >= 0:
            give = (self.stdin,)
        self._send(client, {"id": message["id"]}, give)
        if give and self.spec["stdin_once"] and message["stdin"] and self.stdin >= 0:
            # stdinOnce: the first attach brings the only input there will be; its end is the input's end.
            posix.close(self.stdin)
            self.stdin = -1

    def _op_exec(self, client: Any, message: dict[str, Any], fds: list[int]) -> None:
        if self.exit is not None:
            raise OSError(3, "the container has ended")
        spec = {**self.spec, **message["spec"]}
        ours, theirs = socketpair()
        self.last_exec += 1
        running = _Exec(self.last_exec, message["id"], client)
        pid = posix.fork()
        if pid == 0:
            stdio = (0, 0, 0) if spec["tty"] else (fds[0], fds[1], fds[2])
            launch.process(spec, self.pid, theirs, stdio)
        theirs.close()
        self.execs[running.number] = running
        self._watch(ours.fileno(), select.POLLIN, lambda _event: self._exec_launched(running, ours))

    def _exec_launched(self, running: _Exec, sync: Any) -> None:
        packet = wire.receive(sync)
        if packet is not None:
            message, fds = packet
            running.error = message.get("error", running.error)
            if "pid" in message:
                running.pid = message["pid"]
                running.code = self.unclaimed.pop(running.pid, None)
            if message.get("tty"):
                running.master = fds[0]
            return
        self._unwatch(sync.fileno())
        sync.close()
        running.answered = True
        if not running.error and not running.pid:
            running.error = "the process ended before it began"
        if running.error:
            self._send(running.client, {"id": running.request, "error": running.error})
            self.execs.pop(running.number)
        else:
            give = (running.master,) if running.master >= 0 else ()
            answer = {"id": running.request, "exec": running.number, "pid": running.pid}
            self._send(running.client, answer, give)
            self._exec_ended(running)
        if running.master >= 0:
            posix.close(running.master)

    def _exec_ended(self, running: _Exec) -> None:
        if running.answered and running.code is not None:
            self._send(running.client, {"event": "exec-exit", "exec": running.number, "code": running.code})
            self.execs.pop(running.number, None)

    def _op_kill(self, client: Any, message: dict[str, Any], fds: list[int]) -> None:
        running = self.execs.get(message["exec"])
        if running is not None and running.pid and running.code is None:
            posix.kill(running.pid, _signal.SIGKILL)
        self._send(client, {"id": message["id"]})

    # Ends

    def _watch_children(self) -> None:
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
        wake, signalled = posix.pipe2(posix.O_CLOEXEC | posix.O_NONBLOCK)
        _signal.signal(_signal.SIGCHLD, lambda _number, _frame: None)
        _signal.set_wakeup_fd(signalled, warn_on_full_buffer=False)
        self._watch(wake, select.POLLIN, lambda _event: self._reap(wake))

    def _reap(self, wake: int) -> None:
        posix.read(wake, 4096)
        while True:
            try:
                pid, status = posix.waitpid(-1, posix.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = posix.waitstatus_to_exitcode(status)
            code = code if code >= 0 else 128 - code
            if pid == self.pid:
                self.exit = {"event": "exit", "code": code, "oom": False, "finished_at": time.time_ns()}
                self._kill_rest()
                continue
            for running in list(self.execs.values()):
                if running.pid == pid:
                    running.code = code
                    self._exec_ended(running)
                    break
            else:
                self.unclaimed[pid] = code  # perhaps an exec whose pid we have not read yet
                while len(self.unclaimed) > 64:
                    self.unclaimed.pop(next(iter(self.unclaimed)))

    @staticmethod
    def _reap_all() -> None:
        """After a failed launch: its processes leave the cgroup only when they are reaped."""
        while True:
            try:
                posix.waitpid(-1, 0)
            except ChildProcessError:
                return

    def _kill_rest(self) -> None:
        """Without a pid namespace of its own the container's other processes are those of its cgroup, or our orphans."""
        if not self.spec["new_pid"]:
            processes.kill_all(self.spec["cgroups"])

    def _finish(self) -> None:
        assert self.exit is not None
        for stream in list(self.outputs.values()):
            self.log.finish(stream)
        self.exit["oom"] = self._oom_killed()
        self._record_exit(self.exit["code"], "", oom=self.exit["oom"], finished_at=self.exit["finished_at"])
        for running in list(self.execs.values()):
            running.code = 137 if running.code is None else running.code
            running.answered = True
            self._exec_ended(running)
        self._tell_all(self.exit)

    def _record_exit(self, code: int, message: str, *, oom: bool = False, finished_at: int = 0) -> None:
        text = f"{code} {int(oom)} {finished_at or time.time_ns()}\n{message}"
        write_durably(self.directory, "exit", text.encode())
        try:
            posix.unlink(self.directory + "/shim.sock")
        except FileNotFoundError:
            pass

    def _oom_killed(self) -> bool:
        for directory in self.spec["cgroups"]:
            for name in ("/memory.oom_control", "/memory.events"):
                for line in processes.lines(directory + name):
                    if line.startswith("oom_kill ") and int(line.split()[1]) > 0:
                        return True
        return False


def socketpair() -> tuple[Any, Any]:
    return _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)


def write_durably(directory: str, name: str, data: bytes) -> None:
    path = f"{directory}/{name}"
    fd = posix.open(path + ".new", posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC | posix.O_CLOEXEC, 0o600)
    try:
        posix.write(fd, data)
        posix.fsync(fd)
    finally:
        posix.close(fd)
    posix.rename(path + ".new", path)


def main(spec: dict[str, Any], control: Any) -> NoReturn:
    """In a fresh fork of the spawner; never returns."""
    code = 0
    try:
        posix.setsid()
        syscalls.prctl(syscalls.PR_SET_NAME, syscalls.name_argument("mk8s-shim"))
        null = posix.open("/dev/null", posix.O_RDWR | posix.O_CLOEXEC)
        for fd in (0, 1, 2):
            posix.dup2(null, fd)
        Monitor(spec, control).run()
    except BaseException as e:
        code = 1
        _report_crash(spec["directory"], e)
    finally:
        posix._exit(code)


def _report_crash(directory: str, error: BaseException) -> None:
    """Nobody reads our stderr: leave the trace where the kubelet that finds us gone looks for it."""
    text = f"{type(error).__name__}: {error}"
    trace = error.__traceback__
    while trace is not None:
        text += f"\n  {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        trace = trace.tb_next
    with open(directory + "/shim.crash", "w", encoding="utf-8") as file:
        file.write(text + "\n")
