"""What this machine is and has: read from /proc, /sys and /etc, once or whenever somebody asks how it fares."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


@dataclass(frozen=True, slots=True)
class Machine:
    """What does not change while the kubelet runs. Memory and disk in bytes."""

    machine_id: str
    system_uuid: str
    boot_id: str
    kernel: str
    os_image: str
    architecture: str
    cpus: int
    memory: int
    disk: int


def inspect(root_dir: Path) -> Machine:
    machine_id = _first("/etc/machine-id", "/var/lib/dbus/machine-id")
    disk = os.statvfs(root_dir)
    return Machine(
        machine_id=machine_id,
        system_uuid=_first("/sys/class/dmi/id/product_uuid") or machine_id,
        boot_id=_first("/proc/sys/kernel/random/boot_id"),
        kernel=os.uname().release,
        os_image=_os_image(),
        architecture=_ARCHITECTURES.get(platform.machine(), platform.machine()),
        cpus=len(os.sched_getaffinity(0)),
        memory=meminfo()["MemTotal"],
        disk=disk.f_frsize * disk.f_blocks,
    )


def _first(*paths: str) -> str:
    for path in paths:
        try:
            return Path(path).read_text().strip()
        except OSError:
            continue
    return ""


def _os_image() -> str:
    for line in _first("/etc/os-release").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return "Linux"


def meminfo() -> dict[str, int]:
    found = {}
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        found[name] = int(words[0]) * (1024 if words[1:] == ["kB"] else 1)
    return found


@dataclass(frozen=True, slots=True)
class Room:
    """What is left, and of how much, by the signals that evictions are about."""

    available: dict[str, int]
    capacity: dict[str, int]


def room(root_dir: Path) -> Room:
    memory, disk = meminfo(), os.statvfs(root_dir)
    running = int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])
    pids = int(_first("/proc/sys/kernel/pid_max") or 32768)
    return Room(
        available={
            "memory.available": memory["MemAvailable"],
            "nodefs.available": disk.f_frsize * disk.f_bavail,
            "nodefs.inodesFree": disk.f_favail,
            "pid.available": pids - running,
        },
        capacity={
            "memory.available": memory["MemTotal"],
            "nodefs.available": disk.f_frsize * disk.f_blocks,
            "nodefs.inodesFree": disk.f_files,
            "pid.available": pids,
        },
    )
