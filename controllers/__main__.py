"""``python -m controllers --kubeconfig=...``: health server, leader election, then every loop at once."""

import argparse
import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable

from componentbase import logs
from componentbase.health import HealthServer
from componentbase.process import first_failure, run
from controllers import options, registry
from controllers.credentials import Accounts
from controllers.loop import Context, Loop
from kubeclient import ApiError, Client, Config, ConfigError, InformerFactory, LeaderElector, TransportError
from kubeclient.discovery import ApiResource, served
from kubeclient.informer import without_managed_fields
from kubeclient.leaderelection import LostLeadership

log = logging.getLogger("controllers")
_USER_AGENT = "kube-controller-manager"


def main(argv: list[str] | None = None) -> int:
    flags = options.parse(argv)
    logs.setup(flags.v)
    try:
        entries = registry.selected(flags.controllers.split(","))
        config = Config.load(flags.kubeconfig or None)
    except (ValueError, ConfigError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return run(_serve(flags, config, entries))


async def _serve(flags: argparse.Namespace, config: Config, entries: list[registry.Entry]) -> int:
    health = HealthServer(
        flags.bind_address,
        flags.secure_port,
        cert_file=flags.tls_cert_file,
        key_file=flags.tls_private_key_file,
    )
    await health.start()
    async with Client(config, user_agent=_USER_AGENT) as client:
        accounts = Accounts(client, _USER_AGENT) if flags.use_service_account_credentials else None
        try:
            return await _work(flags, client, entries, health, accounts)
        finally:
            if accounts is not None:
                await accounts.close()
            await health.stop()


async def _work(
    flags: argparse.Namespace,
    client: Client,
    entries: list[registry.Entry],
    health: HealthServer,
    accounts: Accounts | None,
) -> int:
    await client.wait_ready()
    resources = await _discover(client)
    informers = InformerFactory(client, transform=without_managed_fields)
    context = Context(client, informers, flags)
    loops = build(entries, context, resources, accounts)
    health.add_check("informer-sync", informers.unsynced, ready_only=True)

    async def lead() -> None:
        await first_failure(
            *(loop.run() for loop in loops), *(recorder.run() for recorder in context.recorders.values())
        )

    # The caches fill while the election is under way, so that a standby that takes over is ready at once.
    try:
        await first_failure(informers.run(), _elected(flags, client, lead))
    except LostLeadership as error:
        log.error("%s", error)
        return 1
    return 0


async def _discover(client: Client) -> list[ApiResource]:
    """A server that has just become ready, on a machine that starts a whole cluster, may not answer at once."""
    while True:
        try:
            return await served(client)
        except (ApiError, TransportError) as error:
            log.info("discovery: %s", error or type(error).__name__)
            await asyncio.sleep(0.2)


async def _elected(flags: argparse.Namespace, client: Client, lead: Callable[[], Awaitable[None]]) -> None:
    if not flags.leader_elect:
        await lead()
        return
    elector = LeaderElector(
        client,
        flags.leader_elect_resource_name,
        namespace=flags.leader_elect_resource_namespace,
        lease_duration=flags.leader_elect_lease_duration,
        renew_deadline=flags.leader_elect_renew_deadline,
        retry_period=flags.leader_elect_retry_period,
    )
    await elector.run(lead)


def build(
    entries: list[registry.Entry],
    context: Context,
    resources: list[ApiResource],
    accounts: Accounts | None = None,
) -> list[Loop]:
    """The loops whose resources the server has and whose flags are given, each under an account of its own if there are any."""
    context.resources = resources
    there = {f"{r.api_version}/{r.plural}" for r in resources}
    loops = []
    for entry in entries:
        missing = [need for need in entry.needs if need not in there]
        unset = [f"--{flag.replace('_', '-')}" for flag in entry.flags if not getattr(context.options, flag)]
        if missing:
            log.info("%s is left out: the server has no %s", entry.name, ", ".join(missing))
        elif unset:
            log.info("%s is left out: it needs %s", entry.name, ", ".join(unset))
        else:
            own = context.under(accounts.client(entry.account)) if accounts and entry.account else context
            loops.append(entry.load()(own))
    return loops


if __name__ == "__main__":
    sys.exit(main())
