"""One invocation against one cluster: the flags every command shares, the client, and how failure ends.

A command is ``async def command(session: Session, options: argparse.Namespace) -> int`` with a parser made by
:func:`parser`; :func:`execute` runs it and turns every expected failure into one ``error:`` line and exit code 1.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn

from kubeclient.config import Config, ConfigError

Command = Callable[["Session", argparse.Namespace], Awaitable[int]]


class CliError(Exception):
    """What the user did or met cannot go on; printed as ``error: <text>``."""


class Parser(argparse.ArgumentParser):
    """Fails the way the rest of the CLI does: one ``error:`` line, exit code 1."""

    def error(self, message: str) -> NoReturn:
        print(f"error: {message}\nSee '{self.prog} --help' for usage.", file=sys.stderr)
        raise SystemExit(1)


def parser(name: str, description: str, *, examples: str = "") -> Parser:
    """A parser with the connection flags; ``-h`` shows the examples, one a line."""
    epilog = f"examples:\n{examples}" if examples else None
    made = Parser(
        prog=f"mk8s {name}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    group = made.add_argument_group("connection")
    group.add_argument("--kubeconfig", help="path of the kubeconfig ($KUBECONFIG, else the cluster's own)")
    group.add_argument("--context", help="name of the kubeconfig context")
    group.add_argument(
        "--cluster-name", default="default", help="the mk8s cluster whose kubeconfig is used when none is given"
    )
    group.add_argument("-n", "--namespace", help="namespace of the request")
    group.add_argument(
        "--request-timeout", type=float, default=30.0, metavar="SECONDS", help="longest wait for one answer"
    )
    return made


def kubeconfig_path(options: argparse.Namespace) -> str | None:
    """``--kubeconfig``, else $KUBECONFIG (None: kubeclient reads it), else the local cluster's, else ``~/.kube/config``."""
    if options.kubeconfig:
        return options.kubeconfig
    if os.environ.get("KUBECONFIG"):
        return None
    home = Path(os.environ.get("MK8S_HOME") or Path.home() / ".mk8s")
    local = home / options.cluster_name / "kubeconfig"
    return str(local) if local.exists() else None


class Session:
    """The client, the default namespace and the REST mapper, opened on first use."""

    def __init__(self, options: argparse.Namespace) -> None:
        from cli.mapper import Mapper
        from kubeclient.rest import Client

        config = Config.load(kubeconfig_path(options), options.context)
        self.config = config
        self.namespace: str = options.namespace or config.namespace
        self.client = Client(config, user_agent="mk8s", timeout=options.request_timeout)
        self.mapper = Mapper(self.client)

    async def __aenter__(self) -> "Session":
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.client.close()


def execute(command: Command, arguments: argparse.Namespace) -> int:
    """Run ``command`` to its exit code: 0, 1 after an ``error:`` line, 130 after Ctrl-C."""
    from kubeclient.rest import ApiError

    async def connected() -> int:
        async with Session(arguments) as session:
            return await command(session, arguments)

    try:
        return asyncio.run(connected())
    except ApiError as error:
        print(_said_by_server(error), file=sys.stderr)
    except (CliError, ConfigError) as error:
        print(f"error: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if not _is_transport_error(error):
            raise
        print(f"error: {_unreachable(arguments, error)}", file=sys.stderr)
    return 1


def _is_transport_error(error: Exception) -> bool:

    from kubeclient.http import TransportError

    return isinstance(error, TransportError)


def _unreachable(arguments: argparse.Namespace, error: Exception) -> str:
    server = Config.load(kubeconfig_path(arguments), arguments.context).server
    why = str(error) or type(error).__name__
    return f"the server {server} cannot be reached: {why} (is the cluster up? try 'mk8s status')"


def _said_by_server(error: Any) -> str:
    """kubectl's form: ``Error from server (NotFound): pods "x" not found``, an Invalid one with its causes."""
    if error.reason == "Invalid":
        return f"error: {error.message}"
    reason = f" ({error.reason})" if error.reason else ""
    return f"error: Error from server{reason}: {error.message}"


def pretty_json(value: Any) -> str:
    """Four spaces and sorted keys, as kubectl prints JSON."""
    return json.dumps(value, indent=4, sort_keys=True, ensure_ascii=False)
