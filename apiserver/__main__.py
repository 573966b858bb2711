"""``python -m apiserver --etcd-servers=... --tls-cert-file=... --tls-private-key-file=... --client-ca-file=...``"""

import asyncio
import gc
import logging
import os
import sys

from apiserver.options import Options, parse
from componentbase import logs, process

log = logging.getLogger("apiserver")
#: A request makes thousands of small objects and no cycles, and the cache is large and has none: to look for garbage as often as
#: Python does by default costs a fifth of a write.
_GARBAGE_THRESHOLDS = (20_000, 20, 50)


async def serve(options: Options) -> int:
    """Runs until cancelled; 1 when an option names something that cannot be used."""
    # Our children only exec (OpenAPI documents): gRPC need not prepare for a fork, nor log that it could not.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    gc.set_threshold(*_GARBAGE_THRESHOLDS)
    # Everything heavy is imported here, so that --help and a wrong flag answer at once.
    from apiserver import bootstrap
    from apiserver.app import App
    from apiserver.build import build_context
    from apiserver.server import build
    from apiserver.storage.compactor import Compactor
    from componentbase.connection import listen

    try:
        context = build_context(options)
        server = build(App(context), options.tls_cert_file, options.tls_private_key_file, options.client_ca_file)
        listener = listen(options.bind_address, options.secure_port)
    except ValueError as error:
        log.error("%s", error)
        return 1
    cache = asyncio.create_task(context.cacher.run(), name="cacher")
    owned = asyncio.create_task(bootstrap.run(context), name="bootstrap")
    compactor = asyncio.create_task(Compactor(context.store).run(), name="compactor")
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="server")
    log.info("serving on https://%s:%d", options.bind_address, options.secure_port)
    try:
        done, _ = await asyncio.wait((cache, owned, compactor, serving), return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        raise RuntimeError(f"{next(iter(done)).get_name()} ended unexpectedly")
    finally:
        owned.cancel()
        await asyncio.gather(owned, return_exceptions=True)
        server.stop()
        for resource_cache in context.cacher.caches.values():
            resource_cache.close_watchers()
        await asyncio.gather(serving, return_exceptions=True)
        for task in (cache, compactor):
            task.cancel()
        await asyncio.gather(cache, compactor, return_exceptions=True)
        await context.store.client.close()


def main(argv: list[str] | None = None) -> int:
    options = parse(argv)
    logs.setup(options.verbosity)
    return process.run(serve(options))


if __name__ == "__main__":
    sys.exit(main())
