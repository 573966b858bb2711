"""Puts one API server together from its options."""

from apimachinery.resources import RESOURCES, lookup
from apiserver.admission import Chain
from apiserver.admission.plugins import plugins
from apiserver.allocators import ServiceAllocator
from apiserver.authentication.authenticator import Authenticator
from apiserver.authentication.serviceaccount import ServiceAccountTokens
from apiserver.authorization import Authorizer
from apiserver.cacher import Cacher
from apiserver.context import Context
from apiserver.handlers.endpoint import Endpoint
from apiserver.kubelet import Kubelets
from apiserver.options import Options
from apiserver.registry import CONVERSIONS, STRATEGIES
from apiserver.storage import Store
from componentbase.tokenkeys import Keys
from etcd_raft.client import EtcdClient


def build_context(options: Options) -> Context:
    """Nothing runs yet; OSError or ValueError for an option that cannot be used."""
    client = EtcdClient(
        list(options.etcd_servers),
        ca=options.etcd_cafile or None,
        cert=options.etcd_certfile or None,
        key=options.etcd_keyfile or None,
    )
    store = Store(client, options.etcd_prefix)
    # The row that is stored comes first, so that a cache speaks the stored version of a kind that has several.
    stored = sorted((r for r in RESOURCES if r.stored), key=lambda r: r.stored_api_version != r.api_version)
    cacher = Cacher(store, [(r, STRATEGIES[r].selectable_fields) for r in stored])
    tokens = ServiceAccountTokens(
        options.service_account_issuers,
        Keys(options.service_account_signing_key_file, options.service_account_key_files),
        cacher,
        audiences=options.api_audiences,
        extend=options.service_account_extend_token_expiration,
        most_seconds=options.service_account_max_token_expiration,
    )
    context = Context(
        options=options,
        store=store,
        cacher=cacher,
        tokens=tokens,
        authenticator=Authenticator(options.token_auth_file, tokens),
        authorizer=Authorizer(options.authorization_modes, cacher),
        admission=Chain([]),
        kubelets=Kubelets(options),
    )
    for resource in stored:
        converter = CONVERSIONS.get(resource)
        context.endpoints[resource] = Endpoint(resource, STRATEGIES[resource], cacher, store, converter)
    context.admission = Chain(plugins(context))
    _allocate(context)
    _observe(context)
    return context


def _allocate(context: Context) -> None:
    services, addresses = lookup("", "v1", "services"), lookup("networking.k8s.io", "v1", "ipaddresses")
    assert services is not None, "services are a row of the resource table"
    assert addresses is not None, "ipaddresses are a row of the resource table"
    options = context.options
    allocator = ServiceAllocator(
        services,
        options.service_cluster_ip_range,
        options.service_node_port_range,
        context.cacher.cache(addresses),
        context.store,
    )
    endpoint = context.endpoints[services]
    endpoint.allocate, endpoint.release = allocator.allocate, allocator.release


def _observe(context: Context) -> None:
    cacher, metrics, health = context.cacher, context.metrics, context.health

    def objects() -> list[tuple[str, int]]:
        return [(c.resource.group_resource, len(c)) for c in cacher.caches.values()]

    metrics.objects = objects
    metrics.watchers = lambda: [(c.resource.group_resource, c.watchers) for c in cacher.caches.values()]

    async def ping() -> str | None:
        return None

    async def etcd() -> str | None:
        return await _etcd(context)

    async def caches() -> str | None:
        return cacher.behind

    health.add("ping", ping)
    health.add("etcd", etcd)
    health.add("informer-sync", caches, ready_only=True)
    if context.authorizer.uses_roles:

        async def roles() -> str | None:
            return None if context.default_roles_made.is_set() else "the default roles are being made"

        health.add("poststarthook/rbac/bootstrap-roles", roles, ready_only=True)


async def _etcd(context: Context) -> str | None:
    from apimachinery.errors import StatusError

    try:
        await context.store.revision(timeout=2.0)
    except StatusError as error:
        return error.message
    return None
