"""``mk8s up``, ``down`` and ``status``: what they take, and what they print."""

import argparse
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, NoReturn

from cluster import ClusterError
from cluster.progress import Progress

if TYPE_CHECKING:
    from cluster.status import Status
    from cluster.up import Result


class _Parser(argparse.ArgumentParser):
    """Fails as every command does: one ``error:`` line, exit code 1."""

    def error(self, message: str) -> NoReturn:
        print(f"error: {message} (see: {self.prog} --help)", file=sys.stderr)
        raise SystemExit(1)


def _parser(command: str, description: str) -> _Parser:
    parser = _Parser(prog=f"mk8s {command}", description=description, allow_abbrev=False)
    parser.add_argument("--name", default="default", help="which cluster (default: %(default)s)")
    return parser


def _seconds(text: str) -> float:
    from componentbase.flags import duration

    try:
        return float(text) if text.replace(".", "", 1).isdigit() else duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


# -- up -------------------------------------------------------------------------------------------------------------


def up(argv: list[str]) -> int:
    parser = _parser("up", "Start a cluster (or resume it, or add what is missing) and wait until it is usable.")
    parser.add_argument("--nodes", type=int, metavar="N", help="nodes (default: 1)")
    parser.add_argument("--etcd", type=int, metavar="N", help="members of the store: 1, 3, 5 or 7 (default: 1)")
    parser.add_argument("--apiservers", type=int, metavar="N", help="API servers (default: 1)")
    parser.add_argument("--runtime", choices=("native", "docker"), help="what runs containers (default: native)")
    parser.add_argument("--api-port", type=int, metavar="PORT", help="port of the API server (default: 6443 if free)")
    parser.add_argument(
        "-f", "--filename", action="append", default=[], metavar="MANIFEST", help="apply this afterwards"
    )
    parser.add_argument("--merge-kubeconfig", action="store_true", help="also add the cluster to your own kubeconfig")
    parser.add_argument(
        "--timeout", type=_seconds, default=120.0, metavar="DURATION", help="longest wait (default: 2m)"
    )
    parser.add_argument("--no-wait", dest="wait", action="store_false", help="do not wait for what -f applies")
    options = parser.parse_args(argv)
    for manifest in options.filename:
        if manifest != "-" and "://" not in manifest and not os.path.exists(manifest):
            parser.error(f"-f {manifest}: there is no such file")
    # A terminated `up` tidies up just like an interrupted one.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _up(options)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _up(options: argparse.Namespace) -> int:
    from cluster.up import Wish, up

    progress = Progress()
    deadline = time.monotonic() + options.timeout
    wish = Wish(
        options.name,
        options.nodes,
        options.etcd,
        options.apiservers,
        options.runtime,
        options.api_port,
        options.timeout,
    )
    result = up(wish, progress)
    code = 0
    if options.filename:
        code = _apply(options, result, progress, deadline)
    if options.merge_kubeconfig:
        _merge(result, progress)
    _print_next_steps(result, merged=options.merge_kubeconfig)
    return code


def _apply(options: argparse.Namespace, result: "Result", progress: Progress, deadline: float) -> int:
    from cli import applied, apply

    files = [part for name in options.filename for part in ("-f", name)]
    code = apply.main([*files, "--kubeconfig", str(result.home.kubeconfig)])
    if code == 0 and options.wait:
        return applied.wait_and_show(options.filename, result, progress, max(1.0, deadline - time.monotonic()))
    return code


def _merge(result: "Result", progress: Progress) -> None:
    import orjson

    from cluster import kubeconfig

    target = kubeconfig.user_file()
    kubeconfig.merge(target, orjson.loads(result.home.kubeconfig.read_bytes()))
    progress.done(f"merged into {target}; its current context is now mk8s-{result.home.name}")


def _me() -> str:
    """How the user called us: what we tell them to type next must work where they are."""
    return os.environ.get("MK8S_COMMAND") or "mk8s"


def _print_next_steps(result: "Result", *, merged: bool) -> None:
    name = "" if result.home.name == "default" else f" --name {result.home.name}"
    print()
    print(f"Cluster {result.home.name} is {'up' if result.changed else 'up, as before'}. Next:")
    if not merged:
        print(f"  export KUBECONFIG={result.home.kubeconfig}")
    print(f"  kubectl get nodes          (or: {_me()} get nodes)")
    print(f"  {_me()} status{name}")
    print(f"  {_me()} down{name}")


# -- down -----------------------------------------------------------------------------------------------------------


def down(argv: list[str]) -> int:
    parser = _parser("down", "Stop a cluster and remove everything of it from this machine, except its data.")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--purge", action="store_true", help="remove its data, certificates and logs too")
    group.add_argument("--keep-data", action="store_true", help="keep them (the default): up resumes the cluster")
    options = parser.parse_args(argv)
    # Half a `down` is worse than none: finish what was begun.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    from cluster.down import down as take_down
    from cluster.home import Home

    try:
        home = Home(options.name)
        existed = home.path.exists()
        did = take_down(options.name, Progress(), purge=options.purge)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if not existed:
        print(f"there is no cluster {options.name}: nothing to do")
    elif options.purge:
        print(f"cluster {options.name} is gone, its data too")
    else:
        said = "is down" if did else "was not running"
        name = "" if options.name == "default" else f" --name {options.name}"
        print(f"cluster {options.name} {said}; its data are kept in {home.path}")
        print(f"  {_me()} up{name}             resumes it")
        print(f"  {_me()} down{name} --purge   removes them")
    return 0


# -- status ---------------------------------------------------------------------------------------------------------


def status(argv: list[str]) -> int:
    parser = _parser("status", "Show every process and node of a cluster. Exit code 0 only when all are well.")
    parser.add_argument("-o", "--output", choices=("json",), help="for programs")
    options = parser.parse_args(argv)
    from cluster.status import status as collect

    try:
        found = collect(options.name)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if options.output == "json":
        import orjson

        sys.stdout.write(orjson.dumps(found.as_dict(), option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        _print_status(found)
    return 0 if found.healthy else 1


def _print_status(found: "Status") -> None:
    if found.processes:
        rows: list[list[Any]] = [["PROCESS", "PID", "ADDRESS", "HEALTH", "MEMORY", "RESTARTS", "AGE"]]
        for row in found.processes:
            memory = f"{row.memory / 1e6:.1f} MB" if row.memory else "-"
            address, age = row.address or "-", _age(row.age) if row.pid else "-"
            health = row.health if len(row.health) <= 60 else f"{row.health[:57]}..."
            rows.append([row.name, row.pid or "-", address, health, memory, row.restarts, age])
        total = sum(row.memory for row in found.processes)
        rows.append(["", "", "", "", f"{total / 1e6:.1f} MB", "", ""])
        _print_columns(rows)
    if found.nodes:
        print()
        nodes: list[list[Any]] = [["NODE", "STATUS", "ADDRESS", "PODS"]]
        nodes += [[n.name, "Ready" if n.ready else "NotReady", n.address, n.pod_cidr or "-"] for n in found.nodes]
        _print_columns(nodes)
        print(f"\nexport KUBECONFIG={found.kubeconfig}")
    for problem in found.problems:
        print(f"cluster {found.cluster}: {problem}", file=sys.stderr)


def _print_columns(rows: list[list[Any]]) -> None:
    widths = [max(len(str(row[i])) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("   ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _age(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds)}s"
