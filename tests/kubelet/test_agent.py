"""Lives of pods, from the API server to the runtime and back."""

import asyncio
from typing import Any

import pytest

from kubeclient.rest import MERGE_PATCH
from kubelet.cri.api import ContainerState, SandboxState
from tests.kubelet.conftest import Node, condition, state

Object = dict[str, Any]


def sidecar(**fields: Any) -> Object:
    return {"name": "side", "image": "busybox:1", "restartPolicy": "Always", **fields}


async def test_a_pod_comes_up_and_goes_without_a_trace(node: Node) -> None:
    kubelet = await node.start()
    await node.create("web")
    pod = await node.running("web")
    assert pod["status"]["phase"] == "Running"
    assert pod["status"]["podIP"].startswith("10.9.0.")
    assert pod["status"]["hostIP"] == "127.0.0.1"
    entry = pod["status"]["containerStatuses"][0]
    assert entry["containerID"] == f"fake://{next(iter(node.runtime.containers))}"
    assert entry["imageID"] == "sha256:busybox:1"
    await node.delete("web")
    await node.gone("web")
    await node.until("runtime is empty", lambda: not node.runtime.sandboxes and not node.runtime.containers)
    await node.until("no directory", lambda: not list(kubelet.layout.pods.iterdir()))
    assert not list(kubelet.layout.logs.iterdir())


async def test_a_starting_pod_is_told_of_in_events(node: Node) -> None:
    await node.start()
    await node.create("web")
    await node.running("web")

    async def started() -> list[Object]:
        return await node.events("Started")

    event = (await node.until("Started", started))[0]
    assert event["message"] == "Started container c"
    assert event["involvedObject"]["fieldPath"] == "spec.containers{c}"
    assert event["source"] == {"component": "kubelet", "host": node.name}


async def test_a_new_kubelet_restarts_nothing(node: Node) -> None:
    await node.start()
    await node.create("web", {"readinessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 1}})
    before = await node.running("web")
    await node.kill()
    starts = len(node.runtime.asked("start_container"))
    kubelet = await node.start()
    await node.until("the pod's probe runs again", lambda: kubelet.prober._probes)
    after = await node.get("web")
    assert after is not None
    assert after["status"]["containerStatuses"] == before["status"]["containerStatuses"]
    assert condition(after, "Ready") == "True"
    assert len(node.runtime.asked("start_container")) == starts
    assert len(node.runtime.sandboxes) == 1


async def test_what_ended_while_the_kubelet_was_away_is_dealt_with(node: Node) -> None:
    await node.start()
    await node.create("crashed")
    await node.create("deleted")
    await node.create("forced")
    for name in ("crashed", "deleted", "forced"):
        await node.running(name)
    await node.kill()
    node.runtime.exit(node.runtime.find("c", "crashed").id, 3)  # type: ignore[union-attr]
    await node.delete("deleted")
    await node.delete("forced", grace=0)
    await node.start()
    pod = await node.pod("crashed", "restarted", lambda p: p["status"]["containerStatuses"][0]["restartCount"] == 1)
    assert pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 3
    await node.gone("deleted")
    await node.until("only one sandbox is left", lambda: len(node.runtime.sandboxes) == 1)


async def test_what_the_runtime_lost_is_run_again_and_counted(node: Node) -> None:
    """As after a reboot of the machine, or a cluster that was stopped and resumed."""
    await node.start()
    await node.create("web", {}, initContainers=[{"name": "i", "image": "busybox:1"}])
    first = await node.until("the init container", lambda: node.runtime.find("i"))
    node.runtime.exit(first.id)
    before = await node.running("web")
    await node.kill()
    node.runtime.sandboxes.clear()
    node.runtime.containers.clear()
    await node.start()
    again = await node.until("the init container again", lambda: node.runtime.find("i"))
    node.runtime.exit(again.id)
    old = before["status"]["containerStatuses"][0]["containerID"]
    pod = await node.pod(
        "web", "a new run", lambda p: p["status"]["containerStatuses"][0].get("containerID", old) != old
    )
    entry = pod["status"]["containerStatuses"][0]
    assert entry["restartCount"] == 1
    assert entry["lastState"]["terminated"]["reason"] == "ContainerStatusUnknown"
    assert pod["status"]["initContainerStatuses"][0]["restartCount"] == 1


async def test_a_crashing_container_backs_off(node: Node) -> None:
    await node.start()
    await node.create("crash")
    await node.running("crash")
    for _ in range(2):
        count = len(node.runtime.asked("start_container"))
        node.runtime.exit(node.runtime.find("c").id, 7)  # type: ignore[union-attr]
        if count == 1:
            await node.until("the first restart", lambda: len(node.runtime.asked("start_container")) == 2)
            await node.running("crash")
    pod = await node.pod(
        "crash", "CrashLoopBackOff", lambda p: state(p).get("waiting", {}).get("reason") == "CrashLoopBackOff"
    )
    assert pod["status"]["phase"] == "Running"
    entry = pod["status"]["containerStatuses"][0]
    assert entry["lastState"]["terminated"]["exitCode"] == 7
    assert entry["state"]["waiting"]["message"].startswith("back-off 10s restarting failed container=c pod=crash_")
    assert len([c for c in node.runtime.containers.values() if c.state is ContainerState.EXITED]) == 2


async def test_a_job_like_pod_succeeds_or_fails(node: Node) -> None:
    await node.start()
    for name, code, phase in (("good", 0, "Succeeded"), ("bad", 3, "Failed")):
        await node.create(name, restartPolicy="Never")
        await node.running(name)
        node.runtime.exit(node.runtime.find("c", name).id, code)  # type: ignore[union-attr]
        pod = await node.pod(name, phase, lambda p, phase=phase: p["status"]["phase"] == phase)
        assert state(pod)["terminated"]["exitCode"] == code
    await node.until(
        "their sandboxes stopped",
        lambda: all(s.state is SandboxState.NOTREADY for s in node.runtime.sandboxes.values()),
    )
    assert len(node.runtime.containers) == 2  # kept for their logs


async def test_init_containers_and_sidecars_come_first_and_sidecars_go_last(node: Node) -> None:
    await node.start()
    init = [{"name": "i", "image": "busybox:1"}, sidecar()]
    await node.create("ordered", {}, initContainers=init)
    first = await node.until("the init container", lambda: node.runtime.find("i"))
    assert node.runtime.find("side") is None
    await node.pod("ordered", "initializing", lambda p: state(p) == {"waiting": {"reason": "PodInitializing"}})
    node.runtime.exit(first.id, 0)
    await node.running("ordered")
    assert [call[0] for call in node.runtime.asked("start_container")] == ["i", "side", "c"]
    await node.delete("ordered")
    await node.gone("ordered")
    assert [call[0] for call in node.runtime.asked("stop_container")] == ["c", "side"]


async def test_a_restarted_sidecar_does_not_touch_the_others(node: Node) -> None:
    await node.start()
    await node.create("p", {}, initContainers=[sidecar()])
    await node.running("p")
    node.runtime.exit(node.runtime.find("side").id, 1)  # type: ignore[union-attr]
    await node.pod("p", "sidecar restarted", lambda p: p["status"]["initContainerStatuses"][0]["restartCount"] == 1)
    assert [call[0] for call in node.runtime.asked("start_container")] == ["side", "c", "side"]


async def test_termination_gives_the_grace_period_and_less_when_told(node: Node) -> None:
    await node.start()
    node.runtime.stubborn.add("c")
    await node.create("slow", terminationGracePeriodSeconds=600)
    await node.running("slow")
    await node.delete("slow")
    await node.until("SIGTERM", lambda: node.runtime.asked("stop_container"))
    assert 590 < node.runtime.asked("stop_container")[0][1] <= 600
    await node.delete("slow", grace=1)
    await node.gone("slow")
    assert node.runtime.asked("stop_container")[-1][1] <= 1


async def test_hooks_run_and_are_waited_for(node: Node) -> None:
    done: list[str] = []

    async def answer(container_id: str, command: list[str]) -> tuple[bytes, bytes, int]:
        done.append(command[0])
        return b"", b"no", int(command[0] == "fail")

    node.runtime.exec_answer = answer
    await node.start()
    hooks = {"postStart": {"exec": {"command": ["hello"]}}, "preStop": {"exec": {"command": ["bye"]}}}
    await node.create("hooked", {"lifecycle": hooks})
    await node.running("hooked")
    assert done == ["hello"]
    await node.delete("hooked")
    await node.gone("hooked")
    assert done == ["hello", "bye"]


async def test_a_failed_post_start_hook_kills_the_container(node: Node) -> None:
    async def answer(container_id: str, command: list[str]) -> tuple[bytes, bytes, int]:
        return b"", b"no", 1

    node.runtime.exec_answer = answer
    await node.start()
    await node.create("hooked", {"lifecycle": {"postStart": {"exec": {"command": ["x"]}}}})
    await node.until("killed", lambda: node.runtime.asked("stop_container"))
    pod = await node.pod(
        "hooked", "hook failure", lambda p: "waiting" in state(p) and state(p)["waiting"].get("message")
    )
    assert state(pod)["waiting"]["reason"] in ("PostStartHookError", "CrashLoopBackOff")

    async def failed() -> list[Object]:
        return await node.events("FailedPostStartHook")

    events = await node.until("FailedPostStartHook", failed)
    assert "exited with a failure: no" in events[0]["message"]


async def test_a_failed_liveness_probe_restarts_the_container(node: Node) -> None:
    sick = True

    async def answer(container_id: str, command: list[str]) -> tuple[bytes, bytes, int]:
        return b"", b"sick", int(sick)

    node.runtime.exec_answer = answer
    await node.start()
    probe = {"exec": {"command": ["check"]}, "periodSeconds": 1, "failureThreshold": 1}
    await node.create("sick", {"livenessProbe": probe})
    await node.until("a restart", lambda: len(node.runtime.asked("start_container")) == 2)
    sick = False
    pod = await node.pod("sick", "restart told", lambda p: p["status"]["containerStatuses"][0]["restartCount"] == 1)
    assert pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 143

    async def killing() -> list[Object]:
        return await node.events("Killing")

    events = await node.until("Killing", killing)
    assert events[0]["message"] == "Container c failed liveness probe, will be restarted"


async def test_an_image_that_cannot_be_pulled_is_told_of_until_it_can(node: Node) -> None:
    await node.start()
    await node.create("p", {"image": "registry.example/none:1"})
    pod = await node.pod("p", "ErrImagePull", lambda p: state(p).get("waiting", {}).get("reason") == "ErrImagePull")
    assert pod["status"]["phase"] == "Pending"
    await node.pod("p", "ImagePullBackOff", lambda p: state(p)["waiting"]["reason"] == "ImagePullBackOff")


async def test_a_pod_waits_for_its_configmap_and_starts_when_it_comes(node: Node) -> None:
    await node.start()
    source = {"configMapKeyRef": {"name": "conf", "key": "k"}}
    await node.create("p", {"env": [{"name": "X", "valueFrom": source}]})
    pod = await node.pod(
        "p", "config error", lambda p: state(p).get("waiting", {}).get("reason") == "CreateContainerConfigError"
    )
    assert state(pod)["waiting"]["message"] == 'configmap "conf" not found'
    maps = node.api.resource("v1", "configmaps")
    await maps.create(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "conf", "namespace": node.namespace},
            "data": {"k": "v"},
        }
    )
    await node.running("p")
    assert ("X", "v") in node.runtime.configs[node.runtime.find("c").id].envs  # type: ignore[union-attr]


async def test_a_mounted_configmap_follows_its_object(node: Node) -> None:
    kubelet = await node.start()
    maps = node.api.resource("v1", "configmaps")
    meta = {"name": "conf", "namespace": node.namespace}
    await maps.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"k": "one"}})
    mount = {"name": "conf", "mountPath": "/conf"}
    pod = await node.create("p", {"volumeMounts": [mount]}, volumes=[{"name": "conf", "configMap": {"name": "conf"}}])
    await node.running("p")
    mounted = next(m for m in node.runtime.containers[node.runtime.find("c").id].mounts if m.container_path == "/conf")  # type: ignore[union-attr]
    path = kubelet.layout.volume(pod["metadata"]["uid"], "configmap", "conf") / "k"
    assert mounted.host_path == str(path.parent)
    assert mounted.readonly
    assert path.read_text() == "one"
    await maps.patch("conf", {"data": {"k": "two"}}, node.namespace, content_type=MERGE_PATCH)
    await node.until("the file to change", lambda: path.read_text() == "two")


async def test_a_missing_volume_source_holds_the_pod_back_with_an_event(node: Node) -> None:
    await node.start()
    await node.create(
        "p",
        {"volumeMounts": [{"name": "s", "mountPath": "/s"}]},
        volumes=[{"name": "s", "secret": {"secretName": "no"}}],
    )

    async def failed() -> list[Object]:
        return await node.events("FailedMount")

    events = await node.until("FailedMount", failed)
    assert events[0]["message"] == 'MountVolume.SetUp failed for volume "s" : secret "no" not found'
    assert not node.runtime.sandboxes
    await node.delete("p")
    await node.gone("p")


async def test_a_sandbox_that_cannot_be_made_is_tried_again(node: Node) -> None:
    node.runtime.fail["run_pod_sandbox"] = "no more addresses"
    await node.start()
    await node.create("p")

    async def failed() -> list[Object]:
        return await node.events("FailedCreatePodSandBox")

    events = await node.until("FailedCreatePodSandBox", failed)
    assert events[0]["message"] == "Failed to create pod sandbox: no more addresses"
    del node.runtime.fail["run_pod_sandbox"]
    await node.running("p")


async def test_a_sandbox_that_dies_is_replaced(node: Node) -> None:
    await node.start()
    await node.create("p")
    before = await node.running("p")
    node.runtime.kill_sandbox(next(iter(node.runtime.sandboxes)))
    after = await node.pod("p", "new address", lambda p: p["status"].get("podIP") != before["status"]["podIP"])
    assert after["status"]["containerStatuses"][0]["restartCount"] == 1
    assert (await node.events("SandboxChanged"))[0]["message"].startswith("Pod sandbox changed")


async def test_a_pod_that_does_not_fit_is_refused_for_good(node: Node) -> None:
    await node.start()
    await node.create("big", {"resources": {"requests": {"cpu": "1000"}}})
    pod = await node.pod("big", "Failed", lambda p: p["status"]["phase"] == "Failed")
    assert pod["status"]["reason"] == "OutOfcpu"
    assert pod["status"]["message"].startswith(
        "Pod was rejected: Node didn't have enough resource: cpu, requested: 1000000"
    )
    assert not node.runtime.sandboxes


async def test_a_pod_that_runs_too_long_fails(node: Node) -> None:
    await node.start()
    await node.create("long", activeDeadlineSeconds=1)
    pod = await node.pod("long", "Failed", lambda p: p["status"]["phase"] == "Failed")
    assert pod["status"]["reason"] == "DeadlineExceeded"
    await node.until("stopped", lambda: node.runtime.find("c").state is ContainerState.EXITED)  # type: ignore[union-attr]


async def test_the_pod_network_is_set_up_when_the_node_gets_its_podcidr(node: Node) -> None:
    node.runtime.network_ready = False
    await node.start()
    nodes = node.api.resource("v1", "nodes")
    shown = await nodes.get(node.name)
    ready = next(c for c in shown["status"]["conditions"] if c["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "KubeletNotReady")
    assert "NetworkReady=false" in ready["message"]
    await node.create("p")
    await nodes.patch(node.name, {"spec": {"podCIDR": "10.9.0.0/24", "podCIDRs": ["10.9.0.0/24"]}})

    async def is_ready() -> bool:
        return condition(await nodes.get(node.name), "Ready") == "True"

    await node.until("the node Ready", is_ready)
    assert node.runtime.asked("update_runtime_config") == [("10.9.0.0/24",)]
    await node.running("p")


async def test_a_forced_deletion_still_stops_the_containers(node: Node) -> None:
    await node.start()
    await node.create("p")
    await node.running("p")
    await node.delete("p", grace=0)
    await node.gone("p")
    await node.until("runtime is empty", lambda: not node.runtime.sandboxes)
    assert node.runtime.asked("stop_container")


async def test_deleting_a_pod_that_cannot_start_does_not_wait(node: Node) -> None:
    never = asyncio.Event()

    async def pull(image: str, auth: Any = None) -> str:
        await never.wait()
        raise AssertionError("unreachable")

    node.images.pull_image = pull  # type: ignore[method-assign]
    await node.start()
    await node.create("p", {"image": "huge:1"})
    await node.until("the pull", lambda: node.runtime.sandboxes)
    await node.delete("p")
    await node.gone("p")


@pytest.mark.parametrize("policy", ["Always", "Never"])
async def test_a_container_that_cannot_start_says_why(node: Node, policy: str) -> None:
    node.runtime.fail["start_container"] = "exec: no such file"
    await node.start()
    await node.create("p", restartPolicy=policy)
    if policy == "Never":
        pod = await node.pod("p", "Failed", lambda p: p["status"]["phase"] == "Failed")
        assert state(pod)["terminated"]["reason"] == "StartError"
    else:
        pod = await node.pod("p", "an error", lambda p: "waiting" in state(p) and state(p)["waiting"].get("message"))
        assert state(pod)["waiting"]["reason"] in ("RunContainerError", "CrashLoopBackOff")
