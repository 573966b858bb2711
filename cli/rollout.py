"""``mk8s rollout status|history|undo|restart|pause|resume`` of Deployments.

A Deployment's history is its ReplicaSets: each carries its revision in an annotation, and undoing means giving the
Deployment the pod template of an older one, as kubectl does.
"""

import argparse
import asyncio
import copy
import sys
from datetime import UTC, datetime
from typing import Any

from cli import selection
from cli.session import CliError, Session, execute, parser
from kubeclient.rest import JSON_PATCH, STRATEGIC_MERGE_PATCH

Object = dict[str, Any]

REVISION = "deployment.kubernetes.io/revision"
CHANGE_CAUSE = "kubernetes.io/change-cause"
ACTIONS = ("status", "history", "undo", "restart", "pause", "resume")

EXAMPLES = """  mk8s rollout status deployment/web --timeout 60
  mk8s rollout history deployment/web --revision 2
  mk8s rollout undo deployment/web --to-revision 1"""


def main(argv: list[str]) -> int:
    flags = parser("rollout", "Manage the rollout of a Deployment.", examples=EXAMPLES)
    flags.add_argument("action", choices=ACTIONS)
    flags.add_argument("words", nargs="*", metavar="TYPE/NAME")
    selection.add_selector_flags(flags, all_namespaces=False)
    selection.add_file_flags(flags)
    flags.add_argument("--revision", type=int, default=0, help="history: this revision in detail")
    flags.add_argument("--to-revision", type=int, default=0, help="undo: to this revision (0: the one before)")
    flags.add_argument("--timeout", default="0s", help="status: give up after this long, such as 60s (0: never)")
    flags.add_argument(
        "-w",
        "--watch",
        type=lambda v: v != "false",
        default=True,
        metavar="true|false",
        help="status: wait for the end",
    )
    options = flags.parse_intermixed_args(argv)
    return execute(globals()[options.action], options)


async def _deployments(session: Session, options: argparse.Namespace) -> list[selection.Selected]:
    chosen = await selection.select(session, options, options.words)
    for item in chosen:
        if (item.resource.group, item.resource.kind) != ("apps", "Deployment"):
            raise CliError(f"no {options.action} for {item.resource.full_name}: only Deployments roll out here")
    return chosen


def revision_of(replica_set: Object) -> int:
    return int((replica_set["metadata"].get("annotations") or {}).get(REVISION) or 0)


async def replica_sets_of(session: Session, deployment: Object) -> list[Object]:
    """The ReplicaSets that the Deployment controls, oldest revision first."""
    uid = deployment["metadata"]["uid"]
    listed = await session.client.resource("apps/v1", "replicasets").list(deployment["metadata"]["namespace"])
    owned = [
        rs
        for rs in listed["items"]
        if any(o["uid"] == uid and o.get("controller") for o in rs["metadata"].get("ownerReferences") or [])
    ]
    return sorted(owned, key=revision_of)


def progress(deployment: Object, revision: int = 0) -> tuple[str, bool]:
    """kubectl's sentence about a rollout and whether it is over; CliError when it failed."""
    meta, spec, status = deployment["metadata"], deployment["spec"], deployment.get("status") or {}
    name = meta["name"]
    if meta.get("generation", 0) > status.get("observedGeneration", 0):
        return "Waiting for deployment spec update to be observed...", False
    for condition in status.get("conditions") or []:
        if condition["type"] == "Progressing" and condition.get("reason") == "ProgressDeadlineExceeded":
            raise CliError(f'deployment "{name}" exceeded its progress deadline')
    wanted, updated = spec.get("replicas", 1), status.get("updatedReplicas", 0)
    total, available = status.get("replicas", 0), status.get("availableReplicas", 0)
    waiting = f'Waiting for deployment "{name}" rollout to finish: '
    if updated < wanted:
        return f"{waiting}{updated} out of {wanted} new replicas have been updated...", False
    if total > updated:
        return f"{waiting}{total - updated} old replicas are pending termination...", False
    if available < updated:
        return f"{waiting}{available} of {updated} updated replicas are available...", False
    return f'deployment "{name}" successfully rolled out', True


async def status(session: Session, options: argparse.Namespace) -> int:
    from componentbase.flags import duration

    try:
        timeout = duration(options.timeout)
    except ValueError:
        timeout = float(options.timeout) if options.timeout.replace(".", "", 1).isdigit() else -1.0
    if timeout < 0:
        raise CliError(f"--timeout {options.timeout}: want something like 60s")
    for item in await _deployments(session, options):
        try:
            async with asyncio.timeout(timeout or None):
                await _follow(session, item, watch=options.watch)
        except TimeoutError:
            raise CliError("timed out waiting for the condition") from None
    return 0


async def _follow(session: Session, item: selection.Selected, *, watch: bool) -> None:
    assert item.object is not None
    deployment, said = item.object, ""
    client = item.resource.at(session.client)
    while True:
        text, over = progress(deployment)
        if text != said:
            print(text, flush=True)
            said = text
        if over or not watch:
            return
        field = f"metadata.name={item.name}"
        version = deployment["metadata"]["resourceVersion"]
        async for event in client.watch(
            item.namespace, resource_version=version, field_selector=field, bookmarks=False
        ):
            if event.type == "DELETED":
                raise CliError("object has been deleted")
            deployment = event.object
            text, over = progress(deployment)
            if text != said:
                print(text, flush=True)
                said = text
            if over:
                return


async def history(session: Session, options: argparse.Namespace) -> int:
    from cli.describers import pod_template
    from cli.printing import columns
    from cli.prose import Prose

    for item in await _deployments(session, options):
        assert item.object is not None
        sets = {revision_of(rs): rs for rs in await replica_sets_of(session, item.object)}
        if options.revision:
            if options.revision not in sets:
                raise CliError(f"unable to find the specified revision {options.revision}")
            prose = Prose()
            pod_template(prose, sets[options.revision]["spec"]["template"])
            print(f"{item.label} with revision #{options.revision}")
            print(prose.text(), end="")
            continue
        print(item.label)
        rows = []
        for number, rs in sorted(sets.items()):
            cause = (rs["metadata"].get("annotations") or {}).get(CHANGE_CAUSE) or "<none>"
            rows.append([str(number), cause])
        columns(rows, header=["REVISION", "CHANGE-CAUSE"])
        print()
    return 0


async def undo(session: Session, options: argparse.Namespace) -> int:
    for item in await _deployments(session, options):
        deployment = item.object
        assert deployment is not None
        if deployment["spec"].get("paused"):
            raise CliError(
                "you cannot rollback a paused deployment; resume it first with 'mk8s rollout resume' and try again"
            )
        sets = await replica_sets_of(session, deployment)
        target = _target(sets, options.to_revision)
        template = copy.deepcopy(target["spec"]["template"])
        (template["metadata"].get("labels") or {}).pop("pod-template-hash", None)
        if template == deployment["spec"]["template"]:
            print(f"{item.label} skipped rollback (current template already matches revision {revision_of(target)})")
            continue
        copied = {
            k: v
            for k, v in (target["metadata"].get("annotations") or {}).items()
            if k not in ("kubectl.kubernetes.io/last-applied-configuration", REVISION)
            and not k.startswith("deployment.kubernetes.io/")
        }
        patch = [{"op": "replace", "path": "/spec/template", "value": template}]
        annotations = {**(deployment["metadata"].get("annotations") or {}), **copied}
        patch.append({"op": "add", "path": "/metadata/annotations", "value": annotations})
        await item.resource.at(session.client).patch(item.name, patch, item.namespace, content_type=JSON_PATCH)
        print(f"{item.label} rolled back")
    return 0


def _target(sets: list[Object], wanted: int) -> Object:
    if wanted:
        for rs in sets:
            if revision_of(rs) == wanted:
                return rs
        raise CliError(f"unable to find specified revision {wanted} in history")
    if len(sets) < 2:
        raise CliError("no rollout history found for the deployment")
    return sets[-2]


async def restart(session: Session, options: argparse.Namespace) -> int:
    stamp = datetime.now(UTC).astimezone().isoformat(timespec="seconds")
    patch = {"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": stamp}}}}}
    return await _patch_all(session, options, patch, "restarted")


async def pause(session: Session, options: argparse.Namespace) -> int:
    return await _patch_all(session, options, {"spec": {"paused": True}}, "paused")


async def resume(session: Session, options: argparse.Namespace) -> int:
    return await _patch_all(session, options, {"spec": {"paused": None}}, "resumed")


async def _patch_all(session: Session, options: argparse.Namespace, patch: Object, done: str) -> int:
    code = 0
    for item in await _deployments(session, options):
        assert item.object is not None
        paused = bool(item.object["spec"].get("paused"))
        if (done == "paused" and paused) or (done == "resumed" and not paused):
            print(f"error: {item.label}: is {'already paused' if paused else 'not paused'}", file=sys.stderr)
            code = 1
            continue
        await item.resource.at(session.client).patch(
            item.name, patch, item.namespace, content_type=STRATEGIC_MERGE_PATCH, field_manager="mk8s-rollout"
        )
        print(f"{item.label} {done}")
    return code


__all__ = [
    "history",
    "main",
    "pause",
    "progress",
    "replica_sets_of",
    "restart",
    "resume",
    "revision_of",
    "status",
    "undo",
]
