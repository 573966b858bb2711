"""Carries out what :mod:`kubelet.pods.actions` decided: sandboxes, containers, hooks, kills - and tells of it in events."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from kubelet.cri.api import (
    ContainerState,
    ContainerStatus,
    PodSandboxConfig,
    RuntimeService,
    RuntimeServiceError,
)
from kubelet.pods import containerconfig, dns, failures, hooks, labels, spec
from kubelet.pods.actions import Actions, Kill, compute
from kubelet.pods.backoff import Backoff
from kubelet.pods.containerconfig import NodeSettings
from kubelet.pods.environment import environment
from kubelet.pods.failures import ContainerFailure, Failure
from kubelet.pods.imagepull import ImagePuller
from kubelet.pods.observed import ObservedPod
from kubelet.pods.runtimecache import RuntimeCache
from kubelet.probes.results import Results
from kubelet.references import References
from kubelet.volumes.podvolumes import PodVolumes

Object = dict[str, Any]
Tell = Callable[..., None]  # (pod, type, reason, message, *, field_path="")

log = logging.getLogger(__name__)

_MIN_AFTER_HOOK = 2.0  # seconds to end that a container has in any case, however long its preStop took


class SandboxFailure(Exception):
    """The sandbox could not be made; nothing of the pod can run."""


class PodRunner:
    def __init__(
        self,
        runtime: RuntimeService,
        cache: RuntimeCache,
        puller: ImagePuller,
        volumes: PodVolumes,
        references: References,
        probes: Results,
        node: NodeSettings,
        services: Callable[[], list[Object]],
        tell: Tell,
    ) -> None:
        self.runtime, self.cache, self.puller, self.volumes = runtime, cache, puller, volumes
        self.references, self.probes, self.node = references, probes, node
        self._services, self._tell = services, tell
        self.backoff = Backoff()

    # --- bringing up --------------------------------------------------------------------------------------------

    async def carry_out(self, pod: Object, failed: dict[str, Failure], interruptible: "Interruptible") -> float | None:
        """One round; ``failed`` is brought up to date. How many seconds to wait before the next, when there is a reason."""
        uid = pod["metadata"]["uid"]
        observed = self.cache.pod(uid)
        actions = compute(pod, observed, self.probes)
        if actions.nothing:
            return None
        if actions.kill_pod:
            if actions.create_sandbox and observed.sandboxes:
                self._tell(pod, "Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
            await self.stop_containers(pod, observed, spec.termination_grace(pod))
            await self.stop_sandboxes(observed)
            if actions.create_sandbox:
                await self._remove_containers(
                    [c for name in map(_name, spec.init_containers(pod)) for c in observed.containers_named(name)]
                )
        else:
            await asyncio.gather(*(self._kill(pod, kill) for kill in actions.kill))
        if not (actions.create_sandbox or actions.init or actions.containers or actions.ephemeral):
            return None
        return await self._start(pod, actions, failed, interruptible)

    async def _start(
        self, pod: Object, actions: Actions, failed: dict[str, Failure], interruptible: "Interruptible"
    ) -> float | None:
        config = containerconfig.sandbox_config(pod, self.node, actions.attempt)
        if actions.create_sandbox:
            sandbox_id = await self._create_sandbox(pod, config)
        else:
            sandbox = self.cache.pod(pod["metadata"]["uid"]).sandbox
            assert sandbox is not None, "actions without create_sandbox are about a sandbox that is there"
            sandbox_id = sandbox.id
        self._write_hosts(pod)
        waits = []
        for container in (*actions.ephemeral, *actions.init, *actions.containers):
            if interruptible.interrupted:
                break
            name, now = container["name"], time.monotonic()
            earlier = failed.get(name)
            if earlier is not None and now < earlier.until:
                waits.append(earlier.until - now)
                continue
            try:
                await self._start_container(pod, container, sandbox_id, config, interruptible)
                failed.pop(name, None)
            except ContainerFailure as failure:
                failed[name] = Failure(failure.reason, failure.message, time.monotonic() + failure.retry_in)
                waits.append(failure.retry_in)
                log.info("%s: container %s: %s: %s", spec.full_name(pod), name, failure.reason, failure)
        return min(waits) if waits else None

    async def _create_sandbox(self, pod: Object, config: PodSandboxConfig) -> str:
        try:
            sandbox_id = await self.runtime.run_pod_sandbox(config)
        except RuntimeServiceError as error:
            self._tell(pod, "Warning", "FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}")
            raise SandboxFailure(str(error)) from None
        await self.cache.look(sandbox_id)
        return sandbox_id

    def _write_hosts(self, pod: Object) -> None:
        if spec.is_host_network(pod):
            return
        ips = self.cache.pod(pod["metadata"]["uid"]).ips or self.node.ips
        path = self.node.layout.etc_hosts(pod["metadata"]["uid"])
        text = dns.hosts_file(pod, ips, self.node.dns.domain)
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)  # in place: containers hold this very file
            path.chmod(0o644)

    async def _start_container(
        self,
        pod: Object,
        container: Object,
        sandbox_id: str,
        sandbox_config: PodSandboxConfig,
        interruptible: "Interruptible",
    ) -> None:
        uid, name, path = pod["metadata"]["uid"], container["name"], spec.field_path(pod, container)

        def tell(type_: str, reason: str, message: str) -> None:
            self._tell(pod, type_, reason, message, field_path=path)

        before = self.cache.pod(uid).container(name)
        self._check_backoff(pod, container, before, tell)
        image = await interruptible(self.puller.ensure(pod, container, self._pull_secrets(pod), tell))
        attempt = self._attempt(pod, container, before)
        if before is not None and before.state is ContainerState.CREATED:
            await self._remove_containers([before])  # an earlier kubelet died between create and start
        try:
            config = self._container_config(pod, container, image, attempt)
        except ContainerFailure as failure:
            tell("Warning", "Failed", f"Error: {failure}")
            raise
        message_file = self.node.layout.termination_message(uid, name, attempt)
        message_file.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        message_file.touch(mode=0o666)
        message_file.chmod(0o666)
        try:
            container_id = await self.runtime.create_container(sandbox_id, config, sandbox_config)
        except RuntimeServiceError as error:
            tell("Warning", "Failed", f"Error: {error}")
            raise ContainerFailure(failures.CREATE, str(error)) from None
        tell("Normal", "Created", f"Created container: {name}")
        try:
            await self.runtime.start_container(container_id)
        except RuntimeServiceError as error:
            await self.cache.look(sandbox_id, container_id)
            tell("Warning", "Failed", f"Error: {error}")
            raise ContainerFailure(failures.RUN, str(error)) from None
        await self.cache.look(sandbox_id, container_id)
        tell("Normal", "Started", f"Started container {name}")
        await self._post_start(pod, container, container_id, tell, interruptible)
        await self._drop_old_runs(uid, name)

    def _check_backoff(
        self, pod: Object, container: Object, before: ContainerStatus | None, tell: Callable[[str, str, str], None]
    ) -> None:
        """A container that ended waits longer each time before it runs again; raises ContainerFailure meanwhile."""
        if before is None or before.state is not ContainerState.EXITED:
            return
        key = f"{pod['metadata']['uid']}_{container['name']}_{labels.container_hash(container)}"
        now, ended = time.time(), before.finished_at / 1e9
        wait = self.backoff.remaining(key, ended, now)
        if not wait:
            self.backoff.next(key, ended, now)
            return
        name = spec.full_name(pod)
        tell("Warning", "BackOff", f"Back-off restarting failed container {container['name']} in pod {name}")
        delay = self.backoff.get(key)
        message = f"back-off {_go_duration(delay)} restarting failed container={container['name']} pod={name}"
        raise ContainerFailure(failures.CRASH_LOOP, message, wait)

    def _attempt(self, pod: Object, container: Object, before: ContainerStatus | None) -> int:
        """How often it was restarted, this time included."""
        if before is not None:
            count = labels.restart_count(before)
            return count if before.state is ContainerState.CREATED else count + 1
        told = pod.get("status") or {}
        for entry in (*(told.get("containerStatuses") or []), *(told.get("initContainerStatuses") or [])):
            if entry["name"] == container["name"]:
                # It may have run, and the runtime have lost it: a run that was told of by its id is one that ended.
                return int(entry.get("restartCount", 0)) + bool(entry.get("containerID"))
        return 0

    def _container_config(self, pod: Object, container: Object, image: Any, attempt: int) -> Any:
        namespace = pod["metadata"]["namespace"]

        def skipped(source: str, keys: list[str]) -> None:
            message = (
                f"Keys [{', '.join(keys)}] from the EnvFrom {source} were skipped since they are considered "
                "invalid environment variable names."
            )
            self._tell(pod, "Warning", "InvalidEnvironmentVariableNames", message)

        ips = self.cache.pod(pod["metadata"]["uid"]).ips or self.node.ips
        values = environment(
            pod,
            container,
            services=self._services(),
            lookup=lambda kind, name: self.references.get(kind, namespace, name),
            pod_ips=ips,
            host_ip=self.node.ips[0],
            allocatable=self.node.allocatable,
            skipped=skipped,
        )
        return containerconfig.container_config(
            pod,
            container,
            self.node,
            image=image,
            attempt=attempt,
            environment=values,
            volume_mounts=self.volumes.mounts(pod, container, values),
        )

    def _pull_secrets(self, pod: Object) -> list[Object]:
        """Those that there are; the image may be pulled without the others."""
        namespace = pod["metadata"]["namespace"]
        names = [s["name"] for s in pod["spec"].get("imagePullSecrets") or [] if s.get("name")]
        found = {name: self.references.get("Secret", namespace, name) for name in names}
        missing = [name for name in names if found[name] is None]
        if missing:
            message = (
                f"Unable to retrieve some image pull secrets ({', '.join(missing)}); "
                "attempting to pull the image may not succeed."
            )
            self._tell(pod, "Warning", "FailedToRetrieveImagePullSecret", message)
        return [secret for secret in found.values() if secret is not None]

    async def _post_start(
        self,
        pod: Object,
        container: Object,
        container_id: str,
        tell: Callable[[str, str, str], None],
        interruptible: "Interruptible",
    ) -> None:
        handler = (container.get("lifecycle") or {}).get("postStart")
        if not handler:
            return
        ip = self._pod_ip(pod["metadata"]["uid"])
        try:
            await interruptible(hooks.run(self.runtime, handler, container, container_id, ip))
        except hooks.HookFailed as error:
            tell("Warning", "FailedPostStartHook", f"PostStartHook failed: {error}")
            status = self.cache.container(container_id)
            if status is not None:
                await self._kill(pod, Kill(status, container["name"], "FailedPostStartHook"))
            raise ContainerFailure(failures.POST_START, f"PostStartHook failed: {error}") from None

    def _pod_ip(self, uid: str) -> str:
        return (self.cache.pod(uid).ips or self.node.ips)[0]

    # --- taking down --------------------------------------------------------------------------------------------

    async def _kill(self, pod: Object, kill: Kill) -> None:
        grace = float(spec.termination_grace(pod))
        container = spec.container_named(pod, kill.name)
        if kill.probe is not None and container is not None:
            own = (container.get(kill.probe.field) or {}).get("terminationGracePeriodSeconds")
            grace = float(own) if own is not None else grace
        await self._stop_container(pod, kill.container, grace, kill.message)

    async def stop_containers(self, pod: Object | None, observed: ObservedPod, grace: float) -> None:
        """Every container that runs: sidecars after the others, the last one first. ``pod`` is None for an orphan."""
        sidecars = [c["name"] for c in spec.init_containers(pod) if spec.is_sidecar(c)] if pod else []
        ordered = [c for name in reversed(sidecars) for c in observed.running if labels.container_name(c) == name]
        others = [c for c in observed.running if labels.container_name(c) not in sidecars]
        end = time.monotonic() + grace
        await asyncio.gather(*(self._stop_container(pod, c, grace) for c in others))
        for container in ordered:
            await self._stop_container(pod, container, max(_MIN_AFTER_HOOK, end - time.monotonic()))

    async def _stop_container(
        self, pod: Object | None, container: ContainerStatus, grace: float, message: str = ""
    ) -> None:
        name = labels.container_name(container)
        of_spec = spec.container_named(pod, name) if pod else None
        if pod is not None:
            path = spec.field_path(pod, of_spec or {"name": name})
            self._tell(pod, "Normal", "Killing", message or f"Stopping container {name}", field_path=path)
        began = time.monotonic()
        await self._pre_stop(pod, container, of_spec, grace)
        left = max(_MIN_AFTER_HOOK if grace > _MIN_AFTER_HOOK else grace, grace - (time.monotonic() - began))
        await self.runtime.stop_container(container.id, left)
        await self.cache.look(container.pod_sandbox_id, container.id)

    async def _pre_stop(
        self, pod: Object | None, container: ContainerStatus, of_spec: Object | None, grace: float
    ) -> None:
        """From the spec, or for an orphan from what was written on the container when it was created."""
        text = container.annotations.get(labels.PRE_STOP)
        handler = (of_spec.get("lifecycle") or {}).get("preStop") if of_spec else orjson.loads(text) if text else None
        if not handler or grace <= 0 or container.state is not ContainerState.RUNNING:
            return
        ip = self._pod_ip(labels.pod_uid(container))
        try:
            async with asyncio.timeout(grace):
                await hooks.run(
                    self.runtime, handler, of_spec or {"name": labels.container_name(container)}, container.id, ip
                )
        except (hooks.HookFailed, TimeoutError) as error:
            why = str(error) or "it did not end in time"
            if pod is not None and of_spec is not None:
                path = spec.field_path(pod, of_spec)
                self._tell(pod, "Warning", "FailedPreStopHook", f"PreStopHook failed: {why}", field_path=path)
            log.info("preStop hook of %s: %s", labels.container_name(container), why)

    async def stop_sandboxes(self, observed: ObservedPod) -> None:
        for sandbox in observed.ready_sandboxes:
            await self.runtime.stop_pod_sandbox(sandbox.id)
            await self.cache.look(sandbox.id)

    async def remove(self, observed: ObservedPod) -> None:
        """Every trace in the runtime of a pod that is gone."""
        await self._remove_containers(observed.containers)
        for sandbox in observed.sandboxes:
            await self.runtime.remove_pod_sandbox(sandbox.id)
            self.cache.forget_sandbox(sandbox.id)

    async def _remove_containers(self, containers: list[ContainerStatus]) -> None:
        for container in containers:
            await self.runtime.remove_container(container.id)
            self.cache.forget_container(container.id)
            layout = self.node.layout
            log_file = layout.log_of(container)
            for path in (log_file, *log_file.parent.glob(log_file.name + ".*")):
                path.unlink(missing_ok=True)
            attempt = labels.restart_count(container)
            name = labels.container_name(container)
            layout.termination_message(labels.pod_uid(container), name, attempt).unlink(missing_ok=True)

    async def _drop_old_runs(self, uid: str, name: str) -> None:
        """Of the runs that ended only the last is kept, for ``kubectl logs --previous``."""
        ended = [c for c in self.cache.pod(uid).containers_named(name) if c.state is ContainerState.EXITED]
        await self._remove_containers(ended[1:])


class Interrupted(Exception):
    """The pod is to be terminated: what was under way has been cancelled."""


class Interruptible:
    """Awaits long steps (a pull, a hook) that must end at once when the pod is to be terminated."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    @property
    def interrupted(self) -> bool:
        return self._event.is_set()

    def interrupt(self) -> None:
        self._event.set()

    async def __call__(self, step: Awaitable[Any]) -> Any:
        if self._event.is_set():
            if asyncio.iscoroutine(step):
                step.close()
            raise Interrupted
        work = asyncio.ensure_future(step)
        stop = asyncio.ensure_future(self._event.wait())
        try:
            await asyncio.wait((work, stop), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise Interrupted
            return work.result()
        finally:
            stop.cancel()
            if not work.done():
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)


def _name(container: Object) -> str:
    return container["name"]


def _go_duration(seconds: float) -> str:
    whole = int(seconds)
    minutes, rest = divmod(whole, 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
