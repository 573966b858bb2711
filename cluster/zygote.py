"""Forks a component from a process that has already imported what the components share.

A fresh interpreter spends half a second importing the same libraries in every component; a fork gets them for
nothing and shares their memory. The process that forks must have one thread only and no event loop.
"""

import ast
import contextlib
import ctypes
import gc
import importlib
import importlib.util
import os
import runpy
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from cluster.plan import Process

#: What the store and the API server import, in an order that lets the caller stop between two. Only imported: nothing starts a thread.
FIRST = (
    "argparse",
    "logging",
    "hashlib",
    "random",
    "socket",
    "ssl",
    "asyncio",
    "orjson",
    "uvloop",
    "httptools",
    "hpack",
    "google.protobuf.internal.builder",
    "google.protobuf.message",
    "email.utils",
    "uvicorn",
    "uvicorn.protocols.http.httptools_impl",
    "componentbase.connection",
    "componentbase.flags",
    "componentbase.logs",
    "componentbase.process",
)
#: What at least two of the others import besides.
SECOND = (
    "uuid",
    "ipaddress",
    "encodings.idna",
    "uvicorn.lifespan.off",
    "starlette.applications",
    "starlette.routing",
    "starlette.responses",
    "componentbase.health",
    "yaml",
    "prometheus_client",
    "kubeclient",
    "apimachinery.meta",
    "apimachinery.errors",
    "apimachinery.names",
    "apimachinery.quantity",
    "apimachinery.selectors",
)

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def preload(module: str) -> None:
    """Import one of the shared modules; without the collector, which would only touch what it cannot free."""
    gc.disable()
    importlib.import_module(module)


def fork(process: Process, log: Path, record: Callable[[int], None], gate: int = -1) -> int:
    """Start ``process`` and return its pid.

    ``record(pid)`` runs in the child before anything else, so that no component can live without its pid file. With a
    ``gate`` (the read end of a pipe) the child imports its code at once, but runs it only when the other end closes.
    """
    # Out of the collector's sight: in the child it would write to, and so copy, every page that is shared.
    gc.freeze()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        code = _run(process, log, record, gate)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        # Not sys.exit: the frames above belong to the supervisor and must not run in the child.
        os._exit(code)


def _run(process: Process, log: Path, record: Callable[[int], None], gate: int) -> int:
    os.setsid()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    record(os.getpid())
    _redirect(log)
    _close_all_but(gate)
    os.chdir("/")
    set_title(process.module, process.name)
    if process.namespace:
        enter_network(process.namespace)
    gc.enable()
    from kubeclient.leaderelection import IDENTITY_VARIABLE

    # The supervisor never runs two of one name, so a restarted leader need not wait for its own Lease to expire.
    os.environ[IDENTITY_VARIABLE] = f"{socket.gethostname()}_{process.name}_{log.parent.parent.name}"
    sys.argv = [process.module, *process.flags]
    if gate >= 0:
        # Whatever cannot be imported here fails again, and loudly, when the component runs.
        with contextlib.suppress(Exception):
            import_ahead(process.module)
        os.read(gate, 1)
        os.close(gate)
    return _exit_code(lambda: runpy.run_module(process.module, run_name="__main__", alter_sys=True))


def import_ahead(package: str) -> None:
    """Import all that ``<package>.__main__`` mentions, also inside functions, without running it."""
    spec = importlib.util.find_spec(f"{package}.__main__")
    if spec is None or spec.origin is None:
        return
    for node in ast.walk(ast.parse(Path(spec.origin).read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                importlib.import_module(alias.name)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            parent = importlib.import_module(node.module)
            for alias in node.names:
                if not hasattr(parent, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")


def _exit_code(main: Callable[[], object]) -> int:
    """What the interpreter would exit with."""
    try:
        main()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _redirect(log: Path) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(null, 0)
    os.dup2(file, 1)
    os.dup2(file, 2)


def _close_all_but(keep: int) -> None:
    """The supervisor's lock, sockets and pidfds are not the component's."""
    limit = os.sysconf("SC_OPEN_MAX")
    if keep > 2:
        os.closerange(3, keep)
        os.closerange(keep + 1, limit)
    else:
        os.closerange(3, limit)


def enter_network(namespace: str) -> None:
    """Move this process into ``/run/netns/<namespace>`` (``os.setns`` comes with Python 3.12)."""
    descriptor = os.open(f"/run/netns/{namespace}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"cannot enter network namespace {namespace}: {os.strerror(number)}")
    finally:
        os.close(descriptor)


def set_title(module: str, name: str) -> None:
    """Let ``ps`` show ``python -m <module> [<name>]`` instead of the supervisor's own command line.

    The kernel reads it from the memory that held the arguments at exec, so it is written there, cut to that length.
    """
    Path("/proc/self/comm").write_text(name[:15])
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(fields[45]), int(fields[46])  # arg_start and arg_end, fields 48 and 49 of proc(5)
    if not 0 < start < end:
        return
    title = f"python -m {module} [{name}]".encode()[: end - start - 1]
    ctypes.memmove(start, title.ljust(end - start, b"\0"), end - start)


def exec_again(arguments: Sequence[str]) -> None:
    """Replace this process by a fresh interpreter; never returns."""
    os.execv(sys.executable, [sys.executable, *arguments])
