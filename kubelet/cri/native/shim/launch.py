"""From a fork of the monitor to the container's process: cgroup, namespaces, root, identity, exec.

Two processes take part, as in runc. The first joins the cgroups and the sandbox's namespaces and clones the second as
its sibling (a child of the monitor) in new pid and mount namespaces; the second builds the root file system and becomes
the container. Both report over a ``SEQPACKET`` socket that exec closes: ``{"pid": n}``, ``{"tty": True}`` with the
terminal's master, ``{"note": text}``, ``{"error": text}``; end of file without an error means that it runs.

The specification is a dict that ``kubelet.cri.native.spec`` writes; that module documents its keys.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import fcntl
import posix
import stat
import sys
from posixpath import dirname, join, normpath

from . import identity, rootfs, seccomp, syscalls, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

EXIT_LAUNCH_FAILED = 128  # what containerd reports for a container that could not start
_KINDS = {
    "user": syscalls.CLONE_NEWUSER,
    "net": syscalls.CLONE_NEWNET,
    "ipc": syscalls.CLONE_NEWIPC,
    "uts": syscalls.CLONE_NEWUTS,
    "pid": syscalls.CLONE_NEWPID,
    "cgroup": syscalls.CLONE_NEWCGROUP,
    "mnt": syscalls.CLONE_NEWNS,
}
_TIOCSCTTY = 0x540E
_TIOCSWINSZ = 0x5414
_TIOCGPTN = 0x80045430
_TIOCSPTLCK = 0x40045431


def container(spec: dict[str, Any], sync: Any, stdio: tuple[int, int, int]) -> NoReturn:
    """In the first process; never returns. ``stdio`` is ignored with a tty."""
    try:
        _enter_cgroups(spec["cgroups"])
        _set_oom_score(spec["oom_score_adj"], sync)
        flags = 0
        trees: rootfs.Trees = {}
        if spec["mode"] != "plain":
            sandbox = spec["sandbox"]
            _join(sandbox, [kind for kind in spec["join"] if kind == "user"])
            if spec["shm"]:
                trees["/dev/shm"] = rootfs.sandbox_shm(sandbox, stay=spec["mode"] == "user")
            _join(sandbox, [kind for kind in spec["join"] if kind != "user"])
            flags = syscalls.CLONE_NEWNS | (syscalls.CLONE_NEWPID if spec["new_pid"] else 0)
            if spec["cgroups"]:
                syscalls.unshare(syscalls.CLONE_NEWCGROUP)
        _hand_over(sync, syscalls.clone_sibling(flags))
        if spec["mode"] != "plain":
            rootfs.build(spec, trees, lambda text: wire.send(sync, {"note": text}))
        if spec["tty"]:
            stdio = _terminal(spec, sync)
        _become(spec, stdio)
    except BaseException as e:
        _fail(sync, e)


def process(spec: dict[str, Any], target: int, sync: Any, stdio: tuple[int, int, int]) -> NoReturn:
    """Exec: a further process in the namespaces of the container whose main process is ``target``; never returns."""
    try:
        _enter_cgroups(spec["cgroups"])
        _set_oom_score(spec["oom_score_adj"], sync)
        if spec["mode"] != "plain":
            kinds = ["user"] if "user" in spec["join"] else []
            _join(target, [*kinds, "net", "ipc", "uts", "pid", *(["cgroup"] if spec["cgroups"] else []), "mnt"])
        _hand_over(sync, syscalls.clone_sibling(0))
        if spec["tty"]:
            stdio = _terminal(spec, sync)
        _become(spec, stdio)
    except BaseException as e:
        _fail(sync, e)


def pause(spec: dict[str, Any], sync: Any) -> NoReturn:
    """The sandbox: make the namespaces that its containers join, then sleep for ever holding them; never returns."""
    try:
        _enter_cgroups(spec["cgroups"])
        flags = 0
        for kind in spec["new"]:
            flags |= _KINDS[kind]
        uid, gid = posix.geteuid(), posix.getegid()
        if flags:
            syscalls.unshare(flags & ~syscalls.CLONE_NEWPID)
        if "user" in spec["new"]:
            _write("/proc/self/setgroups", "deny")
            _write("/proc/self/uid_map", f"0 {uid} 1")
            _write("/proc/self/gid_map", f"0 {gid} 1")
        if "pid" in spec["new"]:
            _hand_over(sync, syscalls.clone_sibling(syscalls.CLONE_NEWPID))
        else:
            wire.send(sync, {"pid": posix.getpid()})
            posix.setsid()
        if "mnt" in spec["new"]:
            syscalls.mount("", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
            if spec["shm_size"]:
                flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
                syscalls.mount("shm", "/dev/shm", "tmpfs", flags, f"mode=1777,size={spec['shm_size']}")
        if "uts" in spec["new"] and spec["hostname"]:
            syscalls.sethostname(spec["hostname"])
        for name, value in spec["sysctls"]:
            _write("/proc/sys/" + name.replace(".", "/"), value)
        null = posix.open("/dev/null", posix.O_RDWR)
        _dup_stdio((null, null, null))
        _reset_signals()
        # As pid 1 of a shared pid namespace it inherits the pod's orphans: an ignored SIGCHLD reaps them, also after exec.
        _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)
        posix.chdir("/")
        _execute(["sleep", "infinity"], {"PATH": "/usr/bin:/bin:/usr/local/bin", "MK8S_SANDBOX": spec["mark"]})
    except BaseException as e:
        _fail(sync, e)


def _fail(sync: Any, error: BaseException) -> NoReturn:
    text = error.strerror if isinstance(error, OSError) and error.strerror else f"{type(error).__name__}: {error}"
    if isinstance(error, OSError) and error.filename:
        text = f"{error.filename}: {text}"
    try:
        wire.send(sync, {"error": text})
    finally:
        posix._exit(EXIT_LAUNCH_FAILED)


def _hand_over(sync: Any, pid: int) -> None:
    """In the first process: report the second and end. In the second (``pid`` 0): go on, in a session of its own."""
    if pid:
        wire.send(sync, {"pid": pid})
        posix._exit(0)
    posix.setsid()
    sys.path.clear()  # soon this is the container's file system: nothing of it may be imported


def _write(path: str, text: str) -> None:
    fd = posix.open(path, posix.O_WRONLY | posix.O_CLOEXEC)
    try:
        posix.write(fd, text.encode())
    except OSError as e:
        raise OSError(e.errno, f"write {text!r}: {e.strerror}", path) from None
    finally:
        posix.close(fd)


def _enter_cgroups(directories: list[str]) -> None:
    for directory in directories:
        _write(directory + "/cgroup.procs", "0")


def _set_oom_score(value: int, sync: Any) -> None:
    """The wanted ``oom_score_adj``, or the nearest that the kernel lets us have (lowering needs CAP_SYS_RESOURCE)."""
    if value == 0:
        return
    try:
        _write("/proc/self/oom_score_adj", str(value))
    except PermissionError:
        with open("/proc/self/oom_score_adj", encoding="utf-8") as file:
            kept = file.read().strip()
        wire.send(sync, {"note": f"oom_score_adj {value} is not allowed here: it stays {kept}"})


def _join(pid: int, kinds: list[str]) -> None:
    """Enter namespaces of another process; all are opened first, for entering ``mnt`` changes what ``/proc`` is."""
    fds = [(kind, posix.open(f"/proc/{pid}/ns/{kind}", posix.O_RDONLY | posix.O_CLOEXEC)) for kind in kinds]
    for kind, fd in fds:
        if not _same_namespace(fd, kind):  # entering the one we are in is an error for "user", and for users any
            syscalls.setns(fd, _KINDS[kind])
        posix.close(fd)


def _same_namespace(fd: int, kind: str) -> bool:
    theirs, ours = posix.fstat(fd), posix.stat(f"/proc/self/ns/{kind}")
    return (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)


def _terminal(spec: dict[str, Any], sync: Any) -> tuple[int, int, int]:
    """A pseudo terminal of the container's own devpts; its master goes back to whoever started us."""
    if spec["mode"] == "plain":
        master, slave = posix.openpty()
    else:
        master = posix.open("/dev/pts/ptmx", posix.O_RDWR | posix.O_NOCTTY | posix.O_CLOEXEC)
        fcntl.ioctl(master, _TIOCSPTLCK, b"\0\0\0\0")
        number = int.from_bytes(fcntl.ioctl(master, _TIOCGPTN, b"\0\0\0\0"), sys.byteorder)
        slave = posix.open(f"/dev/pts/{number}", posix.O_RDWR | posix.O_NOCTTY | posix.O_CLOEXEC)
    if spec.get("size"):
        width, height = spec["size"]
        fcntl.ioctl(slave, _TIOCSWINSZ, b"".join(n.to_bytes(2, sys.byteorder) for n in (height, width, 0, 0)))
    fcntl.ioctl(slave, _TIOCSCTTY, 0)
    wire.send(sync, {"tty": True}, (master,))
    posix.close(master)
    return slave, slave, slave


def _dup_stdio(stdio: tuple[int, int, int]) -> None:
    # Above 2 first, so that no target overwrites a source that is still needed.
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in stdio]
    for target, fd in enumerate(high):
        posix.dup2(fd, target)


def _reset_signals() -> None:
    """Python ignores SIGPIPE and SIGXFSZ and the monitor handles SIGCHLD: the container starts with the defaults."""
    for number in (_signal.SIGPIPE, _signal.SIGXFSZ, _signal.SIGCHLD, _signal.SIGINT):
        _signal.signal(number, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, [])


def _become(spec: dict[str, Any], stdio: tuple[int, int, int]) -> NoReturn:
    environment = dict(entry.partition("=")[::2] for entry in spec["env"])
    if spec["mode"] == "plain":
        uid, home = posix.geteuid(), environment.get("HOME", spec["cwd"])
    else:
        uid, gid, groups, home = identity.resolve(spec["user"], spec["group"], spec["groups"])
    environment.setdefault("HOME", home)
    if spec["tty"]:
        environment.setdefault("TERM", "xterm")
    cwd = spec["cwd"] or "/"
    _make_directories(cwd)
    posix.umask(0o022)
    _dup_stdio(stdio)
    if spec["mode"] != "plain":
        _own_stdio(uid)
        mask = identity.ALL if spec["privileged"] else spec["capabilities"]
        if spec["seccomp"]:  # while we still have the right to; nothing that follows is denied by it
            seccomp.install(mask)
        try:
            identity.become(uid, gid, groups, mask, can_set_groups=spec["mode"] == "root")
        except OSError as e:
            if spec["mode"] == "user" and uid != 0:
                raise OSError(
                    e.errno, f"user {uid}: a cluster of an unprivileged user has only user 0 in its containers"
                ) from e
            raise
    posix.chdir(cwd)  # as the user: what it may not enter is an error here, as in runc
    if spec["no_new_privs"]:
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    # After the identity, which clears it: nobody would know this container's end without its monitor.
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, _signal.SIGKILL)
    _reset_signals()
    _execute(spec["args"], environment)


def _own_stdio(uid: int) -> None:
    """Let an unprivileged user reopen ``/dev/stdout``, as images such as nginx do with their logs."""
    for fd in (0, 1, 2):
        info = posix.fstat(fd)
        ours = stat.S_ISFIFO(info.st_mode) or posix.isatty(fd)
        if ours and info.st_uid != uid:
            posix.chown(fd, uid, -1)


def _make_directories(path: str) -> None:
    path = normpath(path)
    try:
        posix.stat(path)
    except FileNotFoundError:
        if dirname(path) != path:
            _make_directories(dirname(path))
        posix.mkdir(path, 0o755)


def _execute(arguments: list[str], environment: dict[str, str]) -> NoReturn:
    program = arguments[0]
    if "/" in program:
        candidates = [program]
    else:
        search = environment.get("PATH") or "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        candidates = [join(directory or ".", program) for directory in search.split(":")]
    failure: OSError | None = None
    for candidate in candidates:
        try:
            posix.execve(candidate, arguments, environment)
        except (FileNotFoundError, NotADirectoryError) as e:
            failure = failure or e
        except PermissionError as e:
            failure = e
    assert failure is not None
    if "/" not in program and isinstance(failure, (FileNotFoundError, NotADirectoryError)):
        raise OSError(2, f'exec: "{program}": executable file not found in $PATH')
    raise OSError(failure.errno, f'exec: "{program}": {posix.strerror(failure.errno or 0).lower()}')
