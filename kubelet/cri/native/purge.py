"""Remove whatever a node left on its machine: for ``mk8s down``, whether or not its kubelet still lives.

Works from what is there, not from records alone: processes by the mark in their arguments or environment, cgroups by the
node's key, then the directory. Network links end with the namespaces of the pods.
"""

import os
import signal
import time
from pathlib import Path

import orjson

from kubelet.cri.native.cgroups import Cgroups, detect
from kubelet.cri.native.images import default_store
from kubelet.cri.native.node import cgroup_key, state_directory
from kubelet.cri.native.records import remove_tree
from kubelet.cri.native.shim.processes import kill_process, start_time
from kubelet.cri.native.spawning import MARK

_SECONDS = 5.0


def marked_processes(state_dir: str) -> list[int]:
    """Spawners, monitors and pause processes of that state directory."""
    marks = {"cmdline": f"\0{MARK}\0{state_dir}\0".encode(), "environ": f"\0MK8S_SANDBOX={state_dir}:".encode()}
    found = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if any(mark in b"\0" + Path(entry.path, name).read_bytes() for name, mark in marks.items()):
                found.append(int(entry.name))
        except OSError:  # it ended, or is another user's
            continue
    return found


def recorded_processes(state_dir: str) -> list[int]:
    """The pause processes that the records name and that still run: also where a process of another user
    namespace does not show us its environment."""
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    found = []
    for file in Path(state_dir, "sandboxes").glob("*/sandbox.json"):
        try:
            record = orjson.loads(file.read_bytes())
        except (OSError, orjson.JSONDecodeError):  # half written, or just removed
            continue
        if record["boot_id"] == boot_id and record["pid"] and start_time(record["pid"]) == record["start_time"]:
            found.append(record["pid"])
    return found


def purge(root_dir: str, *, keep_data: bool = False) -> list[str]:
    """Returns what could not be removed, a sentence each; empty when the node left nothing behind.

    ``keep_data`` keeps the node's network state and nothing else that would be of use: containers do not survive.
    """
    state_dir = state_directory(root_dir)
    problems = []
    deadline = time.monotonic() + _SECONDS
    # Monitors die first and take their containers with them (PR_SET_PDEATHSIG); then what is left in the cgroups.
    while (pids := {*marked_processes(state_dir), *recorded_processes(state_dir)}) and time.monotonic() < deadline:
        for pid in pids:
            kill_process(pid)
        time.sleep(0.01)
    if pids:
        problems.append(f"processes {sorted(pids)} do not die of {signal.SIGKILL.name}")
    cgroups = Cgroups(detect(), cgroup_key(root_dir))
    if cgroups.available:
        cgroups.kill()
        for attempt in range(20):
            try:
                cgroups.remove()
                break
            except OSError as e:
                if attempt == 19:
                    problems.append(f"cgroup {e.filename}: {e.strerror}")
                time.sleep(0.05)
    for container in Path(state_dir, "containers").glob("*"):
        Path(default_store(root_dir), "in-use", container.name).unlink(missing_ok=True)
    if not keep_data:
        try:
            remove_tree(Path(state_dir))
        except OSError as e:
            problems.append(f"{e.filename or state_dir} cannot be removed: {e.strerror}")
    return problems
