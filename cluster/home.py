"""Where the state of a cluster lives: ``$MK8S_HOME/NAME/``, one folder a cluster, and the locks that guard it.

cluster.json     what the cluster consists of (cluster.spec)
kubeconfig       the administrator's
kubeconfigs/     one for each component
pki/             keys and certificates, laid out as kubeadm does
etcd/<member>/   the store's data
nodes/<node>/    the kubelet's root directory
logs/            one file for each process
run/             pid files, the supervisor's socket and lock
"""

import fcntl
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster import ClusterError

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,18}[a-z0-9])?")


def root() -> Path:
    """``$MK8S_HOME``, by default ``~/.mk8s``."""
    return Path(os.path.abspath(os.path.expanduser(os.environ.get("MK8S_HOME") or "~/.mk8s")))


class Home:
    """The folder of one cluster; ``Home(name)`` touches nothing on disk."""

    def __init__(self, name: str, parent: Path | None = None) -> None:
        if not _NAME.fullmatch(name):
            raise ClusterError(
                f"{name!r} cannot name a cluster: use up to 20 lower-case letters, digits and '-', "
                "beginning and ending with a letter or digit"
            )
        self.name = name
        self.path = (parent or root()) / name
        self.spec_file = self.path / "cluster.json"
        self.kubeconfig = self.path / "kubeconfig"
        self.kubeconfigs = self.path / "kubeconfigs"
        self.pki = self.path / "pki"
        self.logs = self.path / "logs"
        self.run = self.path / "run"

    @classmethod
    def at(cls, path: str | Path) -> "Home":
        """The home whose folder is ``path``; what the supervisor is told on its command line."""
        folder = Path(path)
        return cls(folder.name, folder.parent)

    def node(self, name: str) -> Path:
        return self.path / "nodes" / name

    def etcd(self, member: str) -> Path:
        return self.path / "etcd" / member

    def log(self, process: str) -> Path:
        return self.logs / f"{process}.log"

    def exists(self) -> bool:
        return self.spec_file.exists()

    def create(self) -> None:
        """Make the folders; only the owner may look inside, for it holds keys."""
        try:
            for folder in (self.path, self.kubeconfigs, self.pki, self.logs, self.run):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(error) from None

    def processes_recorded(self) -> list[str]:
        """Names of the processes that have a pid file, alive or not."""
        return sorted(p.stem for p in self.run.glob("*.pid")) if self.run.is_dir() else []

    @contextmanager
    def locked(self, tell: Callable[[], None]) -> Iterator[None]:
        """One ``up`` or ``down`` at a time; the second calls ``tell`` and waits for the first."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(error) from None
        # Beside the folder, not in it: `down --purge` removes the folder while others wait for the lock.
        with _flock(self.path.parent / f".{self.name}.lock", tell):
            yield


def _unusable(error: OSError) -> ClusterError:
    return ClusterError(f"cannot make {error.filename}: {error.strerror} (set MK8S_HOME to a folder of yours)")


def clusters() -> list[Home]:
    """Every cluster of this home, running or not."""
    folder = root()
    if not folder.is_dir():
        return []
    return [
        Home(p.parent.name, folder) for p in sorted(folder.glob("*/cluster.json")) if _NAME.fullmatch(p.parent.name)
    ]


class Reservations:
    """Ports that a running ``up`` has chosen and whose processes may not listen yet; they lapse when that ``up`` ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._entries: list[tuple[int, list[int]]] = []
        for line in os.pread(descriptor, 1 << 20, 0).decode().splitlines():
            pid, *ports = map(int, line.split())
            if os.path.exists(f"/proc/{pid}"):
                self._entries.append((pid, ports))

    def ports(self) -> set[int]:
        return {port for pid, ports in self._entries if pid != os.getpid() for port in ports}

    def add(self, ports: set[int]) -> None:
        lines = [(pid, p) for pid, p in self._entries if pid != os.getpid()] + [(os.getpid(), sorted(ports))]
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, "".join(f"{pid} {' '.join(map(str, p))}\n" for pid, p in lines).encode(), 0)


@contextmanager
def machine_lock() -> Iterator[Reservations]:
    """Held while ports and subnets are chosen, so that clusters of any home on this machine never choose the same."""
    # A folder of our own where possible: in /tmp another user could own the name and keep us waiting.
    folder = "/run" if os.geteuid() == 0 else os.environ.get("XDG_RUNTIME_DIR") or "/tmp"
    with _flock(Path(folder) / f"mk8s-{os.geteuid()}.lock", lambda: None) as descriptor:
        yield Reservations(descriptor)


@contextmanager
def _flock(path: Path, tell: Callable[[], None]) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def write(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace ``path`` at once: a reader sees the old or the new content, never half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """A name for a socket that fits into the kernel's 107 bytes however deep its folder lies."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
