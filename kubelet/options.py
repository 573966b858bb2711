"""The kubelet's flags, with upstream's names."""

import re
from dataclasses import dataclass, field
from typing import Any

from apimachinery import names, quantity
from componentbase.flags import FlagSet

_EVICTION_HARD = "memory.available<100Mi,nodefs.available<3%,nodefs.inodesFree<1%,pid.available<3%"
_TAINT = re.compile(r"([^=:]+)(?:=([^:]*))?:(NoSchedule|PreferNoSchedule|NoExecute)")


@dataclass(slots=True)
class Options:
    kubeconfig: str
    node_name: str
    node_ips: list[str]
    address: str
    port: int
    root_dir: str
    runtime_endpoint: str
    pod_cidr: str
    cluster_dns: list[str]
    cluster_domain: str
    resolv_conf: str
    node_labels: dict[str, str]
    taints: list[dict[str, Any]]
    max_pods: int
    tls_cert_file: str
    tls_private_key_file: str
    client_ca_file: str
    status_update_frequency: float
    verbosity: int
    pod_infra_container_image: str = ""
    image_dir: str = ""
    cluster_cidr: str = ""
    log_max_size: int = 10 << 20
    log_max_files: int = 5
    eviction_hard: dict[str, str] = field(default_factory=dict)
    anonymous_auth: bool = False
    token_webhook: bool = True
    authorization_mode: str = "Webhook"


def flags() -> FlagSet:
    found = FlagSet("kubelet", "The node agent: runs the pods that are bound to this node.")
    found.flag("kubeconfig", "", "how to reach the API server", required=True)
    found.flag("hostname-override", "", "name of the Node instead of the host's name")
    found.flag("node-ip", "", "address of the node (several: comma separated)")
    found.flag("address", "0.0.0.0", "where the kubelet's server listens")
    found.flag("port", 10250, "its port")
    found.flag("root-dir", "/var/lib/kubelet", "where pods' volumes, logs and the runtime's state are kept")
    found.flag("container-runtime-endpoint", "native://", "native:// or unix:///var/run/docker.sock")
    found.flag("pod-infra-container-image", "", "image of Docker sandboxes")
    found.flag("image-dir", "", "image store of the native runtime (default: beside --root-dir)")
    found.flag("pod-cidr", "", "addresses of this node's pods (default: what the Node object says)")
    found.flag("cluster-cidr", "", "addresses of all pods: what leaves it is masqueraded")
    found.flag("cluster-dns", "", "addresses of the cluster's DNS server, comma separated")
    found.flag("cluster-domain", "cluster.local", "the cluster's DNS domain")
    found.flag("resolv-conf", "/etc/resolv.conf", "the host's resolver configuration")
    found.flag("node-labels", "", "labels to register the Node with: key=value,...")
    found.flag("register-with-taints", "", "taints to register the Node with: key=value:effect,...")
    found.flag("max-pods", 110, "how many pods may run here")
    found.flag("tls-cert-file", "", "certificate of the kubelet's server")
    found.flag("tls-private-key-file", "", "its key")
    found.flag("client-ca-file", "", "who signs the certificates of the server's clients")
    found.boolean("anonymous-auth", False, "let requests without credentials ask, as system:anonymous")
    found.boolean("authentication-token-webhook", True, "ask the API server who a bearer token is")
    found.flag("authorization-mode", "Webhook", "Webhook asks the API server what somebody may; AlwaysAllow does not")
    found.duration("node-status-update-frequency", "10s", "how often the node's state is computed")
    found.flag("eviction-hard", _EVICTION_HARD, "below what the node is under pressure")
    found.flag("container-log-max-size", "10Mi", "when a container's log file is rotated")
    found.flag("container-log-max-files", 5, "how many log files a container may have")
    found.add_argument("-v", type=int, default=0, metavar="LEVEL", help="verbosity; 4 and more is debugging")
    return found


def parse(argv: list[str] | None) -> Options:
    """Exits with 2 and a line on standard error for flags that make no sense."""
    import socket

    parser = flags()
    given = parser.parse_args(argv)
    try:
        name = (given.hostname_override or socket.gethostname()).lower()
        if wrong := names.dns1123_subdomain(name):
            raise ValueError(f"--hostname-override {name!r}: {wrong[0]}")
        if bool(given.tls_cert_file) != bool(given.tls_private_key_file):
            raise ValueError("--tls-cert-file and --tls-private-key-file go together")
        if given.authorization_mode not in ("Webhook", "AlwaysAllow"):
            raise ValueError(f"--authorization-mode {given.authorization_mode!r}: use Webhook or AlwaysAllow")
        if given.container_log_max_files < 2:
            raise ValueError("--container-log-max-files must be 2 or more")
        return Options(
            kubeconfig=given.kubeconfig,
            node_name=name,
            node_ips=_list(given.node_ip) or [_default_ip()],
            address=given.address,
            port=given.port,
            root_dir=given.root_dir,
            runtime_endpoint=given.container_runtime_endpoint,
            pod_cidr=given.pod_cidr,
            cluster_dns=_list(given.cluster_dns),
            cluster_domain=given.cluster_domain,
            resolv_conf=given.resolv_conf,
            node_labels=_labels(given.node_labels),
            taints=[_taint(text) for text in _list(given.register_with_taints)],
            max_pods=given.max_pods,
            tls_cert_file=given.tls_cert_file,
            tls_private_key_file=given.tls_private_key_file,
            client_ca_file=given.client_ca_file,
            status_update_frequency=given.node_status_update_frequency,
            verbosity=given.v,
            pod_infra_container_image=given.pod_infra_container_image,
            image_dir=given.image_dir,
            cluster_cidr=given.cluster_cidr,
            log_max_size=quantity.value(given.container_log_max_size),
            log_max_files=given.container_log_max_files,
            eviction_hard=_thresholds(given.eviction_hard),
            anonymous_auth=given.anonymous_auth,
            token_webhook=given.authentication_token_webhook,
            authorization_mode=given.authorization_mode,
        )
    except ValueError as error:
        parser.error(str(error))


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _labels(text: str) -> dict[str, str]:
    found = {}
    for part in _list(text):
        key, equals, value = part.partition("=")
        wrong = names.qualified_name(key) or names.label_value(value)
        if not equals or wrong:
            raise ValueError(f"--node-labels {part!r}: {wrong[0] if wrong else 'want key=value'}")
        found[key] = value
    return found


def _taint(text: str) -> dict[str, Any]:
    match = _TAINT.fullmatch(text)
    if not match:
        raise ValueError(f"--register-with-taints {text!r}: want key=value:NoSchedule, PreferNoSchedule or NoExecute")
    taint = {"key": match[1], "effect": match[3]}
    return {**taint, "value": match[2]} if match[2] else taint


def _thresholds(text: str) -> dict[str, str]:
    found = {}
    for part in _list(text):
        signal, less, amount = part.partition("<")
        if not less:
            raise ValueError(f"--eviction-hard {part!r}: want signal<amount")
        if not amount.endswith("%"):
            quantity.parse(amount)
        found[signal] = amount
    return found


def _default_ip() -> str:
    """The address that a packet to the outside would carry; loopback on a machine without a route."""
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
            return probe.getsockname()[0]
        except OSError:
            return "127.0.0.1"
