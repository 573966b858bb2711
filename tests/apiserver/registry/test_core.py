"""Namespaces, nodes, data, accounts, endpoints, leases and events."""

# Tables of upstream's messages read best with one on a line.
# ruff: noqa: E501

import base64
from typing import Any

import pytest

from apiserver.registry.event import to_core, to_events
from tests.apiserver.registry.made import changed, core, create, refusals, row, strategy_of, update, update_refusals


def test_a_namespace_is_born_active_with_a_finalizer_and_its_name_as_a_label() -> None:
    made = create(core("Namespace", "", status={"phase": "Terminating"}))
    assert made["status"] == {"phase": "Active"}
    assert made["spec"] == {"finalizers": ["kubernetes"]}
    assert made["metadata"]["labels"] == {"kubernetes.io/metadata.name": "x"}
    assert row(made) == ["x", "Active", "60s"]
    # only /finalize may drop the finalizer
    assert update(made, spec__finalizers=None)["spec"] == {"finalizers": ["kubernetes"]}


def test_a_generated_namespace_is_labelled_too() -> None:
    sent = core("Namespace", "")
    sent["metadata"] = {"generateName": "team-"}
    made = create(sent)
    assert made["metadata"]["name"].startswith("team-")
    assert made["metadata"]["labels"]["kubernetes.io/metadata.name"] == made["metadata"]["name"]


def test_finalize_changes_finalizers_only() -> None:
    made = create(core("Namespace", ""))
    done = changed(changed(made, "spec/finalizers", None), "status/phase", "Gone")
    strategy_of(made).prepare_for_finalize(done, made)  # type: ignore[attr-defined]
    assert done["spec"] == {}
    assert done["status"] == {"phase": "Active"}


def test_string_data_becomes_data() -> None:
    made = create(core("Secret", stringData={"a": "é"}, data={"b": "Yg=="}))
    assert made["data"] == {"a": base64.b64encode("é".encode()).decode(), "b": "Yg=="}
    assert "stringData" not in made
    assert made["type"] == "Opaque"
    assert row(made) == ["x", "Opaque", 2, "60s"]


@pytest.mark.parametrize(
    ("obj", "why"),
    [
        (core("Secret", type="kubernetes.io/tls", data={"tls.crt": ""}), "data[tls.key]: Required value"),
        (core("Secret", type="kubernetes.io/service-account-token"), "metadata.annotations[kubernetes.io/service-account.name]: Required value"),
        (core("Secret", type="kubernetes.io/basic-auth"), "data[username]: Required value"),
        (core("Secret", data={"a b": ""}), None),
        (core("ConfigMap", data={"a/b": ""}), None),
        (core("ConfigMap", data={"a": "x" * (1 << 20), "b": "y"}), ": Too long: may not be more than 1048576 bytes"),
        (core("Namespace", "", spec={"finalizers": ["odd"]}), 'spec.finalizers: Invalid value: "odd": name is neither a standard finalizer name nor is it fully qualified'),
        (core("Node", "", spec={"taints": [{"key": "a", "effect": "Explode"}]}), 'metadata.taints[0].effect: Unsupported value: "Explode": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"'),
        (core("Endpoints", subsets=[{}]), "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"),
        (core("LimitRange", spec={"limits": [{"type": "Pod", "min": {"cpu": "2"}, "max": {"cpu": "1"}}]}), 'spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1'),
    ],
)  # fmt: skip
def test_rules(obj: dict[str, Any], why: str | None) -> None:
    found = refusals(obj)
    assert why in found if why else "a valid config key must consist of" in found[0]


def test_a_secret_keeps_its_type() -> None:
    made = create(core("Secret"))
    assert update_refusals(made, type="kubernetes.io/dockercfg", data={".dockercfg": "e30="}) == [
        'type: Invalid value: "kubernetes.io/dockercfg": field is immutable'
    ]


@pytest.mark.parametrize("kind", ["Secret", "ConfigMap"])
def test_immutable_data_is_frozen_for_life(kind: str) -> None:
    made = create(core(kind, immutable=True, data={"a": "YQ=="}))
    frozen = "Forbidden: field is immutable when `immutable` is set"
    assert update_refusals(made, data={"a": "Yg=="}) == [f"data: {frozen}"]
    assert update_refusals(made, immutable=None) == [f"immutable: {frozen}"]
    assert update(made, metadata__labels={"a": "b"})["metadata"]["labels"] == {"a": "b"}


def node(**more: Any) -> dict[str, Any]:
    return create(core("Node", "", **more))


def test_a_node_comes_with_its_status() -> None:
    made = node(status={"capacity": {"cpu": "2"}}, spec={"podCIDR": "10.244.0.0/24"})
    assert made["status"]["allocatable"] == {"cpu": "2"}
    assert made["spec"]["podCIDRs"] == ["10.244.0.0/24"]
    assert update_refusals(made, spec__podCIDR="10.244.1.0/24", spec__podCIDRs=["10.244.1.0/24"]) == [
        'spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid'
    ]


def test_node_rows() -> None:
    made = node()
    assert row(made)[:5] == ["x", "Unknown", "<none>", "60s", ""]
    made["status"] |= {
        "conditions": [{"type": "Ready", "status": "True"}],
        "nodeInfo": {"kubeletVersion": "v1.33.0", "osImage": "Debian"},
        "addresses": [{"type": "InternalIP", "address": "10.1.0.2"}],
    }
    made["spec"]["unschedulable"] = True
    made["metadata"]["labels"] = {"node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/control-plane": ""}
    assert row(made) == [
        "x", "Ready,SchedulingDisabled", "control-plane,worker", "60s", "v1.33.0", "10.1.0.2", "<none>", "Debian",
        "<unknown>", "<unknown>",
    ]  # fmt: skip
    made["status"]["conditions"][0]["status"] = "Unknown"
    assert row(made)[1] == "NotReady,SchedulingDisabled"


def test_endpoints_may_be_at_loopback_but_not_at_other_local_addresses() -> None:
    """Upstream refuses loopback too; clusters without root have their pods there."""

    def at(ip: str) -> dict[str, Any]:
        return core("Endpoints", subsets=[{"addresses": [{"ip": ip}], "ports": [{"port": 6443}]}])

    assert create(at("127.0.0.1"))["subsets"][0]["addresses"] == [{"ip": "127.0.0.1"}]
    refused = 'subsets[0].addresses[0].ip: Invalid value: "169.254.1.1": may not be in the link-local range'
    assert refusals(at("169.254.1.1"))[0].startswith(refused)


def test_endpoints_rows_show_three() -> None:
    addresses = [{"ip": f"10.0.0.{i}"} for i in range(5)]
    made = create(core("Endpoints", subsets=[{"addresses": addresses, "ports": [{"port": 80}]}]))
    assert row(made)[1] == "10.0.0.0:80,10.0.0.1:80,10.0.0.2:80 + 2 more..."
    assert row(create(core("Endpoints")))[1] == "<none>"
    assert made["subsets"][0]["ports"][0]["protocol"] == "TCP"


def test_limits_default_from_max_to_default_to_request() -> None:
    item = {
        "type": "Container",
        "max": {"cpu": "2"},
        "min": {"cpu": "1", "memory": "1Mi"},
        "default": {"memory": "2Mi"},
    }
    made = create(core("LimitRange", spec={"limits": [item]}))["spec"]["limits"][0]
    assert made["default"] == {"cpu": "2", "memory": "2Mi"}
    assert made["defaultRequest"] == {"cpu": "2", "memory": "2Mi"}


def endpoint_slice(**fields: Any) -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "x", "namespace": "default"},
        "addressType": "IPv4", **fields,
    }  # fmt: skip


def test_endpoint_slices() -> None:
    made = create(endpoint_slice(endpoints=[{"addresses": ["10.0.0.1"]}], ports=[{"port": 80}]))
    assert made["ports"] == [{"port": 80, "name": "", "protocol": "TCP"}]
    assert made["endpoints"] == [{"addresses": ["10.0.0.1"], "conditions": {}}]
    assert made["metadata"]["generation"] == 1
    assert row(made) == ["x", "IPv4", "80", "10.0.0.1", "60s"]
    assert update(made, endpoints=[])["metadata"]["generation"] == 2
    assert update(made)["metadata"]["generation"] == 1
    assert row(create(endpoint_slice()))[2:4] == ["<unset>", "<unset>"]
    assert update_refusals(made, addressType="FQDN") == ['addressType: Invalid value: "FQDN": field is immutable']
    assert refusals(endpoint_slice(endpoints=[{"addresses": []}])) == [
        "endpoints[0].addresses: Required value: must contain at least 1 address"
    ]


def test_leases_may_not_be_overwritten_blindly() -> None:
    lease = {
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "x", "namespace": "default"},
        "spec": {"holderIdentity": "me", "leaseDurationSeconds": 15},
    }  # fmt: skip
    made = create(lease)
    assert row(made) == ["x", "me", "60s"]
    assert update_refusals(made, metadata__resourceVersion=None) == [
        'metadata.resourceVersion: Invalid value: "": must be specified for an update'
    ]
    assert refusals(changed(lease, "spec/leaseDurationSeconds", 0)) == [
        "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"
    ]


def event(**fields: Any) -> dict[str, Any]:
    involved = {"kind": "Pod", "namespace": "default", "name": "p", "fieldPath": "spec.containers{c}"}
    return core("Event", involvedObject=involved, reason="Started", type="Normal", message=" hello\n", **fields)


def test_event_rows() -> None:
    made = create(event(firstTimestamp="2024-01-01T00:00:00Z", lastTimestamp="2024-01-01T00:00:50Z", count=4,
                        source={"component": "kubelet", "host": "n1"}))  # fmt: skip
    assert row(made) == [
        "10s", "Normal", "Started", "pod/p", "spec.containers{c}", "kubelet, n1", "hello", "60s", 4, "x",
    ]  # fmt: skip
    newer = create(
        event(
            eventTime="2024-01-01T00:00:30.000000Z", reportingComponent="sched", reportingInstance="s-0", action="Bind"
        )
    )
    assert (row(newer)[0], row(newer)[5], row(newer)[8]) == ("30s", "sched, s-0", 1)


def test_events_are_about_something_in_their_namespace() -> None:
    wrong = event()
    wrong["involvedObject"]["namespace"] = "other"
    assert refusals(wrong) == ['involvedObject.namespace: Invalid value: "other": does not match event.namespace']
    about_a_node = event()
    about_a_node["involvedObject"] = {"kind": "Node", "name": "n"}
    create(about_a_node)
    fields = strategy_of(wrong).selectable_fields(create(event()))
    assert (fields["involvedObject.name"], fields["reason"], fields["type"]) == ("p", "Started", "Normal")


def test_the_two_forms_of_events_are_one_object() -> None:
    made = create(event())
    newer = to_events(made)
    assert newer["regarding"]["name"] == "p"
    assert newer["note"] == " hello\n"
    assert to_core(newer) == made
    assert row(newer)[1:] == row(made)[1:]
