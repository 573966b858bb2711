"""What breaks which Pod Security Standard, in upstream's words, version by version."""

from typing import Any

import pytest

from apiserver.admission.podstandards import CHECKS, violations

Object = dict[str, Any]
SAFE: Object = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def pod(*containers: Object, context: Object | None = None, **spec: Any) -> Object:
    """A spec; a container without a security context of its own gets one that every standard accepts."""
    named = [{"name": f"c{i}", "securityContext": SAFE, **c} for i, c in enumerate(containers or ({},))]
    return {"containers": named, **({"securityContext": context} if context else {}), **spec}


def with_context(**fields: Any) -> Object:
    return {"securityContext": {**SAFE, **fields}}


def said(level: str, spec: Object, minor: int | None = None, **annotations: str) -> list[str]:
    return [str(v) for v in violations(level, minor, {"annotations": annotations}, spec)]


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (pod(hostNetwork=True, hostIPC=True), "host namespaces (hostNetwork=true, hostIPC=true)"),
        (pod(with_context(privileged=True)), 'privileged (container "c0" must not set securityContext.privileged=true)'),
        (
            pod(with_context(privileged=True), with_context(privileged=True)),
            'privileged (containers "c0", "c1" must not set securityContext.privileged=true)',
        ),
        (
            pod(with_context(capabilities={"add": ["SYS_ADMIN", "CHOWN", "BPF"]})),
            'non-default capabilities (container "c0" must not include "BPF", "SYS_ADMIN" in '
            "securityContext.capabilities.add)",
        ),
        (pod(volumes=[{"name": "v", "hostPath": {"path": "/"}}]), 'hostPath volumes (volume "v")'),
        (
            pod({"ports": [{"containerPort": 80, "hostPort": 80}, {"containerPort": 81, "hostPort": 81}]}),
            'hostPort (container "c0" uses hostPorts 80, 81)',
        ),
        (
            pod(with_context(procMount="Unmasked")),
            'procMount (container "c0" must not set securityContext.procMount to "Unmasked")',
        ),
        (
            pod(with_context(seLinuxOptions={"type": "spc_t", "user": "u"}), context={"seLinuxOptions": {"role": "r"}}),
            'seLinuxOptions (pod and container "c0" set forbidden securityContext.seLinuxOptions: type "spc_t"; '
            "user may not be set; role may not be set)",
        ),
        (
            pod(with_context(seccompProfile={"type": "Unconfined"}), context={"seccompProfile": {"type": "Unconfined"}}),
            'seccompProfile (pod and container "c0" must not set securityContext.seccompProfile.type to "Unconfined")',
        ),
        (
            pod(context={"sysctls": [{"name": "kernel.msgmax", "value": "1"}, {"name": "net.ipv4.tcp_rmem", "value": "1"}]}),
            "forbidden sysctls (kernel.msgmax)",
        ),
        (
            pod(context={"windowsOptions": {"hostProcess": True}}),
            "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)",
        ),
        (
            pod(with_context(appArmorProfile={"type": "Unconfined"})),
            'forbidden AppArmor profile (container "c0" must not set AppArmor profile type to "Unconfined")',
        ),
    ],
)  # fmt: skip
def test_baseline_refuses(spec: Object, text: str) -> None:
    assert said("baseline", spec) == [text]


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (
            pod({"securityContext": {**SAFE, "allowPrivilegeEscalation": True}}),
            'allowPrivilegeEscalation != false (container "c0" must set securityContext.allowPrivilegeEscalation=false)',
        ),
        (
            pod(with_context(capabilities={"add": ["CHOWN"]})),
            'unrestricted capabilities (container "c0" must set securityContext.capabilities.drop=["ALL"]; container "c0" '
            'must not include "CHOWN" in securityContext.capabilities.add)',
        ),
        (
            pod(volumes=[{"name": "a", "nfs": {}}, {"name": "b", "hostPath": {}}, {"name": "c", "image": {}}]),
            'restricted volume types (volumes "a", "b" use restricted volume types "hostPath", "nfs")',
        ),
        (
            pod(with_context(runAsNonRoot=False), context={"runAsNonRoot": False}),
            'runAsNonRoot != true (pod and container "c0" must not set securityContext.runAsNonRoot=false)',
        ),
        (
            pod({"securityContext": {k: v for k, v in SAFE.items() if k != "runAsNonRoot"}}),
            'runAsNonRoot != true (pod or container "c0" must set securityContext.runAsNonRoot=true)',
        ),
        (pod(with_context(runAsUser=0)), 'runAsUser=0 (container "c0" must not set runAsUser=0)'),
        (
            pod({"securityContext": {k: v for k, v in SAFE.items() if k != "seccompProfile"}}),
            'seccompProfile (pod or container "c0" must set securityContext.seccompProfile.type to "RuntimeDefault" or '
            '"Localhost")',
        ),
    ],
)
def test_restricted_refuses_more(spec: Object, text: str) -> None:
    assert said("baseline", spec) in ([], ['hostPath volumes (volume "b")'])
    assert said("restricted", spec) == [text]


def test_a_plain_pod_breaks_restricted_in_four_ways() -> None:
    plain = {"containers": [{"name": "web"}]}
    assert said("baseline", plain) == []
    assert said("restricted", plain) == [
        'allowPrivilegeEscalation != false (container "web" must set securityContext.allowPrivilegeEscalation=false)',
        'unrestricted capabilities (container "web" must set securityContext.capabilities.drop=["ALL"])',
        'runAsNonRoot != true (pod or container "web" must set securityContext.runAsNonRoot=true)',
        'seccompProfile (pod or container "web" must set securityContext.seccompProfile.type to "RuntimeDefault" or '
        '"Localhost")',
    ]


def test_what_the_pod_says_holds_for_its_containers() -> None:
    context = {"runAsNonRoot": True, "seccompProfile": {"type": "Localhost", "localhostProfile": "p"}}
    bare = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}}
    assert said("restricted", pod({"securityContext": bare}, context=context)) == []


def test_init_and_ephemeral_containers_count_too() -> None:
    bad = {"name": "x", "securityContext": {"privileged": True}}
    spec = {"containers": [], "initContainers": [bad], "ephemeralContainers": [{**bad, "name": "y"}]}
    assert said("baseline", spec) == [
        'privileged (containers "x", "y" must not set securityContext.privileged=true)'
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "changed_in"),
    [
        (pod(with_context(seLinuxOptions={"type": "container_engine_t"})), 31),
        (pod(context={"sysctls": [{"name": "net.ipv4.ip_local_reserved_ports", "value": "1"}]}), 27),
        (pod(context={"sysctls": [{"name": "net.ipv4.tcp_fin_timeout", "value": "1"}]}), 29),
        (pod(context={"sysctls": [{"name": "net.ipv4.tcp_wmem", "value": "1"}]}), 32),
    ],
)
def test_baseline_grew_more_tolerant(spec: Object, changed_in: int) -> None:
    assert said("baseline", spec, changed_in - 1) != []
    assert said("baseline", spec, changed_in) == []
    assert said("baseline", spec) == said("baseline", spec, 99) == []


def test_restricted_grew_stricter_and_learned_of_windows() -> None:
    spec = {"containers": [{"name": "c", "securityContext": {"runAsUser": 0, "runAsNonRoot": True}}]}

    def reasons(minor: int, **more: Any) -> list[str]:
        return [v.reason for v in violations("restricted", minor, {}, {**spec, **more})]

    assert reasons(7) == []
    assert reasons(8) == ["allowPrivilegeEscalation != false"]
    assert reasons(19) == ["allowPrivilegeEscalation != false", "seccompProfile"]
    assert reasons(22) == ["allowPrivilegeEscalation != false", "unrestricted capabilities", "seccompProfile"]
    assert "runAsUser=0" in reasons(23)
    assert reasons(25, os={"name": "windows"}) == ["runAsUser=0"]


def test_before_fields_there_were_annotations() -> None:
    key = "container.seccomp.security.alpha.kubernetes.io/c0"
    assert said("baseline", pod(), 18, **{key: "unconfined"}) == [
        f'seccompProfile (forbidden annotation {key}="unconfined")'
    ]
    assert said("baseline", pod(), 19, **{key: "unconfined"}) == []
    armor = "container.apparmor.security.beta.kubernetes.io/c0"
    assert said("baseline", pod(), **{armor: "unconfined"}) == [
        f'forbidden AppArmor profile (annotation must not set AppArmor profile type to "{armor}="unconfined"")'
    ]
    assert said("baseline", pod(), **{armor: "localhost/x"}) == []


def test_privileged_means_anything_goes() -> None:
    assert said("privileged", pod(with_context(privileged=True), hostPID=True)) == []


def test_only_restricted_checks_override_and_only_baseline_ones() -> None:
    levels = {check.id: check.level for check in CHECKS}
    for check in CHECKS:
        assert [v.minor for v in check.versions] == sorted({v.minor for v in check.versions})
        for version in check.versions:
            assert not version.overrides or check.level == "restricted"
            assert all(levels[name] == "baseline" for name in version.overrides)
