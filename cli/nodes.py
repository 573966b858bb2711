"""``mk8s cordon``, ``uncordon`` and ``drain``: take a node out of service and back."""

import argparse
import asyncio
import sys
from typing import Any

from cli import selection
from cli.delete import until_gone
from cli.session import CliError, Session, execute, parser
from kubeclient.rest import STRATEGIC_MERGE_PATCH, ApiError

Object = dict[str, Any]


def cordon_main(argv: list[str]) -> int:
    return _main("cordon", "Mark a node as unschedulable.", argv)


def uncordon_main(argv: list[str]) -> int:
    return _main("uncordon", "Mark a node as schedulable.", argv)


def _main(verb: str, description: str, argv: list[str]) -> int:
    flags = parser(verb, description, examples=f"  mk8s {verb} node-1")
    flags.add_argument("names", nargs="*", metavar="NODE")
    flags.add_argument("-l", "--selector", default="", help="the nodes that match")
    options = flags.parse_intermixed_args(argv)
    options.unschedulable = verb == "cordon"
    return execute(set_schedulable, options)


async def _nodes(session: Session, options: argparse.Namespace) -> list[Object]:
    client = session.client.resource("v1", "nodes")
    if options.selector:
        if options.names:
            raise CliError("error: cannot specify both a node name and a --selector option")
        return (await client.list(label_selector=options.selector))["items"]
    if not options.names:
        raise CliError("you must name a node, or give a --selector")
    return [await client.get(name.removeprefix("node/")) for name in options.names]


async def set_schedulable(session: Session, options: argparse.Namespace) -> int:
    for node in await _nodes(session, options):
        await _cordon(session, node, options.unschedulable)
    return 0


async def _cordon(session: Session, node: Object, unschedulable: bool) -> None:
    name, verb = node["metadata"]["name"], "cordoned" if unschedulable else "uncordoned"
    if bool(node["spec"].get("unschedulable")) == unschedulable:
        print(f"node/{name} already {verb}")
        return
    patch = {"spec": {"unschedulable": True if unschedulable else None}}
    await session.client.resource("v1", "nodes").patch(
        name, patch, content_type=STRATEGIC_MERGE_PATCH, field_manager="mk8s-drain"
    )
    print(f"node/{name} {verb}")


def drain_main(argv: list[str]) -> int:
    examples = (
        "  mk8s drain node-1 --ignore-daemonsets\n  mk8s drain node-1 --force --delete-emptydir-data --grace-period=10"
    )
    flags = parser(
        "drain", "Drain a node in preparation for maintenance: cordon it and evict its pods.", examples=examples
    )
    flags.add_argument("names", nargs="*", metavar="NODE")
    flags.add_argument("-l", "--selector", default="", help="the nodes that match")
    flags.add_argument("--pod-selector", default="", help="only the pods that match")
    flags.add_argument("--force", action="store_true", help="pods without a controller too; nobody replaces them")
    flags.add_argument("--ignore-daemonsets", action="store_true", help="leave the pods of DaemonSets where they are")
    flags.add_argument(
        "--delete-emptydir-data", action="store_true", help="pods with emptyDir volumes too; their data is lost"
    )
    flags.add_argument(
        "--disable-eviction", action="store_true", help="delete instead of evicting: disruption budgets do not count"
    )
    flags.add_argument("--grace-period", type=int, default=-1, help="seconds to end gracefully (-1: as the pod says)")
    flags.add_argument("--timeout", default="0s", help="longest wait, such as 60s (0: none)")
    return execute(drain, flags.parse_intermixed_args(argv))


async def drain(session: Session, options: argparse.Namespace) -> int:
    from componentbase.flags import duration

    try:
        timeout = duration(options.timeout)
    except ValueError as error:
        raise CliError(f"--timeout: {error}") from None
    for node in await _nodes(session, options):
        name = node["metadata"]["name"]
        await _cordon(session, node, True)
        pods = await _pods_to_evict(session, options, name)
        try:
            async with asyncio.timeout(timeout or None):
                await asyncio.gather(*(_evict(session, options, pod) for pod in pods))
        except TimeoutError:
            raise CliError(f"drain of node {name!r} did not complete within {options.timeout}") from None
        print(f"node/{name} drained")
    return 0


async def _pods_to_evict(session: Session, options: argparse.Namespace, node: str) -> list[Object]:
    """The pods to move; CliError names every pod that a flag has to allow first."""
    listed = await session.client.resource("v1", "pods").list(
        field_selector=f"spec.nodeName={node}", label_selector=options.pod_selector
    )
    chosen: list[Object] = []
    refused: dict[str, list[str]] = {}
    warned: dict[str, list[str]] = {}
    for pod in listed["items"]:
        meta = pod["metadata"]
        name = f"{meta['namespace']}/{meta['name']}"
        if (meta.get("annotations") or {}).get("kubernetes.io/config.mirror"):
            continue
        finished = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
        owner = next((o for o in meta.get("ownerReferences") or [] if o.get("controller")), None)
        if owner and owner["kind"] == "DaemonSet" and not finished:
            if not options.ignore_daemonsets:
                refused.setdefault(
                    "cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore)", []
                ).append(name)
            else:
                warned.setdefault("ignoring DaemonSet-managed Pods", []).append(name)
            continue
        if not finished and any("emptyDir" in v for v in pod["spec"].get("volumes") or []):
            if not options.delete_emptydir_data:
                refused.setdefault(
                    "cannot delete Pods with local storage (use --delete-emptydir-data to override)", []
                ).append(name)
                continue
            warned.setdefault("deleting Pods with local storage", []).append(name)
        if not finished and owner is None:
            if not options.force:
                refused.setdefault(
                    "cannot delete Pods that declare no controller (use --force to override)", []
                ).append(name)
                continue
            warned.setdefault("deleting Pods that declare no controller", []).append(name)
        chosen.append(pod)
    if refused:
        texts = [f"{why}: {', '.join(names)}" for why, names in refused.items()]
        raise CliError(f'unable to drain node "{node}": ' + "; ".join(texts))
    for why, names in warned.items():
        print(f"Warning: {why}: {', '.join(names)}", file=sys.stderr)
    return chosen


async def _evict(session: Session, options: argparse.Namespace, pod: Object) -> None:
    meta = pod["metadata"]
    client = session.client.resource("v1", "pods")
    grace = options.grace_period if options.grace_period >= 0 else None
    print(f"evicting pod {meta['namespace']}/{meta['name']}")
    delete_options: Object = {} if grace is None else {"gracePeriodSeconds": grace}
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
        "deleteOptions": delete_options,
    }
    while True:
        try:
            if options.disable_eviction:
                await client.delete(meta["name"], meta["namespace"], grace_period_seconds=grace)
            else:
                await client.create(eviction, meta["namespace"], name=meta["name"], subresource="eviction")
            break
        except ApiError as error:
            if error.not_found:
                return
            if error.code != 429:
                raise
            # A disruption budget does not allow it now; kubectl asks again after the same pause.
            print(f"error when evicting pods/{meta['name']!r} (will retry after 5s): {error.message}", file=sys.stderr)
            await asyncio.sleep(5)
    resource = await session.mapper.resolve("pods")
    await until_gone(session, selection.Selected(resource, meta["name"], meta["namespace"]), meta["uid"])
    print(f"pod/{meta['name']} evicted")
