"""``python -m etcd_raft``: one member of the store."""

import asyncio
import logging
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from etcd_raft.server.config import ServerConfig
    from etcd_raft.server.endpoints import Api

log = logging.getLogger("etcd_raft")
_LEVELS = {"warn": "WARNING", "panic": "CRITICAL", "fatal": "CRITICAL"}


def main(argv: list[str] | None = None) -> int:
    """Run a member until SIGTERM or SIGINT; 0 after an orderly end, 1 when it could not start or not go on."""
    from etcd_raft.server.config import from_flags
    from etcd_raft.server.flags import FlagError

    arguments = sys.argv[1:] if argv is None else argv
    if arguments[:1] == ["snapshot"]:
        from etcd_raft.server.restore import main as snapshot_main

        return snapshot_main(arguments[1:])
    try:
        config = from_flags(arguments)
    except FlagError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    logging.basicConfig(
        level=_LEVELS.get(config.log_level, config.log_level.upper()),
        format="%(asctime)s %(levelname).1s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    for note in config.notes:
        log.info("%s", note)
    from etcd_raft.server.node import Fatal

    try:
        return _run(config)
    except (FlagError, Fatal, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _run(config: object) -> int:
    try:
        import uvloop

        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    except ImportError:  # an optional speed-up: the standard loop does the same
        runner = asyncio.Runner()
    with runner:
        return runner.run(_serve(config))


async def _serve(config: object) -> int:
    from etcd_raft.server.config import ServerConfig
    from etcd_raft.server.endpoints import Api
    from etcd_raft.server.health import HealthServer
    from etcd_raft.server.member import Member
    from etcd_raft.server.watching import notify_periodically

    assert isinstance(config, ServerConfig)
    member = Member(config)
    await member.start()
    loop = asyncio.get_running_loop()
    asked_to_stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked_to_stop.set)
    api = Api(member)
    health = HealthServer(api)
    if config.initial_corrupt_check:
        from etcd_raft.server.corruption import check

        await check(member)
    running = asyncio.create_task(member.run(), name="member")
    background: list[asyncio.Task[None]] = []
    try:
        await health.start(config)
        await api.start(config)
        log.info("member %x serves clients on %s", member.id, ", ".join(config.listen_client_urls))
        background.append(asyncio.create_task(notify_periodically(api.watch, config.progress_notify_seconds)))
        if config.compaction_retention:
            background.append(asyncio.create_task(_compact(api, config)))
        asked = asyncio.create_task(asked_to_stop.wait())
        await asyncio.wait([running, asked], return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
    finally:
        for task in background:
            task.cancel()
        # Clients first, while there is still something to answer them with.
        health.stop()
        await api.stop(0.2)
        member.node.stop()
        await asyncio.wait([running])
        member.close()
    if member.node.removed:
        log.warning("this member has been removed from the cluster")
    running.result()
    return 0


async def _compact(api: "Api", config: "ServerConfig") -> None:
    import time

    from etcd_raft.server.compactor import Periodic, Plan, Revisions, compact_automatically

    kept = config.compaction_retention
    plan: Plan = Revisions(int(kept)) if config.compaction_mode == "revision" else Periodic(kept, time.monotonic())
    await compact_automatically(api.kv, plan)


if __name__ == "__main__":
    sys.exit(main())
