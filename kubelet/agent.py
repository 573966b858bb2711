"""The kubelet put together: what runs beside what, and in which order it starts.

Everything at start is an event, nothing a pause: the server listens and the runtime takes its containers over while the
node registers; pods are taken up when the first list of pods and of the runtime's containers are there; the pod network is set
up when the Node object shows a podCIDR.
"""

import asyncio
import logging
from typing import Any

from componentbase.process import first_failure
from kubeclient import Client, Config, EventRecorder, Informer
from kubeclient.informer import without_managed_fields
from kubelet.cri import connect
from kubelet.cri.api import ImageService, RuntimeService, RuntimeServiceError
from kubelet.layout import Layout
from kubelet.node import machine, status
from kubelet.node.lease import NodeLease
from kubelet.node.registration import NodeRegistration
from kubelet.options import Options
from kubelet.pods.containerconfig import NodeSettings
from kubelet.pods.dns import ClusterDns
from kubelet.pods.imagepull import ImagePuller
from kubelet.pods.logrotation import LogRotation
from kubelet.pods.runner import PodRunner
from kubelet.pods.runtimecache import RuntimeCache
from kubelet.pods.spec import field_path
from kubelet.pods.statuswriter import StatusWriter
from kubelet.pods.worker import Tools
from kubelet.pods.workers import PodWorkers
from kubelet.probes.prober import Prober
from kubelet.probes.results import Results
from kubelet.references import References
from kubelet.server.server import KubeletServer
from kubelet.volumes.podvolumes import PodVolumes
from kubelet.volumes.tokens import Tokens

Object = dict[str, Any]

log = logging.getLogger(__name__)


class Kubelet:
    """``runtime`` is not started yet. ``root``: whether this kubelet may mount and set routes."""

    def __init__(
        self, options: Options, client: Client, runtime: RuntimeService, images: ImageService, *, root: bool
    ) -> None:
        self.options, self.client = options, client
        self.runtime, self.images = runtime, images
        self.layout = Layout(options.root_dir)
        self.layout.make()
        self.machine = machine.inspect(self.layout.root)
        self.settings = NodeSettings(
            name=options.node_name,
            ips=options.node_ips,
            layout=self.layout,
            dns=ClusterDns(tuple(options.cluster_dns), options.cluster_domain, options.resolv_conf),
            memory_capacity=self.machine.memory,
            allocatable=status.allocatable(self.machine, options.max_pods),
        )
        self.events = EventRecorder(client, "kubelet", options.node_name)
        self.registration = NodeRegistration(
            client, options, self.machine, self.runtime, self.images, self._tell_of_node, self._problems
        )
        self.lease = NodeLease(client, options.node_name, lambda: self.registration.uid)
        self._routes = _Routes(options.cluster_cidr) if root else None
        self._make_informers()
        self._make_pods(root)
        self.cidr = options.pod_cidr
        self._cidr_task: asyncio.Task[None] | None = None

    def _make_informers(self) -> None:
        by_node = f"spec.nodeName={self.options.node_name}"
        self.pods = Informer(
            self.client.resource("v1", "pods"), field_selector=by_node, transform=without_managed_fields
        )
        self.services = Informer(self.client.resource("v1", "services"), transform=without_managed_fields)
        self.nodes = Informer(self.client.resource("v1", "nodes"), transform=without_managed_fields)
        self.nodes.on_any(self._node_changed)

    def _make_pods(self, root: bool) -> None:
        self.results = Results(self._wake)
        self.cache = RuntimeCache(self.runtime, self.layout, self._wake)
        self.references = References(self.client, self._retry)
        self.prober = Prober(self.runtime, self.results, self._tell_of_container)
        self.writer = StatusWriter(self.client)
        volumes = PodVolumes(self.layout, self.references, Tokens(self.client), self.settings.allocatable, root=root)
        puller = ImagePuller(self.images)
        runner = PodRunner(
            self.runtime,
            self.cache,
            puller,
            volumes,
            self.references,
            self.results,
            self.settings,
            self.services.list,
            self.events.event,
        )
        self._runner, self._volumes, self._puller = runner, volumes, puller
        self.workers: PodWorkers | None = None
        self.logs = LogRotation(self.runtime, self.cache, self.options.log_max_size, self.options.log_max_files)

    # --- running ------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled; containers go on afterwards."""
        server = KubeletServer(self)
        await server.start()
        try:
            # Informers and registration back off when they are refused: they begin when there is somebody to ask.
            await asyncio.gather(self._start_runtime(), self.client.wait_ready())
            background = [self.pods.run(), self.services.run(), self.nodes.run(), self.events.run()]
            await first_failure(*background, self._serve(), server.wait())
        finally:
            if self.workers is not None:
                self.workers.stop()
            self.prober.close()
            await self.references.close()
            await server.stop()
            await self.runtime.close()

    async def _start_runtime(self) -> None:
        """An engine that is not up yet is waited for: it may be starting beside us."""
        wait = 0.2
        while True:
            try:
                await self.runtime.start()
                log.info("container runtime %s %s", *await self.runtime.version())
                return
            except RuntimeServiceError as error:
                log.warning("container runtime: %s; again in %.1f s", error, wait)
                await asyncio.sleep(wait)
                wait = min(wait * 2, 5.0)

    async def _serve(self) -> None:
        await self.registration.register()
        self._tell_of_node("Normal", "Starting", "Starting kubelet.")
        self.registration.on_network_ready = self._wake_all
        await first_failure(
            self.registration.run(),
            self.lease.run(),
            self.writer.run(),
            self._take_pods(),
        )

    async def _take_pods(self) -> None:
        await self.cache.relist()
        await asyncio.gather(self.pods.wait_synced(), self.services.wait_synced(), self.nodes.wait_synced())
        name, _ = await self.runtime.version()
        tools = Tools(
            runner=self._runner,
            prober=self.prober,
            volumes=self._volumes,
            references=self.references,
            writer=self.writer,
            puller=self._puller,
            network_problem=lambda: self.registration.network_problem,
            runtime_name=name,
            tell=self.events.event,
        )
        self.workers = PodWorkers(self.pods, tools, self._own_node)
        self.workers.start()
        await first_failure(self.cache.run(), self.workers.keep_house(), self.logs.run())

    # --- the node -----------------------------------------------------------------------------------------------

    def _own_node(self) -> Object | None:
        return self.nodes.get(self.options.node_name)

    def _node_changed(self, node: Object) -> None:
        if node["metadata"]["name"] == self.options.node_name:
            self.registration.seen(node)
            cidr = node["spec"].get("podCIDR") or ""
            if cidr and cidr != self.cidr and not self.options.pod_cidr:
                self.cidr = cidr
                self._cidr_task = asyncio.create_task(self._use_cidr(cidr), name="podCIDR")
        if self._routes is not None:
            self._routes.nodes_changed(self.nodes)

    async def _use_cidr(self, cidr: str) -> None:
        wait = 0.2
        while True:
            try:
                await self.runtime.update_runtime_config(cidr)
                break
            except RuntimeServiceError as error:
                log.error("podCIDR %s cannot be used: %s; again in %.1f s", cidr, error, wait)
                await asyncio.sleep(wait)
                wait = min(wait * 2, 30.0)
        self.registration.nudge()

    def _problems(self) -> list[str]:
        """What keeps the node from being ready, besides what the runtime says of itself."""
        if not self.cache.relisted:
            return []
        silent = asyncio.get_running_loop().time() - self.cache.relisted
        if silent > 180:
            return [f"PLEG is not healthy: pleg was last seen active {silent:.0f}s ago; threshold is 3m0s"]
        return []

    # --- words and wakes ----------------------------------------------------------------------------------------

    def _wake(self, uid: str) -> None:
        if self.workers is not None:
            self.workers.wake(uid)

    def _retry(self, uid: str) -> None:
        if self.workers is not None:
            self.workers.retry(uid)

    def _wake_all(self) -> None:
        if self.workers is not None:
            self.workers.wake_all()

    def _tell_of_node(self, type_: str, reason: str, message: str) -> None:
        # Upstream's events about nodes carry the node's name as uid; kubectl describe node looks for that.
        name = self.options.node_name
        reference = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "uid": name}}
        self.events.event(reference, type_, reason, message)

    def _tell_of_container(self, pod: Object, container: Object, type_: str, reason: str, message: str) -> None:
        self.events.event(pod, type_, reason, message, field_path=field_path(pod, container))


class _Routes:
    """To the pods of other nodes: brought up to date once for all changes that come while it works."""

    def __init__(self, cluster_cidr: str) -> None:
        self._cluster_cidr = cluster_cidr
        self._task: asyncio.Task[None] | None = None
        self._again = False

    def nodes_changed(self, nodes: Informer) -> None:
        self._again = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._sync(nodes), name="routes")

    async def _sync(self, nodes: Informer) -> None:
        from kubelet.network import routes

        while self._again:
            self._again = False
            try:
                await routes.sync(nodes.list(), cluster_cidr=self._cluster_cidr)
            except OSError as error:
                log.error("routes to other nodes: %s", error)


async def run(options: Options) -> int:
    from kubelet.cri.native.privileges import has_root

    config = Config.load(options.kubeconfig)
    runtime, images = connect(
        options.runtime_endpoint,
        node_name=options.node_name,
        root_dir=options.root_dir,
        pod_cidr=options.pod_cidr,
        image_dir=options.image_dir,
        pod_infra_container_image=options.pod_infra_container_image,
    )
    async with Client(config, user_agent=f"kubelet/{status.VERSION}") as client:
        await Kubelet(options, client, runtime, images, root=has_root()).run()
    return 0
