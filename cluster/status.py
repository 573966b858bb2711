"""``mk8s status``: every process with its pid, port, health and memory, and the nodes as the API server sees them."""

import asyncio
import time
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

from cluster import ClusterError, control, pidfile
from cluster.health import HealthClient, memory
from cluster.home import Home
from cluster.plan import plan
from cluster.spec import Spec
from cluster.up import is_ready


@dataclass
class Row:
    """``health`` is ``ok`` or what is wrong; ``memory`` the proportional set size in bytes; ``age`` seconds."""

    name: str
    pid: int
    address: str
    health: str
    memory: int
    restarts: int
    age: float
    last_exit: str = ""


@dataclass
class NodeRow:
    name: str
    ready: bool
    address: str
    pod_cidr: str


@dataclass
class Status:
    cluster: str
    folder: str
    kubeconfig: str
    processes: list[Row] = field(default_factory=list)
    nodes: list[NodeRow] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        return (
            not self.problems
            and all(row.health == "ok" for row in self.processes)
            and bool(self.nodes)
            and all(node.ready for node in self.nodes)
        )

    def as_dict(self) -> dict[str, Any]:
        return {"healthy": self.healthy, **asdict(self)}


def status(name: str) -> Status:
    """Raises ClusterError when there is no such cluster."""
    home = Home(name)
    if not home.exists():
        raise ClusterError(f"there is no cluster {name!r} in {home.path.parent}; make it with: mk8s up --name {name}")
    return asyncio.run(_collect(home))


async def _collect(home: Home) -> Status:
    spec = Spec.load(home)
    result = Status(home.name, str(home.path), str(home.kubeconfig))
    records = {n: r for n in home.processes_recorded() if (r := pidfile.load(home.run / f"{n}.pid")) and r.alive}
    if not records:
        result.problems.append(f"not running; start it with: mk8s up --name {home.name}")
        return result
    supervised = _supervised(home, result)
    processes = plan(spec, home).processes
    health = HealthClient(home)
    answers = await asyncio.gather(*(health.ask(p) for p in processes))
    result.nodes = await _nodes(home, result)
    for process, answer in zip(processes, answers, strict=True):
        record = records.get(process.name)
        row = supervised.get(process.name, {})
        address = urlsplit(process.readyz).netloc
        if record is None:
            waiting = row.get("waiting", 0.0)
            wrong = f"down, restarts in {waiting:.1f} s" if row else "down"
            result.processes.append(Row(process.name, 0, address, wrong, 0, row.get("restarts", 0), 0.0))
            continue
        result.processes.append(_row(process.name, record, address, answer))
    for name in ("supervisor", "guard"):
        if name in records:
            answer = "ok" if supervised or name == "guard" else "no answer"
            result.processes.append(_row(name, records[name], "", answer))
        elif name == "guard":
            result.problems.append("the guard is gone")
    return result


def _row(name: str, record: pidfile.Record, address: str, health: str) -> Row:
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - record.born / pidfile.TICKS
    return Row(name, record.pid, address, health, memory(record.pid), record.restarts, age, record.last_exit)


def _supervised(home: Home, result: Status) -> dict[str, dict[str, Any]]:
    if not control.supervisor_alive(home):
        result.problems.append(
            f"the supervisor is gone: nothing restarts what falls until you type: mk8s up --name {home.name}"
        )
        return {}
    try:
        answer = control.ask_once(home, {"do": "status"}, timeout=5.0)
    except ClusterError as error:
        result.problems.append(str(error))
        return {}
    return {row["name"]: row for row in answer["processes"]}


async def _nodes(home: Home, result: Status) -> list[NodeRow]:

    from kubeclient import ApiError, Client, Config, TransportError

    try:
        async with Client(Config.load(str(home.kubeconfig)), user_agent="mk8s-status", timeout=5.0) as client:
            listed = await client.resource("v1", "nodes").list()
    except (ApiError, TransportError) as error:
        result.problems.append(f"the API server does not answer: {error or type(error).__name__}")
        return []
    rows = []
    for node in listed["items"]:
        addresses = node.get("status", {}).get("addresses") or []
        address = next((a["address"] for a in addresses if a["type"] == "InternalIP"), "")
        rows.append(NodeRow(node["metadata"]["name"], is_ready(node), address, node.get("spec", {}).get("podCIDR", "")))
    return rows
