"""The Node object and its lease, on a real API server."""

from typing import Any

from tests.kubelet.conftest import Node, condition

Object = dict[str, Any]


async def test_a_node_registers_with_what_it_has(node: Node) -> None:
    kubelet = await node.start("--node-labels=zone=a", "--register-with-taints=k=v:NoSchedule", "--max-pods=7")
    shown = await node.api.resource("v1", "nodes").get(node.name)
    labels = shown["metadata"]["labels"]
    assert labels["kubernetes.io/hostname"] == node.name
    assert (labels["zone"], labels["kubernetes.io/os"]) == ("a", "linux")
    assert {"key": "k", "value": "v", "effect": "NoSchedule"} in shown["spec"]["taints"]
    status = shown["status"]
    assert condition(shown, "Ready") == "True"
    assert {c["type"] for c in status["conditions"]} == {"MemoryPressure", "DiskPressure", "PIDPressure", "Ready"}
    assert status["capacity"]["pods"] == "7"
    assert int(status["capacity"]["cpu"]) == kubelet.machine.cpus
    assert status["addresses"][0] == {"type": "InternalIP", "address": "127.0.0.1"}
    assert status["daemonEndpoints"]["kubeletEndpoint"]["Port"] == node.port
    assert status["nodeInfo"]["containerRuntimeVersion"] == "fake://1.0"
    assert status["nodeInfo"]["kubeletVersion"].startswith("v1.33.")
    assert status["images"] == [{"names": ["busybox:1"], "sizeBytes": 1000}]


async def test_a_new_kubelet_takes_its_node_over(node: Node) -> None:
    nodes = node.api.resource("v1", "nodes")
    await node.start()
    before = await nodes.get(node.name)
    await node.kill()
    await nodes.patch(node.name, {"metadata": {"labels": {"mine": "yes"}}, "spec": {"unschedulable": True}})
    await node.start("--node-labels=zone=b", "--max-pods=9")
    after = await nodes.get(node.name)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert (after["metadata"]["labels"]["mine"], after["metadata"]["labels"]["zone"]) == ("yes", "b")
    assert after["spec"]["unschedulable"]
    assert after["status"]["capacity"]["pods"] == "9"


async def test_the_lease_beats_for_the_node(node: Node) -> None:
    await node.start()
    leases = node.api.resource("coordination.k8s.io/v1", "leases")

    async def lease() -> Object | None:
        listed = await leases.list("kube-node-lease", field_selector=f"metadata.name={node.name}")
        return listed["items"][0] if listed["items"] else None

    found = await node.until("the lease", lease)
    shown = await node.api.resource("v1", "nodes").get(node.name)
    assert found["spec"]["holderIdentity"] == node.name
    assert found["spec"]["leaseDurationSeconds"] == 40
    assert found["metadata"]["ownerReferences"][0]["uid"] == shown["metadata"]["uid"]
    before = found["spec"]["renewTime"]
    await node.kill()
    await node.start()

    async def renewed() -> bool:
        now = await lease()
        return now is not None and now["spec"]["renewTime"] > before

    await node.until("the lease renewed by the next kubelet", renewed)


async def test_a_runtime_that_breaks_makes_the_node_unready(node: Node) -> None:
    await node.start("--node-status-update-frequency=50ms")
    nodes = node.api.resource("v1", "nodes")
    node.runtime.network_ready = False

    async def unready() -> bool:
        return condition(await nodes.get(node.name), "Ready") == "False"

    await node.until("NotReady", unready)
    node.runtime.network_ready = True

    async def ready() -> bool:
        return condition(await nodes.get(node.name), "Ready") == "True"

    await node.until("Ready again", ready)
