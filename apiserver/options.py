"""The command line: upstream's flags, checked, as one value."""

from dataclasses import dataclass

from componentbase.flags import FlagSet

_ISSUER = "https://kubernetes.default.svc.cluster.local"


@dataclass(frozen=True)
class Options:
    """Files are paths; empty means not given. Durations are seconds."""

    etcd_servers: tuple[str, ...]
    etcd_cafile: str
    etcd_certfile: str
    etcd_keyfile: str
    etcd_prefix: str
    bind_address: str
    secure_port: int
    advertise_address: str
    tls_cert_file: str
    tls_private_key_file: str
    client_ca_file: str
    service_cluster_ip_range: str
    service_node_port_range: tuple[int, int]
    service_account_issuers: tuple[str, ...]
    service_account_key_files: tuple[str, ...]
    service_account_signing_key_file: str
    service_account_jwks_uri: str
    service_account_extend_token_expiration: bool
    service_account_max_token_expiration: float
    api_audiences: tuple[str, ...]
    token_auth_file: str
    authorization_modes: tuple[str, ...]
    kubelet_client_certificate: str
    kubelet_client_key: str
    kubelet_certificate_authority: str
    max_requests_inflight: int
    max_mutating_requests_inflight: int
    enabled_admission_plugins: tuple[str, ...]
    disabled_admission_plugins: tuple[str, ...]
    admission_control_config_file: str
    event_ttl: float
    request_timeout: float
    verbosity: int


def parse(argv: list[str] | None) -> Options:
    """Exits with a message for a flag that is wrong or missing."""
    flags = FlagSet("apiserver", "Serves the Kubernetes API from an etcd v3 store.")
    flags.flag("etcd-servers", help="comma-separated URLs of the store's members", required=True)
    flags.flag("etcd-cafile", help="CA of the store's certificates")
    flags.flag("etcd-certfile", help="our client certificate for the store")
    flags.flag("etcd-keyfile", help="its key")
    flags.flag("etcd-prefix", "/registry", help="prefix of all keys in the store")
    flags.flag("bind-address", "0.0.0.0", help="address to listen on")
    flags.flag("secure-port", 6443, help="port to listen on")
    flags.flag("advertise-address", help="address at which the cluster reaches this server")
    flags.flag("tls-cert-file", help="the serving certificate", required=True)
    flags.flag("tls-private-key-file", help="its key", required=True)
    flags.flag("client-ca-file", help="CA of client certificates", required=True)
    flags.flag("service-cluster-ip-range", "10.96.0.0/16", help="CIDR of the ClusterIPs")
    flags.flag("service-node-port-range", "30000-32767", help="ports for NodePort services")
    flags.add_argument(
        "--service-account-issuer", action="append", help="iss of the tokens; several: the first one signs"
    )
    flags.add_argument("--service-account-key-file", action="append", default=[], help="keys that verify tokens")
    flags.flag("service-account-signing-key-file", help="key that signs tokens")
    flags.flag("service-account-jwks-uri", help="where the discovery document says that the public keys are")
    flags.boolean("service-account-extend-token-expiration", True, "let pods' tokens live on when they are not renewed")
    flags.duration(
        "service-account-max-token-expiration", "0", help="the longest life of a token that may be asked for"
    )
    flags.flag("api-audiences", help="comma-separated: audiences of tokens for this server (default: the issuers)")
    flags.flag("token-auth-file", help='CSV of token,user,uid,"groups"')
    flags.flag("authorization-mode", "AlwaysAllow", help="comma-separated: AlwaysAllow, AlwaysDeny, Node, RBAC")
    flags.flag("kubelet-client-certificate", help="our client certificate for the kubelets")
    flags.flag("kubelet-client-key", help="its key")
    flags.flag("kubelet-certificate-authority", help="CA of the kubelets' serving certificates")
    flags.flag("max-requests-inflight", 400, help="reads served at a time, 0 for no limit")
    flags.flag("max-mutating-requests-inflight", 200, help="writes served at a time, 0 for no limit")
    flags.flag(
        "enable-admission-plugins", help="comma-separated names of plugins to add to those that are on by default"
    )
    flags.flag("disable-admission-plugins", help="comma-separated names of plugins to leave out")
    flags.flag("admission-control-config-file", help="YAML file with an AdmissionConfiguration")
    flags.duration("request-timeout", "1m", help="how long a request may take that is no watch and the like")
    flags.duration("event-ttl", "1h", help="how long events are kept")
    flags.add_argument("-v", type=int, default=0, dest="verbosity", help="log verbosity")
    given = flags.parse_args(argv)
    low, dash, high = given.service_node_port_range.partition("-")
    if not (dash and low.isdigit() and high.isdigit() and 0 < int(low) <= int(high) < 65536):
        flags.error(f"--service-node-port-range: {given.service_node_port_range!r} is not like 30000-32767")
    return Options(
        etcd_servers=tuple(given.etcd_servers.split(",")),
        etcd_cafile=given.etcd_cafile,
        etcd_certfile=given.etcd_certfile,
        etcd_keyfile=given.etcd_keyfile,
        etcd_prefix=given.etcd_prefix,
        bind_address=given.bind_address,
        secure_port=given.secure_port,
        advertise_address=given.advertise_address or _reachable(given.bind_address),
        tls_cert_file=given.tls_cert_file,
        tls_private_key_file=given.tls_private_key_file,
        client_ca_file=given.client_ca_file,
        service_cluster_ip_range=given.service_cluster_ip_range,
        service_node_port_range=(int(low), int(high)),
        service_account_issuers=tuple(given.service_account_issuer or (_ISSUER,)),
        service_account_key_files=tuple(given.service_account_key_file),
        service_account_signing_key_file=given.service_account_signing_key_file,
        service_account_jwks_uri=given.service_account_jwks_uri,
        service_account_extend_token_expiration=given.service_account_extend_token_expiration,
        service_account_max_token_expiration=given.service_account_max_token_expiration,
        api_audiences=tuple(filter(None, given.api_audiences.split(","))),
        token_auth_file=given.token_auth_file,
        authorization_modes=tuple(given.authorization_mode.split(",")),
        kubelet_client_certificate=given.kubelet_client_certificate,
        kubelet_client_key=given.kubelet_client_key,
        kubelet_certificate_authority=given.kubelet_certificate_authority,
        max_requests_inflight=given.max_requests_inflight,
        max_mutating_requests_inflight=given.max_mutating_requests_inflight,
        enabled_admission_plugins=tuple(filter(None, given.enable_admission_plugins.split(","))),
        disabled_admission_plugins=tuple(filter(None, given.disable_admission_plugins.split(","))),
        admission_control_config_file=given.admission_control_config_file,
        event_ttl=given.event_ttl,
        request_timeout=given.request_timeout,
        verbosity=given.verbosity,
    )


def _reachable(bind_address: str) -> str:
    """An address of this host: the one asked for, or the one that outgoing traffic has."""
    if bind_address not in ("0.0.0.0", "::"):
        return bind_address
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.connect(("192.0.2.1", 9))  # nothing is sent: only the route is looked up
        except OSError:
            return "127.0.0.1"
        return str(s.getsockname()[0])
