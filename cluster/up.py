"""``mk8s up``: from nothing, from a stopped cluster or from a running one to a usable cluster of the wanted shape."""

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cluster import ClusterError, control, network, pidfile, ports
from cluster.down import take_down
from cluster.home import Home, clusters, machine_lock
from cluster.plan import Plan, plan
from cluster.progress import Progress
from cluster.spec import Spec

if TYPE_CHECKING:
    from kubeclient import Client

#: A process that failed this often in a row during ``up`` will not come by itself.
_HOPELESS = 4


@dataclass
class Wish:
    """What the command line asked for; None: whatever the cluster has, or the default."""

    name: str = "default"
    nodes: int | None = None
    etcd: int | None = None
    apiservers: int | None = None
    runtime: str | None = None
    api_port: int | None = None
    timeout: float = 120.0


@dataclass
class Result:
    home: Home
    spec: Spec
    changed: bool


def up(wish: Wish, progress: Progress) -> Result:
    """Blocks until the cluster is usable.

    Interrupted, it takes down what it has started. A cluster that starts but does not become usable is left to be looked at.
    """
    home = Home(wish.name)
    with home.locked(lambda: progress.note("waiting for another mk8s command on this cluster to finish")):
        before = Spec.load(home) if home.exists() else None
        running = control.supervisor_alive(home)
        try:
            began = time.time()
            spec, plan_, alive = _start(wish, home, before, progress)
            _await_usable(spec, home, plan_, began, alive, wish.timeout, progress)
        except KeyboardInterrupt:
            if not running:
                progress.note("interrupted: taking down what was started")
                take_down(home, Progress(quiet=True), purge=before is None)
            raise
    changed = before is None or not running or before.as_dict() != spec.as_dict() or len(alive) < len(plan_.processes)
    return Result(home, spec, changed)


def _start(wish: Wish, home: Home, before: Spec | None, progress: Progress) -> tuple[Spec, Plan, set[str]]:
    """Get every process going; returns also the names of those that lived before."""
    spec = _shape(wish, before, home, progress)
    home.create()
    running = control.supervisor_alive(home)
    alive = {n for n in home.processes_recorded() if (r := pidfile.load(home.run / f"{n}.pid")) and r.alive}
    alive -= {"supervisor", "guard"}
    # The supervisor imports while we write certificates: each has a core of its own.
    child = None if running else control.start_supervisor(home)
    try:
        _announce(before, spec, running, alive, home, progress)
        _claim(spec, home, alive, wish, progress)
        plan_ = plan(spec, home)
        _write_credentials(spec, home, plan_)
        control.await_supervisor(home, child)
        control.ask_once(home, {"do": "reload"})
    except ClusterError:
        if before is None:
            take_down(home, Progress(quiet=True), purge=True)
        elif child:
            child.terminate()
        raise
    return spec, plan_, alive


# -- what is wanted ---------------------------------------------------------------------------------------------------


def _shape(wish: Wish, before: Spec | None, home: Home, progress: Progress) -> Spec:
    """The new spec; refuses what cannot be changed under a cluster's feet."""
    if before is None:
        why_not = network.possible()
        spec = Spec(
            name=home.name,
            nodes=wish.nodes or 1,
            etcd=wish.etcd or 1,
            apiservers=wish.apiservers or 1,
            runtime=wish.runtime or "native",
            bridged=not why_not,
        )
        if why_not:
            progress.note(f"{why_not}: pods share this machine's network, Services are forwarded in userspace")
        return spec
    for flag, wanted, has in (
        ("--etcd", wish.etcd, before.etcd),
        ("--runtime", wish.runtime, before.runtime),
    ):
        if wanted is not None and wanted != has:
            raise ClusterError(
                f"cluster {home.name} was made with {flag} {has}; to change that take it down with its data: "
                f"mk8s down --name {home.name} --purge"
            )
    if before.bridged and (why_not := network.possible()):
        raise ClusterError(f"the nodes of cluster {home.name} have networks of their own, and now {why_not}")
    nodes, apiservers = wish.nodes or before.nodes, wish.apiservers or before.apiservers
    if nodes < before.nodes:
        raise ClusterError(
            f"cluster {home.name} has {before.nodes} nodes; up only adds: drain and delete a node with kubectl, "
            f"or start over: mk8s down --name {home.name} --purge"
        )
    return Spec(**{**before.as_dict(), "nodes": nodes, "apiservers": max(apiservers, before.apiservers)})


def _announce(before: Spec | None, spec: Spec, running: Any, alive: set[str], home: Home, progress: Progress) -> None:
    if before is None:
        many = f"{spec.nodes} node{'s' if spec.nodes > 1 else ''}"
        progress.done(f"making cluster {home.name}: {many}, {spec.runtime} runtime, in {home.path}")
        return
    if running:
        added = spec.nodes - before.nodes
        extra = f"; adding {added} node{'s' if added > 1 else ''}" if added else ""
        progress.done(f"cluster {home.name} is already running{extra}")
        return
    stale = [name for name in home.processes_recorded() if name not in alive]
    if alive:
        progress.done(f"the supervisor of cluster {home.name} is gone; taking over {len(alive)} living processes")
    elif stale:
        progress.done(
            f"cluster {home.name} ended unexpectedly (stale pid files of {len(stale)} processes): resuming it"
        )
    else:
        progress.done(f"resuming cluster {home.name} from {home.path}: its objects are still there")


def _claim(spec: Spec, home: Home, alive: set[str], wish: Wish, progress: Progress) -> None:
    """Choose subnet and ports while no other cluster on this machine can, and take them."""
    with machine_lock() as reservations:
        if spec.bridged:
            _claim_subnet(spec, home)
            network.ensure(spec, str(home.path))
        taken = reservations.ports() | {p for other in clusters() if other.name != home.name for p in _ports_of(other)}
        for endpoint, preferred in spec.preferred_ports().items():
            asked = wish.api_port if endpoint == "apiserver-0" else None
            _claim_port(spec, endpoint, preferred, asked, alive, taken, progress)
        reservations.add(set(spec.ports.values()))
        spec.save(home)


def _claim_subnet(spec: Spec, home: Home) -> None:
    if home.exists():
        return  # remembered; network.ensure says so when somebody else took it meanwhile
    reserved = {Spec.load(other).slot for other in clusters()}
    free = network.free_slots(reserved, str(home.path))
    if not free:
        raise ClusterError("every subnet from 10.64.0.0/16 to 10.95.0.0/16 is in use; take a cluster down first")
    spec.slot = free[0]


def _ports_of(other: Home) -> list[int]:
    with contextlib.suppress(ClusterError):
        return list(Spec.load(other).ports.values())
    return []


def _claim_port(
    spec: Spec, endpoint: str, preferred: int, asked: int | None, alive: set[str], taken: set[int], progress: Progress
) -> None:
    process = endpoint.partition("/")[0]
    known = spec.ports.get(endpoint)
    if process in alive and known:
        if asked and asked != known:
            raise ClusterError(f"{process} is running on port {known}; take the cluster down first to change that")
        return
    wanted = asked or known or preferred
    if wanted not in taken and ports.is_free(wanted):
        spec.ports[endpoint] = wanted
        taken.add(wanted)
        return
    who = ports.holder(wanted) if not ports.is_free(wanted) else "another cluster"
    if asked:
        raise ClusterError(
            f"port {asked} is in use by {who}: choose another with --api-port, or none to have one chosen"
        )
    if known and endpoint.endswith("/peer") and spec.etcd > 1:
        raise ClusterError(
            f"port {known} is in use by {who}, and the store's members know {process} by it: free it first"
        )
    chosen = ports.choose(wanted + 1, taken)
    spec.ports[endpoint] = chosen
    taken.add(chosen)
    if endpoint.startswith("apiserver") or known:
        progress.note(f"port {wanted} is in use by {who}: {endpoint} gets {chosen}")


def _write_credentials(spec: Spec, home: Home, plan_: Plan) -> None:
    from cluster import kubeconfig
    from cluster.certificates import Pki

    pki = Pki(home.pki)
    pki.authority("ca", f"mk8s-{spec.name}-ca")
    pki.authority("etcd/ca", f"mk8s-{spec.name}-etcd-ca")
    pki.ensure_signing_key("sa")
    for request in plan_.certificates:
        pki.ensure(request)
    for identity in plan_.identities:
        access = kubeconfig.Access(spec.name, identity.server, identity.user, identity.certificate)
        kubeconfig.save(home.kubeconfigs / identity.file, kubeconfig.render(access, pki))
    admin = kubeconfig.Access(spec.name, spec.api_url(), "admin", "admin")
    kubeconfig.save(home.kubeconfig, kubeconfig.render(admin, pki))


# -- waiting ----------------------------------------------------------------------------------------------------------


def _await_usable(
    spec: Spec, home: Home, plan_: Plan, began: float, alive: set[str], timeout: float, progress: Progress
) -> None:
    async def waiting() -> None:
        try:
            async with asyncio.timeout(timeout):
                await _usable(spec, home, plan_, began, alive, progress)
        except TimeoutError:
            raise ClusterError(await _why_not(home, plan_, timeout)) from None

    asyncio.run(waiting())


async def _usable(spec: Spec, home: Home, plan_: Plan, began: float, alive: set[str], progress: Progress) -> None:
    from kubeclient import Client, Config

    watchdog = asyncio.create_task(_fail_when_hopeless(home))
    async with Client(Config.load(str(home.kubeconfig)), user_agent="mk8s-up") as client:
        work = asyncio.create_task(_stages(spec, home, plan_, began, alive, client, progress))
        try:
            done, _ = await asyncio.wait({work, watchdog}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (work, watchdog):
                task.cancel()
            await asyncio.gather(work, watchdog, return_exceptions=True)


async def _stages(
    spec: Spec, home: Home, plan_: Plan, began: float, alive: set[str], client: "Client", progress: Progress
) -> None:
    async with progress.spinning("waiting for the API server"):
        await _api_ready(client)
    progress.done(f"the API server answers at {client.config.server}")
    async with progress.spinning("waiting for the nodes"):
        nodes = await _nodes_ready(spec, client, began, alive)
    if spec.bridged:
        network.sync_routes(spec, nodes)
    progress.done("node is Ready" if spec.nodes == 1 else f"{spec.nodes} nodes are Ready")
    async with progress.spinning("waiting for the last processes"):
        await _all_healthy(home, plan_)


async def _api_ready(client: "Client") -> None:

    from kubeclient import ApiError, TransportError

    while True:
        try:
            await client.request("GET", "/readyz", timeout=2.0)
            return
        except (ApiError, TransportError):
            await asyncio.sleep(0.02)


async def _nodes_ready(spec: Spec, client: "Client", began: float, alive: set[str]) -> list[dict[str, Any]]:
    """Every node Ready, by word of a kubelet that lives now, and the default ServiceAccount there."""
    from kubeclient import InformerFactory

    informers = InformerFactory(client)
    nodes = informers.informer("v1", "nodes")
    leases = informers.informer("coordination.k8s.io/v1", "leases", namespace="kube-node-lease")
    accounts = informers.informer("v1", "serviceaccounts", namespace="default")
    news = asyncio.Event()
    for informer in (nodes, leases, accounts):
        informer.on_any(lambda _: news.set())

    def ready(name: str) -> bool:
        node = nodes.get(name)
        if node is None or not is_ready(node) or (spec.bridged and not node.get("spec", {}).get("podCIDR")):
            return False
        # After a resume the stored Node says Ready before its kubelet does: the Lease tells the time.
        lease = leases.get(f"kube-node-lease/{name}")
        renewed = _seconds((lease or {}).get("spec", {}).get("renewTime", ""))
        return f"kubelet-{name}" in alive or renewed >= began

    running = asyncio.create_task(informers.run())
    try:
        while not (accounts.get("default/default") and all(ready(name) for name in spec.node_names)):
            await news.wait()
            news.clear()
        return nodes.list()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def is_ready(node: dict[str, Any]) -> bool:
    conditions = node.get("status", {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _seconds(micro_time: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(micro_time).timestamp() if micro_time else 0.0


async def _all_healthy(home: Home, plan_: Plan) -> None:
    from cluster.health import HealthClient

    health = HealthClient(home)
    waiting = list(plan_.processes)
    while True:
        answers = await asyncio.gather(*(health.ask(p) for p in waiting))
        waiting = [p for p, answer in zip(waiting, answers, strict=True) if answer != "ok"]
        if not waiting:
            return
        await asyncio.sleep(0.05)


async def _fail_when_hopeless(home: Home) -> None:
    while True:
        await asyncio.sleep(0.5)
        status = await asyncio.to_thread(control.ask_once, home, {"do": "status"})
        for row in status["processes"]:
            if row["failures"] >= _HOPELESS:
                name = row["name"]
                raise ClusterError(
                    f"{name} fails again and again (it {row['last_exit']}); its log, {home.log(name)}, ends with:\n"
                    + _tail(home, name)
                )


async def _why_not(home: Home, plan_: Plan, timeout: float) -> str:
    """After a timeout: which processes are not well."""
    from cluster.health import HealthClient

    health = HealthClient(home)
    answers = await asyncio.gather(*(health.ask(p) for p in plan_.processes))
    sick = [f"{p.name}: {a}" for p, a in zip(plan_.processes, answers, strict=True) if a != "ok"]
    what = "; ".join(sick) if sick else "every process is well, but a node or the default ServiceAccount is missing"
    return f"the cluster is not usable after {timeout:g} s ({what}); see mk8s status and {home.logs}"


def _tail(home: Home, process: str, lines: int = 8) -> str:
    try:
        text = home.log(process).read_text(errors="replace")
    except FileNotFoundError:
        return "  (there is none)"
    return "\n".join(f"  {line}" for line in text.splitlines()[-lines:])
