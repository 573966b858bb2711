"""``mk8s apply``: make the cluster hold what the files say, by client-side three-way merge or on the server."""

import argparse
import asyncio
import copy
import sys
from typing import Any

from cli import printing, selection
from cli.session import CliError, Session, execute, parser
from kubeclient.rest import APPLY_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH, ApiError

Object = dict[str, Any]

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
#: Somebody else may write between our read and our patch; kubectl tries as often.
_ATTEMPTS = 5

EXAMPLES = """  mk8s apply -f web.yaml
  cat web.yaml | mk8s apply -f -
  mk8s apply -f manifests/ -R --server-side"""


def main(argv: list[str]) -> int:
    flags = parser("apply", "Apply a configuration to resources by file name or standard input.", examples=EXAMPLES)
    selection.add_file_flags(flags)
    flags.add_argument("--server-side", action="store_true", help="merge on the server, with field ownership")
    flags.add_argument("--force-conflicts", action="store_true", help="server-side: take over fields that others own")
    flags.add_argument("--field-manager", default="", help="name of the owner of the fields")
    flags.add_argument(
        "--dry-run", choices=("none", "client", "server"), default="none", help="only say what would happen"
    )
    flags.add_argument(
        "--validate", choices=("strict", "warn", "ignore", "true", "false"), default="strict", help="unknown fields"
    )
    flags.add_argument("-o", "--output", default="", help=f"one of {printing.FORMATS}")
    return execute(apply, flags.parse_args(argv))


def validation(value: str) -> str:
    """kubectl's ``--validate`` as the server's ``fieldValidation``."""
    return {"true": "Strict", "false": "Ignore"}.get(value, value.capitalize())


async def apply(session: Session, options: argparse.Namespace) -> int:
    if not options.filename:
        raise CliError("must specify -f")
    manifests = list(selection.read_manifests(options.filename, options.recursive))
    if not manifests:
        raise CliError("no objects passed to apply")
    code = 0
    results: list[tuple[selection.Selected, Object, str]] = []
    for manifest in manifests:
        try:
            item = await selection.from_manifest(session, manifest)
            if not item.name:
                raise CliError(
                    f"{item.resource.full_name}: metadata.name is missing (apply needs a name; use create with generateName)"
                )
            if options.server_side:
                obj, done = await _server_side(session, item, options)
            else:
                obj, done = await apply_object(session, item, options)
        except (ApiError, CliError) as error:
            # One bad object does not keep the others from being applied, as with kubectl.
            _complain(error, options.filename)
            code = 1
            continue
        results.append((item, obj, done))
        if not options.output:
            print(f"{item.label} {done}{_suffix(options)}", flush=True)
    if options.output and results:
        objects = [obj for _, obj, _ in results]
        printing.print_objects(objects, options.output, names=[i.label for i, _, _ in results], as_list=False)
    return code


def _complain(error: ApiError | CliError, files: list[str]) -> None:
    if isinstance(error, ApiError):
        where = "STDIN" if files == ["-"] else ", ".join(files)
        print(
            f'error: Error from server ({error.reason}): error when applying "{where}": {error.message}',
            file=sys.stderr,
        )
    else:
        print(f"error: {error}", file=sys.stderr)


def _suffix(options: argparse.Namespace) -> str:
    return {"client": " (dry run)", "server": " (server dry run)"}.get(options.dry_run, "")


def _params(options: argparse.Namespace, manager: str) -> dict[str, str]:
    return {
        "fieldManager": options.field_manager or manager,
        "fieldValidation": validation(options.validate),
        "dryRun": "All" if options.dry_run == "server" else "",
    }


def with_last_applied(manifest: Object) -> Object:
    """A copy that carries its own text in the annotation, as ``kubectl apply`` leaves it."""
    import orjson

    modified = copy.deepcopy(manifest)
    annotations = modified.setdefault("metadata", {}).setdefault("annotations", {}) or {}
    annotations.pop(LAST_APPLIED, None)
    modified["metadata"]["annotations"] = annotations
    annotations[LAST_APPLIED] = orjson.dumps(modified, option=orjson.OPT_SORT_KEYS).decode() + "\n"
    return modified


def last_applied(live: Object) -> Object:
    import orjson

    text = (live["metadata"].get("annotations") or {}).get(LAST_APPLIED)
    if not text:
        return {}
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise CliError(f"the annotation {LAST_APPLIED} of {live['metadata']['name']} is not JSON") from None


async def apply_object(session: Session, item: selection.Selected, options: argparse.Namespace) -> tuple[Object, str]:
    """Create or patch one object; ``(object as it is now, created|configured|unchanged)``."""
    assert item.object is not None
    modified = with_last_applied(item.object)
    client = item.resource.at(session.client)
    params = _params(options, "mk8s-client-side-apply")
    for attempt in range(_ATTEMPTS):
        try:
            live = await client.get(item.name, item.namespace)
        except ApiError as error:
            if not error.not_found:
                raise
            if options.dry_run == "client":
                return modified, "created"
            path = client.path(item.namespace)
            return await session.client.json("POST", path, body=modified, params=params), "created"
        patch, content_type = _patch(item, modified, live)
        if not patch:
            return live, "unchanged"
        if options.dry_run == "client":
            return modified, "configured"
        try:
            path = client.path(item.namespace, item.name)
            applied = await session.client.json("PATCH", path, body=patch, content_type=content_type, params=params)
        except ApiError as error:
            if not error.conflict or attempt == _ATTEMPTS - 1:
                raise
            await asyncio.sleep(0.1)
            continue
        return applied, "configured"
    raise AssertionError("unreachable: the last attempt returns or raises")


def _patch(item: selection.Selected, modified: Object, live: Object) -> tuple[Object, str]:
    from apimachinery.patch import json_merge, strategic_diff
    from apimachinery.schema.definitions import schema_of_kind

    resource = item.resource
    schema = schema_of_kind(resource.group, resource.version, resource.kind)
    if schema is None:
        return json_merge.three_way(last_applied(live), modified, live), MERGE_PATCH
    return strategic_diff.three_way(last_applied(live), modified, live, schema), STRATEGIC_MERGE_PATCH


async def _server_side(session: Session, item: selection.Selected, options: argparse.Namespace) -> tuple[Object, str]:
    if options.dry_run == "client":
        raise CliError("--dry-run=client doesn't work with --server-side (did you mean --dry-run=server instead?)")
    client = item.resource.at(session.client)
    params = {**_params(options, "mk8s"), "force": "true" if options.force_conflicts else "false"}
    path = client.path(item.namespace, item.name)
    applied = await session.client.json("PATCH", path, body=item.object, content_type=APPLY_PATCH, params=params)
    return applied, "serverside-applied"
