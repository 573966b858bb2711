"""A container's security context: what the pod and the container ask for together, as the runtime takes it."""

from typing import Any

from kubelet.cri.api import Image, SecurityContext
from kubelet.pods.failures import config_error
from kubelet.pods.spec import full_name

Object = dict[str, Any]


def effective(pod: Object, container: Object) -> Object:
    """The container's own word goes before the pod's."""
    shared = pod["spec"].get("securityContext") or {}
    own = container.get("securityContext") or {}
    names = ("runAsUser", "runAsGroup", "runAsNonRoot", "seccompProfile", "appArmorProfile")
    merged = {name: shared[name] for name in names if shared.get(name) is not None}
    merged.update({name: value for name, value in own.items() if value is not None})
    return merged


def security_context(pod: Object, container: Object) -> SecurityContext:
    context = effective(pod, container)
    shared = pod["spec"].get("securityContext") or {}
    capabilities = context.get("capabilities") or {}
    groups = list(shared.get("supplementalGroups") or [])
    if shared.get("fsGroup") is not None:
        groups.append(shared["fsGroup"])
    return SecurityContext(
        privileged=bool(context.get("privileged")),
        run_as_user=context.get("runAsUser"),
        run_as_group=context.get("runAsGroup"),
        supplemental_groups=groups,
        readonly_rootfs=bool(context.get("readOnlyRootFilesystem")),
        add_capabilities=list(capabilities.get("add") or []),
        drop_capabilities=list(capabilities.get("drop") or []),
        no_new_privs=context.get("allowPrivilegeEscalation") is False,
        seccomp_profile=_profile(context.get("seccompProfile")),
        apparmor_profile=_profile(context.get("appArmorProfile")),
    )


def _profile(profile: Object | None) -> str:
    if not profile:
        return ""
    if profile.get("type") == "Localhost":
        return f"localhost/{profile.get('localhostProfile', '')}"
    return "runtime/default" if profile.get("type") == "RuntimeDefault" else "unconfined"


def check_non_root(pod: Object, container: Object, image: Image) -> None:
    """Raises a ContainerFailure when runAsNonRoot is asked for and the user would be root, or cannot be told."""
    context = effective(pod, container)
    if not context.get("runAsNonRoot"):
        return
    where = f'(pod: "{full_name(pod)}", container: {container["name"]})'
    user = context.get("runAsUser")
    if user is not None:
        if user == 0:
            raise config_error(f"container's runAsUser breaks non-root policy {where}")
        return
    name = image.user.split(":")[0]
    if name in ("", "0"):
        raise config_error(f"container has runAsNonRoot and image will run as root {where}")
    if not name.isdigit():
        raise config_error(
            f"container has runAsNonRoot and image has non-numeric user ({name}), cannot verify user is non-root {where}"
        )
