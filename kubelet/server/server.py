"""Listens on ``--address:--port`` and says who may ask what.

Health needs no credentials (upstream has it on a port of its own); for everything else :mod:`kubelet.server.access` asks the API
server: whoever may exec into every container of the node must not be just anyone with a certificate of the cluster.
"""

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from componentbase.connection import listen
from kubelet.cri.api import ContainerState
from kubelet.server import connection, stats, streams
from kubelet.server.access import Access, Denied
from kubelet.server.logs import BadOptions, LogOptions
from kubelet.server.logs import read as read_log
from kubelet.server.lookup import Refused, find, running_container

if TYPE_CHECKING:
    from kubelet.agent import Kubelet

Object = dict[str, Any]

log = logging.getLogger(__name__)

_OPEN = ("/healthz", "/livez", "/readyz")


class KubeletServer:
    def __init__(self, kubelet: "Kubelet") -> None:
        self._kubelet = kubelet
        options = kubelet.options
        self._server = connection.build(
            self._app(),
            cert_file=options.tls_cert_file,
            key_file=options.tls_private_key_file,
            client_ca_file=options.client_ca_file,
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        options = self._kubelet.options
        if not options.client_ca_file:
            log.warning("no --client-ca-file: clients are known by their tokens only")
        listener = listen(options.address, options.port)
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]), name="server")

    async def wait(self) -> None:
        assert self._task is not None, "start comes first"
        await asyncio.shield(self._task)  # stop() lets it shut down in order

    async def stop(self) -> None:
        self._server.stop()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    # --- the application ----------------------------------------------------------------------------------------

    def _app(self) -> Any:
        container = "/{namespace}/{pod}/{container}"
        upgrade = ["GET", "POST"]
        routes = [
            Route("/healthz", self._live),
            Route("/livez", self._live),
            Route("/readyz", self._ready),
            Route("/pods", self._pods),
            Route("/configz", self._configz),
            Route("/containerLogs" + container, self._logs),
            Route("/metrics", stats.metrics(self._kubelet)),
            Route("/metrics/resource", stats.resource_metrics(self._kubelet)),
            Route("/stats/summary", stats.summary(self._kubelet)),
        ]
        for action in ("exec", "attach"):
            handler = getattr(streams, action)(self._kubelet)
            routes.append(Route(f"/{action}{container}", handler, methods=upgrade))
            routes.append(Route(f"/{action}/{{namespace}}/{{pod}}/{{uid}}/{{container}}", handler, methods=upgrade))
        routes.append(Route("/portForward/{namespace}/{pod}", streams.port_forward(self._kubelet), methods=upgrade))
        routes.append(Route("/run" + container, self._run, methods=["POST"]))
        app = Starlette(routes=routes, exception_handlers={Refused: _refused})  # type: ignore[dict-item]

        options = self._kubelet.options
        access = Access(
            self._kubelet.client,
            options.node_name,
            anonymous=options.anonymous_auth,
            tokens=options.token_webhook,
            webhook=options.authorization_mode == "Webhook",
        )

        async def guarded(scope: Any, receive: Any, send: Any) -> None:
            if scope["path"] not in _OPEN:
                try:
                    await access.check(scope)
                except Denied as denied:
                    await PlainTextResponse(str(denied), status_code=denied.code)(scope, receive, send)
                    return
            await app(scope, receive, send)

        return guarded

    async def _live(self, request: Request) -> Response:
        return PlainTextResponse("ok")

    async def _ready(self, request: Request) -> Response:
        kubelet = self._kubelet
        waiting = []
        if not kubelet.registration.node:
            waiting.append("the node is not registered yet")
        elif kubelet.workers is None:
            waiting.append("pods are not taken up yet")
        if waiting:
            return PlainTextResponse(f"[-]{waiting[0]}\nreadyz check failed\n", status_code=500)
        return PlainTextResponse("ok")

    async def _pods(self, request: Request) -> Response:
        workers = self._kubelet.workers
        items = workers.pods() if workers is not None else []
        return _json({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})

    async def _configz(self, request: Request) -> Response:
        options = self._kubelet.options
        shown = {
            "address": options.address,
            "port": options.port,
            "clusterDNS": options.cluster_dns,
            "clusterDomain": options.cluster_domain,
            "maxPods": options.max_pods,
            "podCIDR": self._kubelet.cidr,
            "nodeStatusUpdateFrequency": f"{options.status_update_frequency:g}s",
            "containerRuntimeEndpoint": options.runtime_endpoint,
            "containerLogMaxSize": str(options.log_max_size),
            "containerLogMaxFiles": options.log_max_files,
            "evictionHard": options.eviction_hard,
            "kind": "KubeletConfiguration",
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
        }
        return _json({"kubeletconfig": shown})

    # --- logs ---------------------------------------------------------------------------------------------------

    async def _logs(self, request: Request) -> Response:
        kubelet = self._kubelet
        try:
            options = LogOptions.parse(request.query_params, time.time())
        except BadOptions as error:
            raise Refused(400, str(error)) from None
        pod, container = find(kubelet, request)
        container_id = _logged_run(pod, container["name"], previous=options.previous)
        status = kubelet.cache.container(container_id)
        if status is None:
            raise Refused(500, f'failed to find the log of container "{container["name"]}": its run is gone')

        def running() -> bool:
            now = kubelet.cache.container(container_id)
            return now is not None and now.state is ContainerState.RUNNING

        path = kubelet.layout.log_of(status)
        if not path.exists():
            raise Refused(500, f'failed to open log file "{path}": no such file or directory')
        return StreamingResponse(read_log(path, options, running), media_type="text/plain")

    async def _run(self, request: Request) -> Response:
        """A command's output in one answer; 500 with it when the command fails, as upstream's debugging handler."""
        pod, container = find(self._kubelet, request)
        container_id = running_container(self._kubelet, pod, container["name"])
        command = request.query_params.get("cmd", "").split(" ")
        out, errors, code = await self._kubelet.runtime.exec_sync(container_id, command, 0)
        return Response(out + errors, status_code=500 if code else 200, media_type="text/plain")


def _logged_run(pod: Object, name: str, *, previous: bool) -> str:
    """The id of the run whose log is asked for, by the status that the pod shows (upstream's validateContainerLogStatus)."""
    status = pod.get("status") or {}
    pod_name = pod["metadata"]["name"]
    fields = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
    entries = [e for field in fields for e in status.get(field) or []]
    entry = next((e for e in entries if e["name"] == name), None)
    if entry is None:
        raise Refused(400, f'container "{name}" in pod "{pod_name}" is not available')
    state, last = entry.get("state") or {}, (entry.get("lastState") or {}).get("terminated")
    if previous:
        if not last or not last.get("containerID"):
            raise Refused(400, f'previous terminated container "{name}" in pod "{pod_name}" not found')
        found = last["containerID"]
    elif "running" in state:
        found = entry.get("containerID", "")
    elif "terminated" in state and state["terminated"].get("containerID"):
        found = state["terminated"]["containerID"]
    elif last and last.get("containerID"):
        found = last["containerID"]
    elif "waiting" in state:
        reason = state["waiting"].get("reason", "")
        if reason == "ErrImagePull":
            raise Refused(400, f'container "{name}" in pod "{pod_name}" is waiting to start: image can\'t be pulled')
        if reason == "ImagePullBackOff":
            raise Refused(
                400, f'container "{name}" in pod "{pod_name}" is waiting to start: trying and failing to pull image'
            )
        raise Refused(400, f'container "{name}" in pod "{pod_name}" is waiting to start: {reason}')
    else:
        raise Refused(400, f'container "{name}" in pod "{pod_name}" is terminated')
    return found.rpartition("//")[2]


def _json(value: Any) -> Response:
    return Response(orjson.dumps(value), media_type="application/json")


async def _refused(request: Request, error: Refused) -> Response:
    return PlainTextResponse(str(error), status_code=error.code)
