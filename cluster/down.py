"""``mk8s down``: stop everything, and leave nothing of it on this machine but the data (and not even that with ``--purge``)."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from cluster import ClusterError, control, network, pidfile
from cluster.home import Home
from cluster.progress import Progress
from cluster.spec import Spec


def down(name: str, progress: Progress, *, purge: bool = False) -> bool:
    """False when there was nothing to do."""
    home = Home(name)
    if not home.path.exists():
        return False
    with home.locked(lambda: progress.note("waiting for another mk8s command on this cluster to finish")):
        return take_down(home, progress, purge=purge)


def take_down(home: Home, progress: Progress, *, purge: bool) -> bool:
    """As :func:`down`, with the lock held by the caller."""
    spec = Spec.load(home) if home.exists() else None
    stopped = _stop_processes(home, progress)
    problems = []
    if spec:
        problems += _remove_pods(spec, home)
        if spec.bridged:
            problems += network.remove(spec, str(home.path))
    if problems:
        raise ClusterError("not everything could be removed: " + "; ".join(problems))
    if purge and home.path.exists():
        _remove_folder(home)
    return bool(stopped) or purge


# -- processes ------------------------------------------------------------------------------------------------------


def _stop_processes(home: Home, progress: Progress) -> list[str]:
    stopped = []
    if control.supervisor_alive(home):
        with contextlib.suppress(OSError):
            for line in control.ask(home, {"do": "stop"}, timeout=60.0):
                if "stopped" in line:
                    stopped.append(line["stopped"])
    # Whatever still lives has lost its supervisor, or has a supervisor that does not listen.
    left = _kill_recorded(home)
    if left:
        progress.note(f"killed {', '.join(left)}, which had no supervisor to stop them")
    for file in home.run.glob("*.pid"):
        file.unlink(missing_ok=True)
    (home.run / "supervisor.sock").unlink(missing_ok=True)
    if stopped or left:
        progress.done(f"stopped {len(stopped) + len(left)} processes")
    return stopped + left


def _kill_recorded(home: Home) -> list[str]:
    """SIGTERM, then SIGKILL, to every process with a pid file; the guard and the supervisor first, lest they restart one."""
    killed = []
    for name in ("guard", "supervisor"):
        record = pidfile.load(home.run / f"{name}.pid")
        if record and record.kill(signal.SIGKILL):
            killed.append(name)
    # The guard may have been replaced between the two.
    for name in ("guard", *home.processes_recorded()):
        record = pidfile.load(home.run / f"{name}.pid")
        if record and record.kill(signal.SIGTERM):
            killed.append(name)
    deadline = time.monotonic() + 5
    for name in killed:
        record = pidfile.load(home.run / f"{name}.pid")
        while record and record.alive and time.monotonic() < deadline:
            time.sleep(0.01)
        if record:
            record.kill(signal.SIGKILL)
    return killed


# -- what the kubelets' runtimes left -------------------------------------------------------------------------------


def _remove_pods(spec: Spec, home: Home) -> list[str]:
    """Let the runtime remove containers, mounts, cgroups and namespaces of each node; all nodes at once."""
    module = f"kubelet.cri.{spec.runtime}"
    running = []
    for node in spec.node_names:
        folder = home.node(node)
        if folder.exists():
            command = [sys.executable, "-P", "-m", module, "--root-dir", str(folder), "--purge"]
            running.append(
                (
                    node,
                    subprocess.Popen(
                        command,
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.PIPE,
                        text=True,
                        env=control.environment(),
                    ),
                )
            )
    problems = []
    for node, process in running:
        try:
            _, errors = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            problems.append(f"removing the pods of {node} took too long")
            continue
        if process.returncode:
            problems.append(f"the pods of {node}: {errors.strip().splitlines()[-1] if errors.strip() else 'failed'}")
    _unmount(home)  # pods' volumes in memory, whose containers are gone now
    return problems


def _unmount(home: Home) -> None:
    """Take down every mount below the cluster's folder."""
    for _ in range(3):
        mounts = mounts_below(home.path)
        for mount in reversed(mounts):
            subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)
        if not mounts:
            break


def _remove_folder(home: Home) -> None:
    """Remove the cluster's folder, but never reach through a mount below it into something else."""
    _unmount(home)
    left = mounts_below(home.path)
    if left:
        raise ClusterError(f"{left[0]} is still mounted; {home.path} was not removed")
    shutil.rmtree(home.path)


def mounts_below(folder: Path) -> list[str]:
    """Mount points in ``folder``, in the order in which they were mounted."""
    found = []
    prefix = os.path.realpath(folder) + "/"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        # The kernel writes spaces and the like as octal escapes.
        point = line.split()[4].encode().decode("unicode_escape").encode("latin-1").decode("utf-8", "surrogateescape")
        if point.startswith(prefix):
            found.append(point)
    return found
