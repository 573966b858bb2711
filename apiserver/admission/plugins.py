"""Which plugins there are, in upstream's order, which are on by default, and what their configuration says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from apiserver.admission.certificates import (
    CertificateApproval,
    CertificateRequestor,
    CertificateSigning,
    CertificateSubjectRestriction,
)
from apiserver.admission.chain import Plugin
from apiserver.admission.claims import DefaultStorageClass, PersistentVolumeClaimResize, StorageObjectInUseProtection
from apiserver.admission.ingresses import DefaultIngressClass
from apiserver.admission.limitranger import LimitRanger
from apiserver.admission.lister import Lister
from apiserver.admission.namespaces import NamespaceLifecycle
from apiserver.admission.noderestriction import NodeRestriction
from apiserver.admission.podsecurity import PodSecurity, settings
from apiserver.admission.priority import Priority
from apiserver.admission.resourcequota import ResourceQuota
from apiserver.admission.runtimeclasses import RuntimeClasses
from apiserver.admission.serviceaccounts import ServiceAccounts
from apiserver.admission.taints import DefaultTolerationSeconds, TaintNodesByCondition

Object = dict[str, Any]
#: Upstream's names in upstream's order. Those that are off there by default and have nothing here are left out.
ORDER = (
    "NamespaceLifecycle", "LimitRanger", "ServiceAccount", "NodeRestriction", "TaintNodesByCondition", "PodSecurity",
    "Priority", "DefaultTolerationSeconds", "DefaultStorageClass", "StorageObjectInUseProtection",
    "PersistentVolumeClaimResize", "RuntimeClass", "CertificateApproval", "CertificateSigning",
    "CertificateSubjectRestriction", "DefaultIngressClass", "ResourceQuota",
)  # fmt: skip
#: On without being asked for. NodeRestriction is on with the node authorizer, as kubeadm has it.
DEFAULT = frozenset(ORDER) - {"NodeRestriction"}


def plugins(context: Any) -> list[Plugin]:
    """Raises ValueError for a name that is no plugin's, and for a configuration that is wrong."""
    configured = configurations(context.options.admission_control_config_file)
    made = _makers(context, configured)
    on = enabled(
        context.options.enabled_admission_plugins,
        context.options.disabled_admission_plugins,
        DEFAULT | {"NodeRestriction"} if context.authorizer.restricts_nodes else DEFAULT,
    )
    # Who asks for a certificate is not a matter of taste: upstream writes it down in the kind's own strategy.
    found: list[Plugin] = [made[name]() for name in on]
    found.append(CertificateRequestor())
    if context.authorizer.uses_roles:
        from apiserver.authorization.escalation import Escalation

        found.append(Escalation(context.authorizer))
    return found


def enabled(wanted: tuple[str, ...], unwanted: tuple[str, ...], default: frozenset[str] = DEFAULT) -> list[str]:
    """The names of the plugins that are on, in order."""
    for flag, names in (("enable", wanted), ("disable", unwanted)):
        for name in names:
            if name not in ORDER:
                known = ", ".join(sorted(ORDER))
                raise ValueError(f'--{flag}-admission-plugins: plugin "{name}" is unknown; known are: {known}')
    both = sorted(set(wanted) & set(unwanted))
    if both:
        raise ValueError(f"[{' '.join(both)}] in enable-admission-plugins and disable-admission-plugins overlapped")
    return [name for name in ORDER if name in wanted or (name in default and name not in unwanted)]


def _makers(context: Any, configured: dict[str, Object]) -> dict[str, Callable[[], Plugin]]:
    listers: dict[tuple[str, str], Lister] = {}

    def lister(group: str, plural: str) -> Lister:
        if (group, plural) not in listers:
            listers[group, plural] = Lister(context.endpoint(group, plural).cache)
        return listers[group, plural]

    pods, quotas = context.endpoint("", "pods"), context.endpoint("", "resourcequotas")

    def pods_of(namespace: str) -> list[Object]:
        return [pods.decode_entry(entry) for entry in pods.cache.entries(f"{namespace}/")]

    def storage_classes() -> Lister:
        return lister("storage.k8s.io", "storageclasses")

    def runtime_classes() -> Plugin:
        endpoint = context.endpoint("node.k8s.io", "runtimeclasses")
        return RuntimeClasses(endpoint, lister("node.k8s.io", "runtimeclasses"))

    limited = configured.get("ResourceQuota", {}).get("limitedResources") or ()
    return {
        "NamespaceLifecycle": lambda: NamespaceLifecycle(context.cacher, context.store),
        "LimitRanger": lambda: LimitRanger(lister("", "limitranges")),
        "ServiceAccount": lambda: ServiceAccounts(context),
        "NodeRestriction": lambda: NodeRestriction(context),
        "TaintNodesByCondition": TaintNodesByCondition,
        "PodSecurity": lambda: PodSecurity(
            lister("", "namespaces"), pods_of, settings(configured.get("PodSecurity", {}))
        ),
        "Priority": lambda: Priority(context),
        "DefaultTolerationSeconds": DefaultTolerationSeconds,
        "DefaultStorageClass": lambda: DefaultStorageClass(storage_classes()),
        "StorageObjectInUseProtection": StorageObjectInUseProtection,
        "PersistentVolumeClaimResize": lambda: PersistentVolumeClaimResize(storage_classes()),
        "RuntimeClass": runtime_classes,
        "CertificateApproval": lambda: CertificateApproval(context.authorizer),
        "CertificateSigning": lambda: CertificateSigning(context.authorizer),
        "CertificateSubjectRestriction": CertificateSubjectRestriction,
        "DefaultIngressClass": lambda: DefaultIngressClass(lister("networking.k8s.io", "ingressclasses")),
        "ResourceQuota": lambda: ResourceQuota(quotas, lister("", "resourcequotas"), limited),
    }


def configurations(path: str) -> dict[str, Object]:
    """By plugin, from an ``AdmissionConfiguration`` file; each plugin's part stands in it, or in a file beside it."""
    if not path:
        return {}
    document = _yaml(Path(path))
    if document.get("kind") != "AdmissionConfiguration":
        raise ValueError(f"--admission-control-config-file: {path} holds no AdmissionConfiguration")
    found: dict[str, Object] = {}
    for plugin in document.get("plugins") or ():
        inline = plugin.get("configuration")
        if inline is None and plugin.get("path"):
            inline = _yaml(Path(path).parent / plugin["path"])
        found[plugin.get("name", "")] = inline or {}
    return found


def _yaml(path: Path) -> Object:
    import yaml  # only where there is such a file

    try:
        document = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"--admission-control-config-file: {error}") from error
    if not isinstance(document, dict):
        raise ValueError(f"--admission-control-config-file: {path} holds no object")
    return document
