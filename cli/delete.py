"""``mk8s delete``: by name, selector or file; waits until the objects are gone, as kubectl does."""

import argparse
import asyncio
import sys
from typing import Any

from cli import selection
from cli.session import CliError, Session, execute, parser
from kubeclient.rest import ApiError

EXAMPLES = """  mk8s delete pod web-0 --now
  mk8s delete deploy,svc -l app=web
  mk8s delete -f web.yaml --cascade=foreground"""


def main(argv: list[str]) -> int:
    flags = parser(
        "delete", "Delete resources by file names, stdin, resources and names, or by selector.", examples=EXAMPLES
    )
    flags.add_argument("words", nargs="*", metavar="TYPE[/NAME] [NAME...]")
    selection.add_selector_flags(flags)
    selection.add_file_flags(flags)
    flags.add_argument("--all", action="store_true", help="every object of the type in the namespace")
    flags.add_argument(
        "--cascade",
        choices=("background", "orphan", "foreground"),
        default="background",
        help="what becomes of dependents",
    )
    flags.add_argument("--grace-period", type=int, default=-1, help="seconds to end gracefully (-1: as the pod says)")
    flags.add_argument("--now", action="store_true", help="the same as --grace-period=1")
    flags.add_argument("--force", action="store_true", help="with --grace-period=0: do not wait for the node's word")
    flags.add_argument(
        "--wait",
        type=lambda v: v != "false",
        nargs="?",
        const=True,
        default=True,
        metavar="true|false",
        help="until gone",
    )
    flags.add_argument("--timeout", default="0s", help="longest wait, such as 30s (0: a week)")
    flags.add_argument("--ignore-not-found", action="store_true", help="what is gone already is no failure")
    flags.add_argument(
        "--dry-run", choices=("none", "client", "server"), default="none", help="only say what would be deleted"
    )
    flags.add_argument("-o", "--output", choices=("", "name"), default="", help="print type/name only")
    return execute(delete, flags.parse_intermixed_args(argv))


async def delete(session: Session, options: argparse.Namespace) -> int:
    from componentbase.flags import duration

    grace = _grace_period(options)
    try:
        timeout = duration(options.timeout)
    except ValueError as error:
        raise CliError(f"--timeout: {error}") from None
    chosen = await selection.select(session, options, options.words, fetch=False)
    if not chosen and not (options.filename or options.ignore_not_found):
        print("No resources found")
    if options.force and grace == 0:
        print(
            "Warning: Immediate deletion does not wait for confirmation that the running resource has been terminated. "
            "The resource may continue to run on the cluster indefinitely.",
            file=sys.stderr,
        )
    waiting: list[tuple[selection.Selected, str]] = []
    code = 0
    for item in chosen:
        try:
            uid = await _delete_one(session, options, item, grace)
        except ApiError as error:
            if error.not_found and options.ignore_not_found:
                continue
            print(f"error: Error from server ({error.reason}): {error.message}", file=sys.stderr)
            code = 1
            continue
        if uid and options.dry_run == "none":
            waiting.append((item, uid))
    if options.wait and waiting and not (options.force and grace == 0):
        try:
            async with asyncio.timeout(timeout or 7 * 24 * 3600):
                await asyncio.gather(*(until_gone(session, item, uid) for item, uid in waiting))
        except TimeoutError:
            raise CliError("timed out waiting for the condition") from None
    return code


def _grace_period(options: argparse.Namespace) -> int | None:
    if options.now:
        if options.grace_period != -1:
            raise CliError("--now and --grace-period cannot be specified together")
        return 1
    if options.grace_period == 0 and not options.force:
        return 1  # kubectl's reading: 0 without --force still lets the process end
    if options.force and options.grace_period < 0:
        return 0
    if options.force and options.grace_period > 0:
        raise CliError("--force and --grace-period greater than 0 cannot be specified together")
    return None if options.grace_period < 0 else options.grace_period


async def _delete_one(
    session: Session, options: argparse.Namespace, item: selection.Selected, grace: int | None
) -> str:
    """Ask for the deletion; the uid to wait for, empty when unknown."""
    if options.dry_run == "client":
        _say(options, item, grace)
        return ""
    body: dict[str, Any] = {
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "propagationPolicy": options.cascade.capitalize(),
    }
    if grace is not None:
        body["gracePeriodSeconds"] = grace
    params = {"dryRun": "All"} if options.dry_run == "server" else None
    path = item.resource.at(session.client).path(item.namespace, item.name)
    answer = await session.client.json("DELETE", path, body=body, params=params)
    _say(options, item, grace)
    if answer.get("kind") == "Status":
        return (answer.get("details") or {}).get("uid") or ""
    return answer["metadata"]["uid"]


def _say(options: argparse.Namespace, item: selection.Selected, grace: int | None) -> None:
    if options.output == "name":
        print(item.label, flush=True)
        return
    kind = f"{item.resource.singular}.{item.resource.group}" if item.resource.group else item.resource.singular
    forced = "force " if options.force and grace == 0 else ""
    dry = {"client": " (dry run)", "server": " (server dry run)"}.get(options.dry_run, "")
    print(f'{kind} "{item.name}" {forced}deleted{dry}', flush=True)


async def until_gone(session: Session, item: selection.Selected, uid: str) -> None:
    """Returns when the object with this uid exists no more (another of the same name does not count)."""
    client = item.resource.at(session.client)
    field = f"metadata.name={item.name}"
    while True:
        listed = await client.list(item.namespace, field_selector=field)
        if not any(found["metadata"]["uid"] == uid for found in listed["items"]):
            return
        version = listed["metadata"]["resourceVersion"]
        async for event in client.watch(
            item.namespace, resource_version=version, field_selector=field, bookmarks=False
        ):
            if event.type == "DELETED" and event.object["metadata"]["uid"] == uid:
                return
