"""What the runtime knows about its sandboxes and containers, on disk: the truth for this kubelet and for the next.

``<root>/sandboxes/<id>/sandbox.json`` and ``<root>/containers/<id>/container.json`` are written by the kubelet;
beside the latter the container's monitor writes ``started`` and ``exit`` (see :mod:`.shim.monitor`).
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from kubelet.cri import api


@dataclass(slots=True)
class Sandbox:
    id: str
    config: api.PodSandboxConfig
    created_at: int
    mode: str  # root, user or plain: see privileges.py
    cgroup: str = ""
    pid: int = 0  # of the pause process
    start_time: int = 0  # its, in clock ticks: a reused pid is not taken for it
    boot_id: str = ""
    ip: str = ""
    stopped: bool = False


@dataclass(slots=True)
class ContainerRecord:
    id: str
    sandbox_id: str
    config: api.ContainerConfig
    image_ref: str
    stop_signal: str
    created_at: int
    log_path: str
    # What the monitor wrote
    pid: int = 0
    start_time: int = 0
    started_at: int = 0
    finished_at: int = 0
    exit_code: int = 0
    oom_killed: bool = False
    message: str = ""
    reason: str = ""
    removing: bool = field(default=False)

    @property
    def state(self) -> api.ContainerState:
        if self.finished_at:
            return api.ContainerState.EXITED
        return api.ContainerState.RUNNING if self.started_at else api.ContainerState.CREATED


class Records:
    """Loads once, then serves from memory; every change is written before it is believed."""

    def __init__(self, root: str) -> None:
        self.root = Path(root)
        self.sandboxes: dict[str, Sandbox] = {}
        self.containers: dict[str, ContainerRecord] = {}

    def load(self) -> None:
        for kind in ("sandboxes", "containers"):
            (self.root / kind).mkdir(parents=True, exist_ok=True, mode=0o700)
        self.sandboxes = {s.id: s for s in self._read("sandboxes", "sandbox.json", _sandbox)}
        self.containers = {c.id: c for c in self._read("containers", "container.json", _container)}
        for record in self.containers.values():
            self.refresh(record)

    def _read(self, kind: str, name: str, decode: Any) -> list[Any]:
        found = []
        for directory in (self.root / kind).iterdir():
            try:
                found.append(decode(orjson.loads((directory / name).read_bytes())))
            except (FileNotFoundError, NotADirectoryError, orjson.JSONDecodeError):
                # The kubelet died before it was written (or while it was removed): it never existed for anybody.
                remove_tree(directory)
        return found

    def sandbox_directory(self, id: str) -> Path:
        return self.root / "sandboxes" / id

    def container_directory(self, id: str) -> Path:
        return self.root / "containers" / id

    def save_sandbox(self, sandbox: Sandbox) -> None:
        directory = self.sandbox_directory(sandbox.id)
        directory.mkdir(mode=0o700, exist_ok=True)
        replace(directory / "sandbox.json", orjson.dumps(sandbox))
        self.sandboxes[sandbox.id] = sandbox

    def save_container(self, record: ContainerRecord) -> None:
        directory = self.container_directory(record.id)
        directory.mkdir(mode=0o700, exist_ok=True)
        replace(directory / "container.json", orjson.dumps(record))
        self.containers[record.id] = record

    def remove_sandbox(self, id: str) -> None:
        remove_tree(self.sandbox_directory(id))
        self.sandboxes.pop(id, None)

    def remove_container(self, id: str) -> None:
        # The record goes first: a directory without one is rubbish that the next start sweeps up.
        directory = self.container_directory(id)
        (directory / "container.json").unlink(missing_ok=True)
        remove_tree(directory)
        self.containers.pop(id, None)

    def refresh(self, record: ContainerRecord) -> None:
        """Take over what the container's monitor wrote."""
        directory = self.container_directory(record.id)
        try:
            pid, start_time, started_at = (directory / "started").read_text().split()
            record.pid, record.start_time, record.started_at = int(pid), int(start_time), int(started_at)
        except (FileNotFoundError, ValueError):
            pass
        try:
            head, _, message = (directory / "exit").read_text(errors="replace").partition("\n")
            code, oom, finished_at = head.split()
        except (FileNotFoundError, ValueError):
            return
        record.exit_code, record.oom_killed, record.finished_at = int(code), oom == "1", int(finished_at)
        record.message = message
        record.reason = reason(record)

    def write_exit(self, record: ContainerRecord, code: int, finished_at: int, message: str) -> None:
        """For a container whose monitor did not live to tell."""
        try:
            replace(self.container_directory(record.id) / "exit", f"{code} 0 {finished_at}\n{message}".encode())
        except FileNotFoundError:  # the node is being purged under us
            record.exit_code, record.finished_at, record.message = code, finished_at, message
            record.reason = reason(record)
            return
        self.refresh(record)


def reason(record: ContainerRecord) -> str:
    if not record.started_at:
        return "StartError"
    if record.oom_killed:
        return "OOMKilled"
    return "Completed" if record.exit_code == 0 else "Error"


def remove_tree(path: Path) -> None:
    """Remove a directory and all below it; raises ``OSError`` for what cannot be removed.

    overlayfs leaves a directory without any permission in its work directory, which stops a user who is not root.
    """

    def open_up(function: Callable[..., object], place: str, _error: object) -> None:
        if not os.path.lexists(place):
            return
        os.chmod(os.path.dirname(place), 0o700)
        if function in (os.unlink, os.rmdir):
            function(place)
        else:
            os.chmod(place, 0o700)
            shutil.rmtree(place)

    shutil.rmtree(path, onerror=open_up)


def replace(path: Path, data: bytes) -> None:
    """Write a file so that a reader, or a crash, sees the old content or the new."""
    new = path.with_name(path.name + ".new")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)
    os.replace(new, path)


def _sandbox(data: dict[str, Any]) -> Sandbox:
    config = data["config"]
    config["metadata"] = api.PodSandboxMetadata(**config["metadata"])
    config["dns_config"] = api.DNSConfig(**config["dns_config"])
    config["port_mappings"] = [api.PortMapping(**entry) for entry in config["port_mappings"]]
    for name in ("network", "pid", "ipc"):
        config[name] = api.NamespaceMode(config[name])
    return Sandbox(**{**data, "config": api.PodSandboxConfig(**config)})


def _container(data: dict[str, Any]) -> ContainerRecord:
    config = data["config"]
    config["metadata"] = api.ContainerMetadata(**config["metadata"])
    config["mounts"] = [api.Mount(**entry) for entry in config["mounts"]]
    config["envs"] = [(name, value) for name, value in config["envs"]]
    config["resources"] = api.LinuxResources(**config["resources"])
    config["security"] = api.SecurityContext(**config["security"])
    return ContainerRecord(**{**data, "config": api.ContainerConfig(**config)})
