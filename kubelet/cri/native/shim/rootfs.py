"""The root file system of a container: overlay, /proc, /sys, /dev, volumes, and the step into it.

Runs in the container's own new mount namespace, so that all of it disappears with the container. Sources of binds are
opened as detached mounts (``open_tree``) before the namespace leaves the host's propagation groups: that is what lets
``mountPropagation`` work; targets are resolved inside the new root, whatever symbolic links the image holds.
"""

from __future__ import annotations

import posix
import stat
from posixpath import basename, dirname, normpath

from . import syscalls
from .syscalls import MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_PRIVATE, MS_RDONLY, MS_REC, MS_REMOUNT, mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

Trees = dict[str, int]

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
# containerd's and Docker's lists: what tells or changes things of the whole machine.
_MASKED = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
]
_READONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
_MAX_LINKS = 40


def sandbox_shm(sandbox: int, *, stay: bool) -> int:
    """The pod's ``/dev/shm``, which only the pause process's mount namespace has, as a detached mount.

    ``stay`` in that namespace: from the pod's user namespace there is no way back into the host's; it is a copy of it.
    """
    theirs = posix.open(f"/proc/{sandbox}/ns/mnt", posix.O_RDONLY | posix.O_CLOEXEC)
    ours = posix.open("/proc/self/ns/mnt", posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        syscalls.setns(theirs, syscalls.CLONE_NEWNS)
        tree = syscalls.open_tree("/dev/shm", recursive=False)
        if not stay:
            syscalls.setns(ours, syscalls.CLONE_NEWNS)
        return tree
    finally:
        posix.close(theirs)
        posix.close(ours)


def build(spec: dict[str, Any], trees: Trees, note: Callable[[str], None]) -> None:
    """Make the root of ``spec`` and step into it."""
    for source, target, _readonly, _propagation in spec["mounts"]:
        trees[target] = syscalls.open_tree(source)
    devices = {name: syscalls.open_tree("/dev/" + name, recursive=False) for name in _DEVICES}
    mount("", "/", "", MS_REC | MS_PRIVATE)
    root = spec["directory"] + "/rootfs"
    if spec["mode"] == "user" and list(spec["lower"]) == ["/"]:
        _host_root(spec["directory"], root)
    else:
        _overlay(spec, root, note)
    for path in spec["hide"]:
        _hide(root, path)
    _proc(root, spec, note)
    _sys(root, spec)
    _dev(root, spec, trees, devices, note)
    for _source, target, readonly, propagation in sorted(spec["mounts"], key=lambda m: normpath(m[1]).count("/")):
        _volume(root, target, trees[target], readonly, propagation)
    _enter(root)
    if not spec["privileged"]:
        for path in _MASKED:
            _mask(path)
        for path in _READONLY:
            _make_readonly(path)
    if spec["readonly"]:
        _remount_readonly("/")


def _escape(path: str) -> str:
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


def _overlay(spec: dict[str, Any], root: str, note: Callable[[str], None]) -> None:
    """Relative lower directories keep the options of an image with many layers within the kernel's one page."""
    posix.chdir(spec["layers"] or "/")
    lower = ":".join(_escape(path) for path in spec["lower"])
    options = ",userxattr" if spec["mode"] == "user" else ""

    def attempt(place: str) -> None:
        data = f"lowerdir={lower},upperdir={_escape(place)}/upper,workdir={_escape(place)}/work{options}"
        mount("overlay", root, "overlay", MS_NODEV, data)

    try:
        attempt(spec["directory"])
    except OSError as e:
        # EINVAL: a directory that is on an overlay itself (a node in a container) or on NFS cannot be an upper layer.
        if e.errno != 22:
            raise
        scratch = spec["directory"] + "/scratch"
        posix.mkdir(scratch)
        mount("tmpfs", scratch, "tmpfs", MS_NODEV, "mode=755")
        posix.mkdir(scratch + "/upper")
        posix.mkdir(scratch + "/work")
        attempt(scratch)
        note("the state directory cannot hold an overlay's upper layer: the container's writes are kept in memory")


def _host_root(directory: str, root: str) -> None:
    """The host's root for an unprivileged user: an overlay a directory, because the kernel refuses one over ``/`` to those
    who may not see what the mounts below it cover. What cannot be overlaid for that reason is bound read-only."""
    mount(directory + "/upper", root, "", MS_BIND)
    for name in posix.listdir("/"):
        source, target = "/" + name, f"{root}/{name}"
        info = posix.lstat(source)
        if stat.S_ISLNK(info.st_mode):
            posix.symlink(posix.readlink(source), target)
        elif stat.S_ISDIR(info.st_mode):
            posix.mkdir(target, info.st_mode & 0o7777)
            posix.chmod(target, info.st_mode & 0o7777)  # past the umask: everybody may write to /tmp
            # /run and /tmp belong to what runs there, and are the likeliest to hold mounts, over which no overlay goes.
            if name not in ("proc", "sys", "dev", "run", "tmp"):
                _host_directory(source, target, f"{directory}/parts/{name}")


def _host_directory(source: str, target: str, part: str) -> None:
    for place in (dirname(part), part, part + "/upper", part + "/work"):
        try:
            posix.mkdir(place, 0o755)
        except FileExistsError:
            pass
    data = f"lowerdir={_escape(source)},upperdir={_escape(part)}/upper,workdir={_escape(part)}/work,userxattr"
    try:
        mount("overlay", target, "overlay", MS_NODEV, data)
    except OSError as e:
        if e.errno not in (1, 13, 22):  # locked mounts below it, or not ours to look into
            raise
        mount(source, target, "", MS_BIND | MS_REC)
        _remount_readonly(target)


def inside(root: str, path: str) -> str:
    """Where ``path`` leads for a process whose root is ``root``: links are followed, but never out of it."""
    done: list[str] = []
    todo = [part for part in path.split("/") if part not in ("", ".")][::-1]
    links = 0
    while todo:
        part = todo.pop()
        if part == "..":
            if done:
                done.pop()
            continue
        try:
            target = posix.readlink("/".join([root, *done, part]))
        except OSError:
            done.append(part)
            continue
        links += 1
        if links > _MAX_LINKS:
            raise OSError(40, f"{path}: too many levels of symbolic links")
        if target.startswith("/"):
            done = []
        todo += [step for step in target.split("/") if step not in ("", ".")][::-1]
    return "/".join([root, *done])


def _make_directory(path: str, root: str) -> None:
    if path == root:
        return
    try:
        posix.mkdir(path, 0o755)
    except FileExistsError:
        pass
    except FileNotFoundError:
        _make_directory(dirname(path), root)
        posix.mkdir(path, 0o755)


def _target(root: str, path: str, *, directory: bool) -> str:
    """The mount point for ``path``, made when missing, pinned by a descriptor so that nobody can swap it for a link."""
    place = inside(root, path)
    if directory:
        _make_directory(place, root)
    else:
        _make_directory(dirname(place), root)
        try:
            posix.close(posix.open(place, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o644))
        except FileExistsError:
            pass
    fd = posix.open(place, 0o10000000 | posix.O_NOFOLLOW | posix.O_CLOEXEC)  # O_PATH
    real = posix.readlink(f"/proc/self/fd/{fd}")
    if real != root and not real.startswith(root + "/"):
        raise OSError(1, f"mount target {path} leads out of the container's root")
    return f"/proc/self/fd/{fd}"  # left open: exec closes it


def _hide(root: str, path: str) -> None:
    place = inside(root, path)
    try:
        mode = posix.lstat(place).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISDIR(mode):
        mount("tmpfs", place, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=4k,mode=000")
    else:
        mount("/dev/null", place, "", MS_BIND)


def _proc(root: str, spec: dict[str, Any], note: Callable[[str], None]) -> None:
    target = _target(root, "/proc", directory=True)
    try:
        mount("proc", target, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    except PermissionError:
        # The kernel refuses a new /proc where the one we have is partly covered: a user's cluster inside a container.
        mount("/proc", target, "", MS_BIND | MS_REC)
        note("a new /proc is not allowed here: the container sees the processes of the host")


def _sys(root: str, spec: dict[str, Any]) -> None:
    target = _target(root, "/sys", directory=True)
    if spec["mode"] == "user":
        mount("/sys", target, "", MS_BIND | MS_REC)
        return
    readonly = 0 if spec["privileged"] else MS_RDONLY
    flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
    mount("sysfs", target, "sysfs", flags | readonly)
    views = spec["cgroup_view"]
    if not views:
        return
    place = _target(root, "/sys/fs/cgroup", directory=True)
    if views[0][1] == "cgroup2":
        mount("cgroup", place, "cgroup2", flags | readonly)
        return
    mount("tmpfs", place, "tmpfs", flags, "mode=755,size=64k")
    for name, fstype, controllers in views:
        mount("cgroup", _target(root, f"/sys/fs/cgroup/{name}", directory=True), fstype, flags | readonly, controllers)
    if readonly:
        _remount_readonly(inside(root, "/sys/fs/cgroup"))


def _dev(root: str, spec: dict[str, Any], trees: Trees, devices: Trees, note: Callable[[str], None]) -> None:
    mount("tmpfs", _target(root, "/dev", directory=True), "tmpfs", MS_NOSUID, "mode=755,size=65536k")
    dev = inside(root, "/dev")
    for name, tree in devices.items():
        syscalls.move_mount(tree, _target(root, f"/dev/{name}", directory=False))
    if spec["privileged"] and spec["mode"] == "root":
        _host_devices(dev)
    for link, to in (("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1")):
        posix.symlink(to, f"{dev}/{link}")
    posix.symlink("/proc/self/fd/2", f"{dev}/stderr")
    posix.symlink("pts/ptmx", f"{dev}/ptmx")
    for name in ("pts", "shm", "mqueue"):
        posix.mkdir(f"{dev}/{name}", 0o755)
    group = ",gid=5" if spec["mode"] == "root" else ""
    mount("devpts", f"{dev}/pts", "devpts", MS_NOSUID | MS_NOEXEC, f"newinstance,ptmxmode=0666,mode=0620{group}")
    shm = trees.pop("/dev/shm", -1)
    if shm >= 0:
        syscalls.move_mount(shm, f"{dev}/shm")
    else:
        mount("/dev/shm", f"{dev}/shm", "", MS_BIND)
    try:
        mount("mqueue", f"{dev}/mqueue", "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    except OSError as e:
        if e.errno not in (1, 19):  # EPERM: hostIPC of a user; ENODEV: a kernel without message queues
            raise
        note(f"no /dev/mqueue: {e.strerror}")


def _host_devices(dev: str) -> None:
    """A privileged container sees every device of the machine (those at the top of /dev, as Docker does)."""
    for name in posix.listdir("/dev"):
        info = posix.lstat(f"/dev/{name}")
        if (stat.S_ISCHR(info.st_mode) or stat.S_ISBLK(info.st_mode)) and name not in (*_DEVICES, "ptmx", "console"):
            posix.mknod(f"{dev}/{name}", info.st_mode, info.st_rdev)
            posix.chown(f"{dev}/{name}", info.st_uid, info.st_gid)


def _volume(root: str, target: str, tree: int, readonly: bool, propagation: str) -> None:
    directory = stat.S_ISDIR(posix.fstat(tree).st_mode)
    place = _target(root, target, directory=directory)
    real = posix.readlink(place)
    syscalls.move_mount(tree, place)
    if readonly:
        _remount_readonly(real)
    kind = {"HOST_TO_CONTAINER": syscalls.MS_SLAVE, "BIDIRECTIONAL": syscalls.MS_SHARED}.get(propagation, MS_PRIVATE)
    mount("", real, "", kind | MS_REC)


def _remount_readonly(path: str) -> None:
    """Flags that the mount has must be repeated: a user namespace may not drop them."""
    kept = posix.statvfs(path).f_flag & (MS_NOSUID | MS_NODEV | MS_NOEXEC | 1024 | 2048)  # noatime, nodiratime
    mount("", path, "", MS_REMOUNT | MS_BIND | MS_RDONLY | kept)


def _mask(path: str) -> None:
    try:
        mode = posix.stat(path).st_mode
    except OSError:  # this kernel does not have it
        return
    if stat.S_ISDIR(mode):
        mount("tmpfs", path, "tmpfs", MS_RDONLY, "size=0")
    else:
        mount("/dev/null", path, "", MS_BIND)


def _make_readonly(path: str) -> None:
    try:
        posix.stat(path)
    except OSError:
        return
    mount(path, path, "", MS_BIND | MS_REC)
    _remount_readonly(path)


def _enter(root: str) -> None:
    posix.chdir(root)
    syscalls.pivot_root(".", ".")
    # The old root lies over the new one now; take it off.
    syscalls.umount(".")
    posix.chdir("/")
    assert basename(posix.getcwd()) == ""
