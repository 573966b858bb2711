"""``mk8s get``: tables as the server draws them, or the objects themselves in any output format."""

import argparse
import sys
from typing import Any

from cli import printing, selection
from cli.mapper import ApiResource
from cli.session import CliError, Session, execute, parser

_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"

EXAMPLES = """  mk8s get pods -o wide
  mk8s get deploy,svc -n shop -l app=web
  mk8s get pod web-0 -o jsonpath='{.status.podIP}'
  mk8s get pods -A --watch"""


def main(argv: list[str]) -> int:
    flags = parser("get", "Display one or many resources.", examples=EXAMPLES)
    flags.add_argument("words", nargs="*", metavar="TYPE[/NAME] [NAME...]")
    selection.add_selector_flags(flags)
    selection.add_file_flags(flags)
    flags.add_argument("-o", "--output", default="", help=f"one of {printing.FORMATS}")
    flags.add_argument("-w", "--watch", action="store_true", help="after listing, print every change")
    flags.add_argument("--watch-only", action="store_true", help="print changes only")
    flags.add_argument(
        "--output-watch-events", action="store_true", help="say ADDED, MODIFIED or DELETED with each change"
    )
    flags.add_argument("--no-headers", action="store_true", help="no header line")
    flags.add_argument("--show-labels", action="store_true", help="labels as the last column")
    flags.add_argument("-L", "--label-columns", action="append", default=[], help="these labels as columns")
    flags.add_argument("--show-kind", action="store_true", help="names as type/name")
    flags.add_argument("--show-managed-fields", action="store_true", help="managedFields too, in YAML and JSON")
    flags.add_argument("--sort-by", default="", help="order by this JSONPath, such as .metadata.creationTimestamp")
    flags.add_argument("--ignore-not-found", action="store_true", help="a missing object is no failure")
    flags.add_argument("--chunk-size", type=int, default=500, help="page size of large lists")
    return execute(get, flags.parse_intermixed_args(argv))


async def get(session: Session, options: argparse.Namespace) -> int:
    if options.filename:
        named = [
            await selection.from_manifest(session, m)
            for m in selection.read_manifests(options.filename, options.recursive)
        ]
        types: list[ApiResource] = []
    else:
        types, named = await selection.parse_names(session, options.words)
    if not types and not named:
        raise CliError(
            "you must specify the type of resource to get, such as 'mk8s get pods' (see 'mk8s api-resources')"
        )
    if named and (options.selector or options.field_selector):
        raise CliError("name cannot be provided when a selector is specified")
    if named and options.all_namespaces:
        raise CliError("a resource cannot be retrieved by name across all namespaces")
    if options.watch or options.watch_only:
        return await _watch(session, options, types, named)
    if options.output in ("", "wide"):
        return await _print_tables(session, options, types, named)
    return await _print_objects(session, options, types, named)


def _params(options: argparse.Namespace, name: str = "") -> dict[str, Any]:
    field = f"metadata.name={name}" if name else options.field_selector
    return {"labelSelector": options.selector, "fieldSelector": field}


async def _list(session: Session, options: argparse.Namespace, resource: ApiResource, accept: str) -> dict[str, Any]:
    """A whole list or table, fetched in pages."""
    namespace = None if options.all_namespaces else resource.in_namespace(session.namespace)
    path = resource.at(session.client).path(namespace)
    params = {**_params(options), "limit": options.chunk_size or ""}
    if options.sort_by and "Table" in accept:
        params["includeObject"] = "Object"
    whole: dict[str, Any] = {}
    while True:
        page = await session.client.json("GET", path, params=params, headers={"accept": accept})
        rows = "rows" if page["kind"] == "Table" else "items"
        if not whole:
            whole = page
        else:
            whole[rows] = (whole.get(rows) or []) + (page.get(rows) or [])
        token = page["metadata"].get("continue")
        if not token:
            return whole
        params["continue"] = token


async def _one(session: Session, item: selection.Selected, accept: str) -> dict[str, Any]:
    path = item.resource.at(session.client).path(item.namespace, item.name)
    return await session.client.json("GET", path, headers={"accept": accept})


async def _tolerant(
    session: Session, options: argparse.Namespace, item: selection.Selected, accept: str
) -> dict[str, Any] | None:
    """The object; None when it is missing, which is said unless ``--ignore-not-found``."""
    from kubeclient.rest import ApiError

    try:
        return await _one(session, item, accept)
    except ApiError as error:
        if not error.not_found:
            raise
        if not options.ignore_not_found:
            print(f"error: Error from server (NotFound): {error.message}", file=sys.stderr)
        return None


def _printer(options: argparse.Namespace, resource: ApiResource, *, several: bool) -> printing.TablePrinter:
    return printing.TablePrinter(
        wide=options.output == "wide",
        namespace=options.all_namespaces and resource.namespaced,
        show_labels=options.show_labels,
        label_columns=[label for labels in options.label_columns for label in labels.split(",")],
        headers=not options.no_headers,
        kind_prefix=resource.full_name if several or options.show_kind else "",
    )


async def _print_tables(
    session: Session, options: argparse.Namespace, types: list[ApiResource], named: list[selection.Selected]
) -> int:
    tables: list[tuple[ApiResource, dict[str, Any]]] = []
    missing = False
    for item in named:
        table = await _tolerant(session, options, item, _TABLE)
        missing = missing or (table is None and not options.ignore_not_found)
        if table is None:
            continue
        if tables and tables[-1][0] == item.resource:
            tables[-1][1]["rows"] += table["rows"]
        else:
            tables.append((item.resource, table))
    for resource in types:
        tables.append((resource, await _list(session, options, resource, _TABLE)))
    several = len({resource for resource, _ in tables}) > 1
    tables = [(resource, table) for resource, table in tables if table.get("rows")]
    for number, (resource, table) in enumerate(tables):
        if number:
            print()
        if options.sort_by:
            _sort(table["rows"], options.sort_by, lambda row: row["object"])
        _printer(options, resource, several=several).print(table)
    if types and not tables and not options.ignore_not_found:
        everywhere = options.all_namespaces or not any(r.namespaced for r in types)
        where = "" if everywhere else f" in {session.namespace} namespace"
        print(f"No resources found{where}" + ("" if everywhere else "."), file=sys.stderr)
    return 1 if missing else 0


def _sort(rows: list[Any], expression: str, pick: Any) -> None:
    from cli.jsonpath import JSONPath, JSONPathError
    from cli.quantities import sort_key

    bare = expression.strip("{}")
    try:
        path = JSONPath(f"{{{bare}}}" if bare.startswith(".") else f"{{.{bare}}}")
        rows.sort(key=lambda row: sort_key(path.values(pick(row), missing_ok=True)))
    except JSONPathError as error:
        raise CliError(f"--sort-by {expression}: {error}") from None


async def _print_objects(
    session: Session, options: argparse.Namespace, types: list[ApiResource], named: list[selection.Selected]
) -> int:
    objects: list[dict[str, Any]] = []
    names: list[str] = []
    missing = False
    for item in named:
        obj = await _tolerant(session, options, item, "application/json")
        if obj is None:
            missing = missing or not options.ignore_not_found
            continue
        objects.append(obj)
        names.append(item.label)
    for resource in types:
        for obj in (await _list(session, options, resource, "application/json"))["items"]:
            objects.append({"apiVersion": resource.api_version, "kind": resource.kind, **obj})
            names.append(f"{resource.full_name}/{obj['metadata']['name']}")
    if named and not objects:
        return 1 if missing else 0
    if options.sort_by:
        _sort(objects, options.sort_by, lambda obj: obj)
        names = [f"{n}" for n in names]
    as_list = bool(types) or len(named) > 1
    printing.print_objects(objects, options.output, names=names, as_list=as_list, managed=options.show_managed_fields)
    return 1 if missing else 0


async def _watch(
    session: Session, options: argparse.Namespace, types: list[ApiResource], named: list[selection.Selected]
) -> int:
    if len(types) + len(named) != 1:
        raise CliError("you may only specify a single resource type or object with --watch")
    resource = types[0] if types else named[0].resource
    namespace = (
        named[0].namespace if named else (None if options.all_namespaces else resource.in_namespace(session.namespace))
    )
    name = named[0].name if named else ""
    path = resource.at(session.client).path(namespace)
    table = options.output in ("", "wide")
    headers = {"accept": _TABLE if table else "application/json"}
    if name:
        await _one(session, named[0], "application/json")  # a missing name is an error, not an endless silence
    params = _params(options, name)
    listed = await session.client.json("GET", path, params=params, headers=headers)
    printer = _printer(options, resource, several=False)
    shown = _EventPrinter(options, printer, resource, listed.get("columnDefinitions") or [])
    if not options.watch_only:
        for piece in _pieces(listed, table):
            shown.show("ADDED", piece)
    params = {**params, "watch": "true", "resourceVersion": listed["metadata"]["resourceVersion"]}
    async for event in session.client.watch(path, params=params, headers=headers):
        for piece in _pieces(event.object, table):
            shown.show(event.type, piece)
    return 0


def _pieces(document: dict[str, Any], table: bool) -> list[dict[str, Any]]:
    if table:
        return [{**document, "rows": document["rows"]}] if document.get("rows") else []
    return document.get("items", [document])


class _EventPrinter:
    """Prints changes as they come; the header and the column definitions come with the first."""

    def __init__(
        self, options: argparse.Namespace, printer: printing.TablePrinter, resource: ApiResource, definitions: list[Any]
    ) -> None:
        self.options, self.printer, self.resource, self.definitions = options, printer, resource, definitions

    def show(self, type_: str, piece: dict[str, Any]) -> None:
        if self.options.output in ("", "wide"):
            self.definitions = piece.get("columnDefinitions") or self.definitions
            table = {**piece, "columnDefinitions": self.definitions}
            if self.options.output_watch_events:
                event = {"name": "Event", "priority": 0}
                table["columnDefinitions"] = [event, *self.definitions]
                table["rows"] = [{**row, "cells": [type_, *row["cells"]]} for row in piece["rows"]]
            self.printer.print(table)
            self.printer.headers = False
            return
        obj = {"apiVersion": self.resource.api_version, "kind": self.resource.kind, **piece}
        if self.options.output_watch_events:
            obj = {"object": obj, "type": type_}
        name = f"{self.resource.full_name}/{piece['metadata']['name']}"
        if self.options.output == "yaml":
            print("---")
        printing.print_objects(
            [obj], self.options.output, names=[name], as_list=False, managed=self.options.show_managed_fields
        )
