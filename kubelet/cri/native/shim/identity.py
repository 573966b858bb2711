"""Who a container's process is: user, groups and capabilities.

Names are looked up in the container's own ``/etc/passwd`` and ``/etc/group``, after its root became ours.
"""

from __future__ import annotations

import posix

from . import syscalls

# In the kernel's order: the index is the capability's number.
CAPABILITIES = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
]

# Docker's and containerd's default without MKNOD: there is no device filter under cgroup v2 without BPF, so a container
# that makes device nodes has to say so.
DEFAULT = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SYS_CHROOT",
    "AUDIT_WRITE",
    "SETFCAP",
]

ALL = (1 << len(CAPABILITIES)) - 1


def capability_mask(add: list[str], drop: list[str]) -> int:
    """The bits of Kubernetes' ``securityContext.capabilities``; ``ALL`` counts; raises ``ValueError`` on a wrong name."""

    def bit(name: str) -> int:
        name = name.upper().removeprefix("CAP_")
        if name == "ALL":
            return ALL
        if name not in CAPABILITIES:
            raise ValueError(f"unknown capability {name!r}")
        return 1 << CAPABILITIES.index(name)

    names_added = [name.upper().removeprefix("CAP_") for name in add]
    mask = 0 if "ALL" in (name.upper() for name in drop) else sum(bit(name) for name in DEFAULT)
    if "ALL" in names_added:
        mask = ALL
    for name in drop:
        if name.upper() != "ALL":
            mask &= ~bit(name)
    for name in names_added:
        if name != "ALL":
            mask |= bit(name)
    return mask


def _table(path: str) -> list[list[str]]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return [line.rstrip("\n").split(":") for line in file if ":" in line]
    except (FileNotFoundError, NotADirectoryError):
        return []


def resolve(user: str, group: int, extra: list[int]) -> tuple[int, int, list[int], str]:
    """``(uid, gid, supplementary groups, home)`` of ``user``: a name or number, ``USER:GROUP`` as images write it.

    ``group`` (-1: none) is the pod's ``runAsGroup``. As in Docker a user found in ``/etc/passwd`` brings the groups that
    ``/etc/group`` gives it; a number which is not there has group 0 and no home but ``/``.
    """
    name, _, group_name = user.partition(":")
    name = name or "0"
    uid, gid, home, login = None, 0, "/", ""
    for row in _table("/etc/passwd"):
        if len(row) >= 6 and (row[0] == name or row[2] == name):
            login, uid, gid, home = row[0], int(row[2]), int(row[3]), row[5] or "/"
            break
    if uid is None:
        if not name.isdigit():
            raise OSError(2, f"unable to find user {name}: no matching entries in passwd file")
        uid = int(name)
    groups = set(extra)
    groups_by_name = _table("/etc/group")
    if group_name:
        numbers = [int(row[2]) for row in groups_by_name if len(row) >= 3 and row[0] == group_name]
        if not numbers and not group_name.isdigit():
            raise OSError(2, f"unable to find group {group_name}: no matching entries in group file")
        gid = numbers[0] if numbers else int(group_name)
    if group >= 0:
        gid = group
    if login and not group_name:
        groups |= {int(row[2]) for row in groups_by_name if len(row) >= 4 and login in row[3].split(",")}
    return uid, gid, sorted(groups), home


def become(uid: int, gid: int, groups: list[int], mask: int, *, can_set_groups: bool) -> None:
    """Take on the identity for good: bounding set, groups, gid, uid, then the capabilities themselves."""
    held = syscalls.capget()
    for number in range(64):
        if mask >> number & 1:
            continue
        try:
            if not syscalls.prctl(syscalls.PR_CAPBSET_READ, number):
                continue
        except OSError:  # past the kernel's last capability
            break
        syscalls.prctl(syscalls.PR_CAPBSET_DROP, number)
    if can_set_groups:
        posix.setgroups(groups)
    if gid != posix.getgid() or gid != posix.getegid():
        posix.setresgid(gid, gid, gid)
    if uid != posix.getuid() or uid != posix.geteuid():
        posix.setresuid(uid, uid, uid)
    if uid == 0:
        syscalls.capset(held & mask)
