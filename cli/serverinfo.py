"""What the server and the kubeconfig are: ``api-resources``, ``api-versions``, ``version``, ``cluster-info``, ``config``."""

import argparse
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from cli import printing
from cli.session import CliError, Session, execute, kubeconfig_path, parser, pretty_json


def api_resources_main(argv: list[str]) -> int:
    flags = parser("api-resources", "Print the API resources that the server supports.")
    flags.add_argument(
        "--namespaced", choices=("true", "false"), default=None, help="only those in namespaces, or only the others"
    )
    flags.add_argument("--api-group", default=None, help="only of this group")
    flags.add_argument("--verbs", default="", help="only those that support all of these verbs")
    flags.add_argument("--categories", default="", help="only those of this category")
    flags.add_argument("--no-headers", action="store_true", help="no header line")
    flags.add_argument("--sort-by", choices=("", "name", "kind"), default="", help="order")
    flags.add_argument("-o", "--output", choices=("", "wide", "name"), default="", help="more columns, or names only")
    return execute(api_resources, flags.parse_args(argv))


async def api_resources(session: Session, options: argparse.Namespace) -> int:
    # Of a kind with several versions the preferred one, which the server lists first.
    rows = list({(r.group, r.plural): r for r in reversed(await session.mapper.resources())}.values())[::-1]
    if options.namespaced is not None:
        rows = [r for r in rows if r.namespaced == (options.namespaced == "true")]
    if options.api_group is not None:
        rows = [r for r in rows if r.group == options.api_group]
    if options.verbs:
        rows = [r for r in rows if set(options.verbs.split(",")) <= set(r.verbs)]
    if options.categories:
        rows = [r for r in rows if set(options.categories.split(",")) <= set(r.categories)]
    rows = sorted(
        rows,
        key=lambda r: r.kind if options.sort_by == "kind" else r.plural if options.sort_by else (r.group, r.plural),
    )  # type: ignore[arg-type,return-value]
    if options.output == "name":
        for row in rows:
            print(f"{row.plural}.{row.group}" if row.group else row.plural)
        return 0
    header = ["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"]
    lines = [[r.plural, ",".join(r.short_names), r.api_version, str(r.namespaced).lower(), r.kind] for r in rows]
    if options.output == "wide":
        header += ["VERBS", "CATEGORIES"]
        lines = [[*line, ",".join(r.verbs), ",".join(r.categories)] for line, r in zip(lines, rows, strict=True)]
    printing.columns(lines, header=None if options.no_headers else header)
    return 0


def api_versions_main(argv: list[str]) -> int:
    return execute(
        api_versions, parser("api-versions", "Print the API versions that the server supports.").parse_args(argv)
    )


async def api_versions(session: Session, options: argparse.Namespace) -> int:
    for found in sorted({r.api_version for r in await session.mapper.resources()}):
        print(found)
    return 0


def version_main(argv: list[str]) -> int:
    flags = parser("version", "Print the client and server version.")
    flags.add_argument("--client", action="store_true", help="the client's only")
    flags.add_argument("-o", "--output", choices=("", "json", "yaml"), default="", help="as an object")
    options = flags.parse_args(argv)
    if options.client:
        _print_versions(options, None)
        return 0
    return execute(show_version, options)


def client_version() -> str:
    try:
        return f"v{version('minik8s')}"
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "(not installed)"


async def show_version(session: Session, options: argparse.Namespace) -> int:
    _print_versions(options, await session.client.json("GET", "/version"))
    return 0


def _print_versions(options: argparse.Namespace, server: dict[str, Any] | None) -> None:
    whole: dict[str, Any] = {"clientVersion": {"gitVersion": client_version()}}
    if server is not None:
        whole["serverVersion"] = server
    if options.output == "json":
        print(pretty_json(whole))
    elif options.output == "yaml":
        sys.stdout.write(printing.dump_yaml(whole))
    else:
        print(f"Client Version: {client_version()}")
        if server is not None:
            print(f"Server Version: {server['gitVersion']}")


def cluster_info_main(argv: list[str]) -> int:
    return execute(cluster_info, parser("cluster-info", "Display where the cluster is.").parse_args(argv))


async def cluster_info(session: Session, options: argparse.Namespace) -> int:
    await session.client.json("GET", "/version")
    print(f"Kubernetes control plane is running at {session.config.server}")
    return 0


def config_main(argv: list[str]) -> int:
    actions = ("view", "current-context", "get-contexts", "use-context")
    flags = parser("config", "Look at a kubeconfig, or choose its context.", examples="  mk8s config view --minify")
    flags.add_argument("action", choices=actions)
    flags.add_argument("name", nargs="?", default="", help="use-context: the context")
    flags.add_argument("--raw", action="store_true", help="view: keys and certificates too")
    flags.add_argument("--minify", action="store_true", help="view: the current context only")
    flags.add_argument("-o", "--output", default="yaml", help=f"view: one of {printing.FORMATS}")
    options = flags.parse_args(argv)
    try:
        return _config(options)
    except CliError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _config(options: argparse.Namespace) -> int:
    import os
    from pathlib import Path

    import yaml

    path = Path(
        kubeconfig_path(options)
        or os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
        or Path.home() / ".kube/config"
    )
    if not path.exists():
        raise CliError(f"{path} does not exist (start a cluster with 'mk8s up', or set KUBECONFIG)")
    try:
        document = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise CliError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    current = options.context or document.get("current-context") or ""
    if options.action == "current-context":
        if not current:
            raise CliError("current-context is not set")
        print(current)
    elif options.action == "use-context":
        if not any(c["name"] == options.name for c in document.get("contexts") or []):
            raise CliError(f'no context exists with the name: "{options.name}"')
        document["current-context"] = options.name
        path.write_text(yaml.safe_dump(document))
        print(f'Switched to context "{options.name}".')
    elif options.action == "get-contexts":
        rows = []
        for entry in document.get("contexts") or []:
            inner = entry["context"]
            mark = "*" if entry["name"] == current else ""
            rows.append(
                [mark, entry["name"], inner.get("cluster", ""), inner.get("user", ""), inner.get("namespace", "")]
            )
        printing.columns(rows, header=["CURRENT", "NAME", "CLUSTER", "AUTHINFO", "NAMESPACE"])
    else:
        if options.minify:
            document = _minified(document, current)
        shown = document if options.raw else _redacted(document)
        printing.print_objects([shown], options.output, names=[], as_list=False)
    return 0


def _minified(document: dict[str, Any], current: str) -> dict[str, Any]:
    chosen = next((c for c in document.get("contexts") or [] if c["name"] == current), None)
    if chosen is None:
        raise CliError(f'context "{current}" does not exist')
    inner = chosen["context"]
    return {
        **document,
        "contexts": [chosen],
        "clusters": [c for c in document.get("clusters") or [] if c["name"] == inner.get("cluster")],
        "users": [u for u in document.get("users") or [] if u["name"] == inner.get("user")],
    }


def _redacted(value: Any) -> Any:
    hidden = {
        "certificate-authority-data": "DATA+OMITTED", "client-certificate-data": "DATA+OMITTED",
        "client-key-data": "DATA+OMITTED", "token": "REDACTED", "password": "REDACTED",
    }  # fmt: skip
    if isinstance(value, dict):
        return {k: hidden[k] if k in hidden and v else _redacted(v) for k, v in value.items()}
    return [_redacted(v) for v in value] if isinstance(value, list) else value
