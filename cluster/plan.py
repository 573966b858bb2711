"""From a spec to the processes of a cluster and their flags: a pure function, and the one place that knows the flags.

Every process could as well be started by hand with what :attr:`Process.command` shows.
"""

import sys
from dataclasses import dataclass, field

from cluster.home import Home
from cluster.spec import CLUSTER_DOMAIN, KUBERNETES_SERVICE_IP, SERVICE_CIDR, Spec

#: Order of starting; stopping goes the other way round, so that a component can still say goodbye to what it talks to.
STORE, API, REST = 0, 1, 2


@dataclass(frozen=True)
class Process:
    """``namespace`` is the network namespace it runs in (empty: the host's), ``readyz`` where its health is asked."""

    name: str
    module: str
    flags: tuple[str, ...]
    tier: int
    readyz: str
    namespace: str = ""

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", self.module, *self.flags]


@dataclass(frozen=True)
class Request:
    """One certificate: ``name`` is its path in the folder without suffix, ``sans`` are DNS names and addresses."""

    name: str
    common_name: str
    organizations: tuple[str, ...] = ()
    sans: tuple[str, ...] = ()
    server: bool = False
    client: bool = False
    authority: str = "ca"


@dataclass(frozen=True)
class Identity:
    """A kubeconfig to write: file name, the certificate it holds and the server it names."""

    file: str
    user: str
    certificate: str
    server: str


@dataclass
class Plan:
    processes: list[Process] = field(default_factory=list)
    certificates: list[Request] = field(default_factory=list)
    identities: list[Identity] = field(default_factory=list)


def plan(spec: Spec, home: Home) -> Plan:
    result = Plan()
    for member in spec.members:
        _add_member(result, spec, home, member)
    for number, name in enumerate(spec.api_names):
        _add_api_server(result, spec, home, number, name)
    _add_scheduler(result, spec, home)
    _add_controllers(result, spec, home)
    for number, node in enumerate(spec.node_names):
        _add_node(result, spec, home, number, node)
    result.certificates.append(Request("admin", "kubernetes-admin", organizations=("system:masters",), client=True))
    return result


def _flags(**values: object) -> tuple[str, ...]:
    return tuple(f"--{name.replace('_', '-')}={value}" for name, value in values.items())


def _add_member(result: Plan, spec: Spec, home: Home, member: str) -> None:
    def url(other: str, kind: str, scheme: str = "https") -> str:
        return f"{scheme}://127.0.0.1:{spec.port(f'{other}/{kind}')}"

    pki = home.pki / "etcd"
    sans = ("localhost", "127.0.0.1", member)
    result.certificates += [
        Request(f"etcd/{member}", member, sans=sans, server=True, client=True, authority="etcd/ca"),
        Request(f"etcd/{member}-peer", member, sans=sans, server=True, client=True, authority="etcd/ca"),
    ]
    flags = _flags(
        name=member,
        data_dir=home.etcd(member),
        listen_client_urls=url(member, "client"),
        advertise_client_urls=url(member, "client"),
        listen_peer_urls=url(member, "peer"),
        initial_advertise_peer_urls=url(member, "peer"),
        initial_cluster=",".join(f"{m}={url(m, 'peer')}" for m in spec.members),
        initial_cluster_state="new",
        initial_cluster_token=f"mk8s-{spec.name}",
        listen_metrics_urls=url(member, "metrics", "http"),
        cert_file=pki / f"{member}.crt",
        key_file=pki / f"{member}.key",
        trusted_ca_file=pki / "ca.crt",
        client_cert_auth="true",
        peer_cert_file=pki / f"{member}-peer.crt",
        peer_key_file=pki / f"{member}-peer.key",
        peer_trusted_ca_file=pki / "ca.crt",
        peer_client_cert_auth="true",
    )
    result.processes.append(Process(member, "etcd_raft", flags, STORE, url(member, "metrics", "http") + "/readyz"))


def _add_api_server(result: Plan, spec: Spec, home: Home, number: int, name: str) -> None:
    if number == 0:
        result.certificates += [
            Request("apiserver-etcd-client", "kube-apiserver-etcd-client", client=True, authority="etcd/ca"),
            Request("apiserver-kubelet-client", "kube-apiserver-kubelet-client", client=True),
            Request("apiserver", "kube-apiserver", sans=_api_sans(spec), server=True),
        ]
    pki = home.pki
    flags = _flags(
        etcd_servers=",".join(f"https://127.0.0.1:{spec.port(f'{m}/client')}" for m in spec.members),
        etcd_cafile=pki / "etcd/ca.crt",
        etcd_certfile=pki / "apiserver-etcd-client.crt",
        etcd_keyfile=pki / "apiserver-etcd-client.key",
        bind_address="0.0.0.0" if spec.bridged else "127.0.0.1",
        secure_port=spec.port(name),
        advertise_address=spec.host_address,
        tls_cert_file=pki / "apiserver.crt",
        tls_private_key_file=pki / "apiserver.key",
        client_ca_file=pki / "ca.crt",
        service_cluster_ip_range=SERVICE_CIDR,
        service_account_issuer=f"https://kubernetes.default.svc.{CLUSTER_DOMAIN}",
        service_account_key_file=pki / "sa.pub",
        service_account_signing_key_file=pki / "sa.key",
        authorization_mode="Node,RBAC",
        kubelet_client_certificate=pki / "apiserver-kubelet-client.crt",
        kubelet_client_key=pki / "apiserver-kubelet-client.key",
        kubelet_certificate_authority=pki / "ca.crt",
    )
    result.processes.append(Process(name, "apiserver", flags, API, f"https://127.0.0.1:{spec.port(name)}/readyz"))


def _api_sans(spec: Spec) -> tuple[str, ...]:
    service = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{CLUSTER_DOMAIN}")
    return tuple(dict.fromkeys((*service, "localhost", KUBERNETES_SERVICE_IP, "127.0.0.1", spec.host_address)))


def _add_scheduler(result: Plan, spec: Spec, home: Home) -> None:
    port = spec.port("scheduler")
    result.certificates += [
        Request("scheduler", "system:kube-scheduler", client=True),
        Request("scheduler-server", "kube-scheduler", sans=("localhost", "127.0.0.1"), server=True),
    ]
    result.identities.append(Identity("scheduler", "system:kube-scheduler", "scheduler", spec.api_url()))
    flags = _flags(
        kubeconfig=home.kubeconfigs / "scheduler",
        leader_elect="true",
        bind_address="127.0.0.1",
        secure_port=port,
        tls_cert_file=home.pki / "scheduler-server.crt",
        tls_private_key_file=home.pki / "scheduler-server.key",
    )
    result.processes.append(Process("scheduler", "scheduler", flags, REST, f"https://127.0.0.1:{port}/readyz"))


def _add_controllers(result: Plan, spec: Spec, home: Home) -> None:
    port = spec.port("controllers")
    pki = home.pki
    result.certificates += [
        Request("controller-manager", "system:kube-controller-manager", client=True),
        Request("controller-manager-server", "kube-controller-manager", sans=("localhost", "127.0.0.1"), server=True),
    ]
    user = "system:kube-controller-manager"
    # The last API server, so that with several of them the two busiest clients do not share one.
    result.identities.append(Identity("controllers", user, "controller-manager", spec.api_url(spec.apiservers - 1)))
    flags = _flags(
        kubeconfig=home.kubeconfigs / "controllers",
        leader_elect="true",
        bind_address="127.0.0.1",
        secure_port=port,
        tls_cert_file=pki / "controller-manager-server.crt",
        tls_private_key_file=pki / "controller-manager-server.key",
        cluster_cidr=spec.cluster_cidr,
        allocate_node_cidrs="true",
        node_cidr_mask_size=24,
        service_cluster_ip_range=SERVICE_CIDR,
        root_ca_file=pki / "ca.crt",
        service_account_private_key_file=pki / "sa.key",
        cluster_signing_cert_file=pki / "ca.crt",
        cluster_signing_key_file=pki / "ca.key",
        use_service_account_credentials="true",
    )
    result.processes.append(Process("controllers", "controllers", flags, REST, f"https://127.0.0.1:{port}/readyz"))


def _add_node(result: Plan, spec: Spec, home: Home, number: int, node: str) -> None:
    address = spec.node_address(node)
    namespace = spec.namespace(node) if spec.bridged else ""
    server = spec.api_url(number, host=spec.host_address)
    result.certificates += [
        Request(f"kubelet-{node}", f"system:node:{node}", organizations=("system:nodes",), client=True),
        Request(f"kubelet-{node}-server", f"system:node:{node}", ("system:nodes",), (node, address), server=True),
    ]
    if number == 0:
        result.certificates.append(Request("proxy", "system:kube-proxy", client=True))
    result.identities += [
        Identity(f"kubelet-{node}", f"system:node:{node}", f"kubelet-{node}", server),
        Identity(f"proxy-{node}", "system:kube-proxy", "proxy", server),
    ]
    kubelet_port = spec.ports.get(f"kubelet-{node}", 10250)
    health = spec.ports.get(f"proxy-{node}/health", 10256)
    metrics = spec.ports.get(f"proxy-{node}/metrics", 10249)
    kubelet = _flags(
        kubeconfig=home.kubeconfigs / f"kubelet-{node}",
        hostname_override=node,
        node_ip=address,
        address=address,
        port=kubelet_port,
        root_dir=home.node(node),
        container_runtime_endpoint={"native": "native://", "docker": "unix:///var/run/docker.sock"}[spec.runtime],
        cluster_domain=CLUSTER_DOMAIN,
        cluster_cidr=spec.cluster_cidr,
        tls_cert_file=home.pki / f"kubelet-{node}-server.crt",
        tls_private_key_file=home.pki / f"kubelet-{node}-server.key",
        client_ca_file=home.pki / "ca.crt",
    )
    proxy = _flags(
        kubeconfig=home.kubeconfigs / f"proxy-{node}",
        hostname_override=node,
        proxy_mode="iptables" if spec.bridged else "userspace",
        cluster_cidr=spec.cluster_cidr,
        healthz_bind_address=f"{address}:{health}",
        metrics_bind_address=f"127.0.0.1:{metrics}",
    )
    result.processes += [
        Process(f"kubelet-{node}", "kubelet", kubelet, REST, f"https://{address}:{kubelet_port}/readyz", namespace),
        Process(f"proxy-{node}", "proxy", proxy, REST, f"http://{address}:{health}/readyz", namespace),
    ]
