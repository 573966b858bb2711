"""Talking to a cluster's supervisor: is there one, start one, ask it for something."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from cluster import ClusterError, pidfile
from cluster.home import Home, short_path


def supervisor_alive(home: Home) -> pidfile.Record | None:
    record = pidfile.load(home.run / "supervisor.pid")
    return record if record and record.alive else None


def ask(home: Home, request: dict[str, Any], *, timeout: float = 30.0) -> Iterator[dict[str, Any]]:
    """The supervisor's answers, line by line, until it hangs up. Raises OSError when nobody listens."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        with short_path(home.run / "supervisor.sock") as short:
            connection.connect(short)
        connection.sendall(orjson.dumps(request) + b"\n")
        with connection.makefile("rb") as lines:
            for line in lines:
                yield orjson.loads(line)


def ask_once(home: Home, request: dict[str, Any], *, timeout: float = 30.0) -> dict[str, Any]:
    """One answer; ClusterError when it is an error or none comes."""
    try:
        for answer in ask(home, request, timeout=timeout):
            if "error" in answer:
                raise ClusterError(f"the supervisor says: {answer['error']}")
            return answer
    except OSError as error:
        raise ClusterError(f"the supervisor of cluster {home.name} does not answer: {error}") from None
    raise ClusterError(f"the supervisor of cluster {home.name} hung up: see {home.log('supervisor')}")


def start_supervisor(home: Home) -> "subprocess.Popen[bytes]":
    """Start one in the background; it listens within a moment and waits for ``reload``."""
    descriptor = os.open(home.log("supervisor"), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "cluster.supervisor", str(home.path)],
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
            cwd="/",
            env=environment(),
        )
    finally:
        os.close(descriptor)


def environment() -> dict[str, str]:
    """Ours, and where our packages lie, for a checkout that is not installed: the supervisor runs elsewhere."""
    environment = dict(os.environ)
    packages = str(Path(__file__).resolve().parent.parent)
    if not packages.endswith("site-packages"):
        paths = [packages, *environment.get("PYTHONPATH", "").split(os.pathsep)]
        environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(p for p in paths if p))
    return environment


def await_supervisor(home: Home, process: "subprocess.Popen[bytes] | None", seconds: float = 10.0) -> None:
    """Until the socket takes connections; it need not have finished importing yet."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process is not None and process.poll() not in (None, 0):
            break
        try:
            with socket.socket(socket.AF_UNIX) as connection, short_path(home.run / "supervisor.sock") as short:
                connection.connect(short)
                return
        except OSError:
            time.sleep(0.01)
    raise ClusterError(f"the supervisor did not start: see {home.log('supervisor')}")
