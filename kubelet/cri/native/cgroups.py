"""Control groups, version 1 and 2: limits, usage, and the end of what they hold.

Every node has one root, ``/mk8s/<key>`` in each hierarchy, where the key stands for the node's state directory: what a
node left behind can always be found by it. Below are ``<pod's cgroup_parent>/<container id>``.
"""

import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from kubelet.cri.api import LinuxResources, RuntimeServiceError

_WANTED = ("memory", "cpu", "cpuacct", "pids")
_V2_CONTROLLERS = ("memory", "cpu", "pids")


@dataclass(slots=True)
class Hierarchies:
    """Where the controllers are mounted: one place each (v1) or one for all (v2)."""

    version: int = 0  # 0: none that we may use
    mounts: dict[str, str] = field(default_factory=dict)  # v1: controller -> mount point; v2: "" -> mount point
    why_not: str = ""


def parse_mountinfo(text: str) -> Hierarchies:
    """From ``/proc/self/mountinfo``. A cgroup2 mount counts only where no v1 hierarchy has the memory controller."""
    v1: dict[str, str] = {}
    v2 = ""
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        place = left.split()[4].replace("\\040", " ")
        fstype, _source, options = right.split(" ", 2)
        if fstype == "cgroup":
            for option in options.split(","):
                if option in _WANTED:
                    v1.setdefault(option, place)
        elif fstype == "cgroup2":
            v2 = v2 or place
    if "memory" in v1:
        return Hierarchies(1, v1)
    if v2:
        return Hierarchies(2, {"": v2})
    return Hierarchies(0, {}, "no cgroup file system is mounted")


def detect() -> Hierarchies:
    """What this process may use; ``why_not`` says why nothing."""
    found = parse_mountinfo(Path("/proc/self/mountinfo").read_text(encoding="utf-8"))
    for place in found.mounts.values():
        if not os.access(place, os.W_OK):
            return Hierarchies(0, {}, f"{place} is not writable")
    return found


def cpu_weight(shares: int) -> int:
    """v1 ``cpu.shares`` (2 to 262144) as v2 ``cpu.weight`` (1 to 10000), as runc converts it."""
    return 1 + (max(2, min(shares, 262144)) - 2) * 9999 // 262142


def settings(resources: LinuxResources, version: int) -> list[tuple[str, str, str]]:
    """``(controller, file, value)`` for what is limited; 0 stands for "not set", as in CRI."""
    r = resources
    wanted: list[tuple[str, str, str]] = []
    if version == 1:
        if r.memory_limit_in_bytes > 0:
            wanted.append(("memory", "memory.limit_in_bytes", str(r.memory_limit_in_bytes)))
            wanted.append(("memory", "memory.memsw.limit_in_bytes", str(r.memory_limit_in_bytes)))
        if r.cpu_shares > 0:
            wanted.append(("cpu", "cpu.shares", str(r.cpu_shares)))
        if r.cpu_period > 0:
            wanted.append(("cpu", "cpu.cfs_period_us", str(r.cpu_period)))
        if r.cpu_quota != 0:
            wanted.append(("cpu", "cpu.cfs_quota_us", str(r.cpu_quota)))
        if r.pids_limit > 0:
            wanted.append(("pids", "pids.max", str(r.pids_limit)))
        return wanted
    if r.memory_limit_in_bytes > 0:
        wanted.append(("", "memory.max", str(r.memory_limit_in_bytes)))
        wanted.append(("", "memory.swap.max", "0"))
        wanted.append(("", "memory.oom.group", "1"))
    if r.cpu_shares > 0:
        wanted.append(("", "cpu.weight", str(cpu_weight(r.cpu_shares))))
    if r.cpu_quota != 0:
        quota = "max" if r.cpu_quota < 0 else str(r.cpu_quota)
        wanted.append(("", "cpu.max", f"{quota} {r.cpu_period or 100000}"))
    if r.pids_limit > 0:
        wanted.append(("", "pids.max", str(r.pids_limit)))
    return wanted


class Cgroups:
    """The cgroups of one node."""

    def __init__(self, hierarchies: Hierarchies, key: str) -> None:
        self.hierarchies = hierarchies
        self.root = f"mk8s/{key}"

    @property
    def available(self) -> bool:
        return self.hierarchies.version > 0

    def directories(self, path: str) -> list[str]:
        """The directories of ``path`` (relative to the node's root), the memory controller's first."""
        places = list(dict.fromkeys(self.hierarchies.mounts.values()))
        memory = self.hierarchies.mounts.get("memory")
        places.sort(key=lambda place: place != memory)
        return [f"{place}/{self.root}/{path}".rstrip("/") for place in places]

    def view(self) -> list[tuple[str, str, str]]:
        """What a container mounts below ``/sys/fs/cgroup``: ``(name, file system, its options)``."""
        if self.hierarchies.version == 2:
            return [("", "cgroup2", "")]
        together: dict[str, list[str]] = {}
        for controller, place in self.hierarchies.mounts.items():
            together.setdefault(place, []).append(controller)
        return [(",".join(names), "cgroup", ",".join(names)) for names in together.values()]

    def create(self, path: str, resources: LinuxResources) -> list[str]:
        """Make it with its limits; the directories whose ``cgroup.procs`` the container's first process writes to."""
        directories = self.directories(path)
        try:
            for directory in directories:
                os.makedirs(directory, exist_ok=True)
            if self.hierarchies.version == 2:
                self._delegate(path)
            self.update(path, resources)
        except OSError as e:
            raise RuntimeServiceError(f"cgroup {path}: {e.strerror} ({e.filename})") from e
        return directories

    def update(self, path: str, resources: LinuxResources) -> None:
        for controller, name, value in settings(resources, self.hierarchies.version):
            place = self.hierarchies.mounts.get(controller)
            if place is None:
                raise RuntimeServiceError(f"this machine has no cgroup controller {controller!r} for {name}={value}")
            file = f"{place}/{self.root}/{path}/{name}"
            try:
                _write(file, value)
            except FileNotFoundError:
                if "swap" not in name and "memsw" not in name:  # absent when the kernel does not account swap
                    raise
            except OSError:
                # v1 wants memsw >= memory at every moment: raising the limit has to start from the other end.
                if name != "memory.limit_in_bytes":
                    raise
                _write(file.replace("memory.limit", "memory.memsw.limit"), value)
                _write(file, value)

    def _delegate(self, path: str) -> None:
        """v2: a child has only the controllers that every directory above hands down."""
        place = Path(self.hierarchies.mounts[""])
        wanted = " ".join(f"+{name}" for name in _V2_CONTROLLERS)
        for directory in [place, *(place / parent for parent in list(Path(self.root, path).parents)[-2::-1])]:
            _write(str(directory / "cgroup.subtree_control"), wanted)

    def usage(self, path: str) -> tuple[int, int]:
        """``(CPU nanoseconds so far, working set in bytes)``; FileNotFoundError once it is gone."""
        mounts = self.hierarchies.mounts
        if self.hierarchies.version == 2:
            base = Path(mounts[""], self.root, path)
            cpu = _field(base / "cpu.stat", "usage_usec") * 1000
            used, inactive = int((base / "memory.current").read_text()), _field(base / "memory.stat", "inactive_file")
            return cpu, max(0, used - inactive)
        memory = Path(mounts["memory"], self.root, path)
        cpu = int(Path(mounts["cpuacct"], self.root, path, "cpuacct.usage").read_text()) if "cpuacct" in mounts else 0
        used = int((memory / "memory.usage_in_bytes").read_text())
        return cpu, max(0, used - _field(memory / "memory.stat", "total_inactive_file"))

    def processes(self, path: str = "") -> set[int]:
        """The pids in ``path`` and below it."""
        found: set[int] = set()
        for directory in self.directories(path):
            for base, _names, _files in os.walk(directory):
                try:
                    found |= {int(line) for line in Path(base, "cgroup.procs").read_text().split()}
                except FileNotFoundError:  # removed meanwhile
                    continue
        return found - {0}

    def kill(self, path: str = "", seconds: float = 2.0) -> None:
        """SIGKILL all in ``path`` and below; returns when they are gone, at the latest after ``seconds``."""
        deadline = time.monotonic() + seconds
        while (pids := self.processes(path)) and time.monotonic() < deadline:
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.005)

    def remove(self, path: str = "") -> None:
        """Remove ``path`` and what is below it; a cgroup that still has a process is left, and said so."""
        for directory in self.directories(path):
            for base, names, _files in os.walk(directory, topdown=False):
                for child in [*(os.path.join(base, name) for name in names), base]:
                    try:
                        os.rmdir(child)
                    except FileNotFoundError:
                        pass
        if not path:
            for directory in self.directories(""):
                try:
                    os.rmdir(os.path.dirname(directory))  # mk8s itself, when ours was the last node
                except OSError:
                    pass


def _write(path: str, value: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    except OSError as e:
        raise type(e)(e.errno, f"{e.strerror} (writing {value!r})", path) from None
    finally:
        os.close(fd)


def _field(path: Path, name: str) -> int:
    for line in path.read_text().splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0
