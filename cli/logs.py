"""``mk8s logs``: what the containers of a pod (or of the first pod of a Deployment, or of a selector's pods) print."""

import argparse
import asyncio
import sys
from typing import Any

from cli.session import CliError, Session, execute, parser

EXAMPLES = """  mk8s logs web-0
  mk8s logs -f deployment/web
  mk8s logs -l app=web --prefix --tail=20
  mk8s logs web-0 -c init --previous"""


def main(argv: list[str]) -> int:
    flags = parser("logs", "Print the logs of a container in a pod.", examples=EXAMPLES)
    flags.add_argument("words", nargs="*", metavar="POD|TYPE/NAME [CONTAINER]")
    flags.add_argument("-l", "--selector", default="", help="the pods that match")
    flags.add_argument("-c", "--container", default="", help="this container")
    flags.add_argument("--all-containers", action="store_true", help="every container of the pod")
    flags.add_argument("-f", "--follow", action="store_true", help="go on as more is printed")
    flags.add_argument("-p", "--previous", action="store_true", help="of the instance before the last restart")
    flags.add_argument("--tail", type=int, default=-1, help="only the last lines (-1: all; 10 with a selector)")
    flags.add_argument("--since", default="", help="only newer than a duration such as 5m")
    flags.add_argument("--since-time", default="", help="only after this RFC 3339 time")
    flags.add_argument("--timestamps", action="store_true", help="each line with its time")
    flags.add_argument("--limit-bytes", type=int, default=0, help="at most so many bytes")
    flags.add_argument("--prefix", action="store_true", help="each line with its pod and container")
    flags.add_argument("--ignore-errors", action="store_true", help="with -f: go on when one of several fails")
    return execute(logs, flags.parse_intermixed_args(argv))


async def logs(session: Session, options: argparse.Namespace) -> int:
    pods = await _pods(session, options)
    if options.selector and options.tail == -1:
        options.tail = 10
    sources = [(pod, name) for pod in pods for name in _containers(pod, options)]
    if options.follow and len(sources) > 1:
        await asyncio.gather(*(_print(session, options, pod, name) for pod, name in sources))
        return 0
    for pod, name in sources:
        await _print(session, options, pod, name)
    return 0


async def _pods(session: Session, options: argparse.Namespace) -> list[dict[str, Any]]:
    client = session.client.resource("v1", "pods")
    if options.selector:
        if options.words:
            raise CliError("only a selector (-l) or a POD name is allowed")
        return (await client.list(session.namespace, label_selector=options.selector))["items"]
    if not options.words:
        raise CliError(
            "expected 'logs [-f] (POD | TYPE/NAME) [-c CONTAINER]': POD or TYPE/NAME is a required argument for the logs command"
        )
    if len(options.words) > 1 and "/" not in options.words[0]:
        if len(options.words) > 2 or options.container:
            raise CliError("expected one POD and at most one CONTAINER")
        options.container = options.words[1]
    return [await pod_of(session, options.words[0])]


async def pod_of(session: Session, word: str) -> dict[str, Any]:
    """The pod that ``NAME``, ``pod/NAME`` or ``deployment/NAME`` stands for: of several the oldest ready one."""
    client = session.client.resource("v1", "pods")
    kind, slash, name = word.partition("/")
    if not slash:
        return await client.get(kind, session.namespace)
    resource = await session.mapper.resolve(kind)
    if resource.kind == "Pod":
        return await client.get(name, session.namespace)
    owner = await resource.at(session.client).get(name, resource.in_namespace(session.namespace))
    selector = owner["spec"].get("selector") or {}
    labels = selector.get("matchLabels", selector if resource.kind == "Service" else {})
    query = ",".join(f"{k}={v}" for k, v in labels.items())
    found = (await client.list(session.namespace, label_selector=query))["items"] if query else []
    if not found:
        raise CliError(f"no pods found for {resource.full_name}/{name}")

    def rank(pod: dict[str, Any]) -> tuple[bool, str]:
        conditions = (pod.get("status") or {}).get("conditions") or []
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
        return (not ready, pod["metadata"]["creationTimestamp"])

    chosen = min(found, key=rank)
    if len(found) > 1:
        print(f"Found {len(found)} pods, using pod/{chosen['metadata']['name']}", file=sys.stderr)
    return chosen


def _containers(pod: dict[str, Any], options: argparse.Namespace) -> list[str]:
    spec = pod["spec"]
    regular = [c["name"] for c in spec["containers"]]
    everything = [c["name"] for c in spec.get("initContainers") or []] + regular
    if options.all_containers:
        return everything
    if options.container:
        if options.container not in everything:
            raise CliError(
                f"container {options.container} is not valid for pod {pod['metadata']['name']} (it has {', '.join(everything)})"
            )
        return [options.container]
    default = (pod["metadata"].get("annotations") or {}).get("kubectl.kubernetes.io/default-container")
    if default and default in regular:
        return [default]
    if len(regular) > 1:
        print(f'Defaulted container "{regular[0]}" out of: {", ".join(everything)}', file=sys.stderr)
    return regular[:1]


async def _print(session: Session, options: argparse.Namespace, pod: dict[str, Any], container: str) -> None:
    from componentbase.flags import duration

    meta = pod["metadata"]
    path = session.client.resource("v1", "pods").path(meta["namespace"], meta["name"], "log")
    try:
        since = max(1, round(duration(options.since))) if options.since else ""
    except ValueError as error:
        raise CliError(f"--since: {error}") from None
    params = {
        "container": container,
        "follow": "true" if options.follow else "",
        "previous": "true" if options.previous else "",
        "timestamps": "true" if options.timestamps else "",
        "tailLines": options.tail if options.tail >= 0 else "",
        "sinceSeconds": since,
        "sinceTime": options.since_time,
        "limitBytes": options.limit_bytes or "",
    }
    prefix = f"[pod/{meta['name']}/{container}] ".encode() if options.prefix else b""
    out, tail = sys.stdout.buffer, b""
    async for chunk in session.client.stream(path, params=params):
        if prefix:
            *lines, tail = (tail + chunk).split(b"\n")
            chunk = b"".join(prefix + line + b"\n" for line in lines)
        out.write(chunk)
        out.flush()
    if tail:
        out.write(prefix + tail)
        out.flush()
