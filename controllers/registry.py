"""Which loops there are, by the names that ``--controllers`` takes."""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module

from controllers.loop import Loop


@dataclass(frozen=True, slots=True)
class Entry:
    """``needs`` are the resources (``apiVersion/plural``), ``flags`` the flags without which the loop is left out. The module
    is only imported when the loop runs."""

    name: str
    where: str
    needs: tuple[str, ...] = ()
    alias: str = ""
    on_by_default: bool = True
    flags: tuple[str, ...] = ()

    @property
    def account(self) -> str:
        """The service account that the loop works as; empty: the manager itself."""
        return _ACCOUNTS.get(self.name, self.name)

    def load(self) -> type[Loop]:
        module, _, cls = self.where.partition(":")
        loop: type[Loop] = getattr(import_module(f"controllers.{module}"), cls)
        return loop


#: Accounts are upstream's, and not always called as their loops.
_ACCOUNTS = {
    "certificatesigningrequest-approving-controller": "certificate-controller",
    "certificatesigningrequest-cleaner-controller": "certificate-controller",
    "certificatesigningrequest-signing-controller": "certificate-controller",
    "daemonset-controller": "daemon-set-controller",
    "endpoints-controller": "endpoint-controller",
    "garbage-collector-controller": "generic-garbage-collector",
    "node-ipam-controller": "node-controller",
    "node-lifecycle-controller": "node-controller",
    "persistentvolume-protection-controller": "pv-protection-controller",
    "persistentvolumeclaim-protection-controller": "pvc-protection-controller",
    "pod-garbage-collector-controller": "pod-garbage-collector",
    "replicationcontroller-controller": "replication-controller",
    "root-ca-certificate-publisher-controller": "root-ca-cert-publisher",
    "serviceaccount-controller": "service-account-controller",
    "serviceaccount-token-controller": "",  # it makes tokens: nobody else's role lets it
    "taint-eviction-controller": "node-controller",
}

_CSRS = ("certificates.k8s.io/v1/certificatesigningrequests",)
#: In the order in which they are started. The garbage collector is last: it also reads what the others watch.
LOOPS: tuple[Entry, ...] = (
    Entry("node-ipam-controller", "nodeipam:NodeIpamLoop", ("v1/nodes",), "nodeipam"),
    Entry("serviceaccount-controller", "serviceaccount:ServiceAccountLoop", ("v1/serviceaccounts",), "serviceaccount"),
    Entry(
        "root-ca-certificate-publisher-controller", "rootca:RootCaLoop", ("v1/configmaps",), "root-ca-cert-publisher"
    ),
    Entry("deployment-controller", "deployment.loop:DeploymentLoop", ("apps/v1/deployments",), "deployment"),
    Entry("replicaset-controller", "replicaset:ReplicaSetLoop", ("apps/v1/replicasets",), "replicaset"),
    Entry(
        "replicationcontroller-controller",
        "replicaset:ReplicationControllerLoop",
        ("v1/replicationcontrollers",),
        "replicationcontroller",
    ),
    Entry(
        "endpointslice-controller",
        "endpointslice:EndpointSliceLoop",
        ("discovery.k8s.io/v1/endpointslices",),
        "endpointslice",
    ),
    Entry("endpoints-controller", "endpoints:EndpointsLoop", ("v1/endpoints",), "endpoint"),
    Entry("namespace-controller", "namespace:NamespaceLoop", ("v1/namespaces",), "namespace"),
    Entry(
        "statefulset-controller",
        "statefulset.loop:StatefulSetLoop",
        ("apps/v1/statefulsets", "apps/v1/controllerrevisions"),
        "statefulset",
    ),
    Entry(
        "daemonset-controller",
        "daemonset.loop:DaemonSetLoop",
        ("apps/v1/daemonsets", "apps/v1/controllerrevisions"),
        "daemonset",
    ),
    Entry("cronjob-controller", "cronjob.loop:CronJobLoop", ("batch/v1/cronjobs", "batch/v1/jobs"), "cronjob"),
    Entry("disruption-controller", "disruption:DisruptionLoop", ("policy/v1/poddisruptionbudgets",), "disruption"),
    Entry("job-controller", "job.loop:JobLoop", ("batch/v1/jobs",), "job"),
    Entry(
        "ttl-after-finished-controller",
        "ttlafterfinished:TtlAfterFinishedLoop",
        ("batch/v1/jobs",),
        "ttl-after-finished",
    ),
    Entry("node-lifecycle-controller", "nodelifecycle:NodeLifecycleLoop", ("v1/nodes",), "nodelifecycle"),
    Entry("taint-eviction-controller", "tainteviction:TaintEvictionLoop", ("v1/nodes",), "taint-eviction"),
    Entry("pod-garbage-collector-controller", "podgc:PodGcLoop", ("v1/pods",), "podgc"),
    Entry(
        "clusterrole-aggregation-controller",
        "clusterroleaggregation:ClusterRoleAggregationLoop",
        ("rbac.authorization.k8s.io/v1/clusterroles",),
        "clusterrole-aggregation",
    ),
    Entry("resourcequota-controller", "resourcequota:ResourceQuotaLoop", ("v1/resourcequotas",), "resourcequota"),
    Entry(
        "persistentvolumeclaim-protection-controller",
        "volumeprotection:ClaimProtectionLoop",
        ("v1/persistentvolumeclaims",),
        "pvc-protection",
    ),
    Entry(
        "persistentvolume-protection-controller",
        "volumeprotection:VolumeProtectionLoop",
        ("v1/persistentvolumes",),
        "pv-protection",
    ),
    Entry(
        "serviceaccount-token-controller",
        "serviceaccounttokens:ServiceAccountTokenLoop",
        ("v1/secrets", "v1/serviceaccounts"),
        "serviceaccount-token",
        flags=("service_account_private_key_file",),
    ),
    Entry(
        "certificatesigningrequest-approving-controller", "certificates.approving:ApprovingLoop", _CSRS, "csrapproving"
    ),
    Entry(
        "certificatesigningrequest-signing-controller",
        "certificates.signing:SigningLoop",
        _CSRS,
        "csrsigning",
        flags=("cluster_signing_cert_file", "cluster_signing_key_file"),
    ),
    Entry("certificatesigningrequest-cleaner-controller", "certificates.cleaner:CleanerLoop", _CSRS, "csrcleaner"),
    Entry("garbage-collector-controller", "garbagecollector.loop:GarbageCollectorLoop", (), "garbagecollector"),
)


def selected(flags: Iterable[str]) -> list[Entry]:
    """What ``--controllers`` asks for: names or aliases, ``*`` for all that are on by default, ``-name`` to leave one out.

    ValueError names what is unknown.
    """
    flags = [flag for flag in flags if flag]
    known = {entry.name for entry in LOOPS} | {entry.alias for entry in LOOPS if entry.alias}
    for flag in flags:
        if flag != "*" and flag.removeprefix("-") not in known:
            raise ValueError(f'"{flag.removeprefix("-")}" is not in the list of known controllers')

    def wanted(entry: Entry) -> bool:
        names = {entry.name, entry.alias} - {""}
        if names & set(flags):
            return True
        if any(f"-{name}" in flags for name in names):
            return False
        return "*" in flags and entry.on_by_default

    return [entry for entry in LOOPS if wanted(entry)]
