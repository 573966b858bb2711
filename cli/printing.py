"""How objects appear: kubectl's tables, YAML, JSON, names, JSONPath and custom columns."""

import sys
from collections.abc import Iterable
from typing import Any

from cli.jsonpath import JSONPath, JSONPathError
from cli.session import CliError, pretty_json

Object = dict[str, Any]

_STRING = "tag:yaml.org,2002:str"
FORMATS = "json, yaml, name, wide, jsonpath=..., jsonpath-file=..., custom-columns=..., custom-columns-file=..."


def dump_yaml(value: Any) -> str:
    """Keys sorted, multi-line strings as blocks: what kubectl prints."""
    import yaml

    class Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
        pass

    def text(dumper: Any, data: str) -> Any:
        # Go's YAML writes text that would read as a date, number or boolean in double quotes.
        ambiguous = dumper.resolve(yaml.ScalarNode, data, (True, False)) != _STRING
        style = "|" if "\n" in data else '"' if ambiguous else None
        return dumper.represent_scalar(_STRING, data, style=style)

    Dumper.add_representer(str, text)
    return yaml.dump(value, Dumper=Dumper, default_flow_style=False, sort_keys=True, allow_unicode=True, width=10**9)


def without_managed_fields(obj: Object) -> Object:
    """kubectl hides them unless asked: ``--show-managed-fields``."""
    meta = obj.get("metadata") or {}
    if "managedFields" not in meta:
        return obj
    return {**obj, "metadata": {k: v for k, v in meta.items() if k != "managedFields"}}


def columns(rows: list[list[str]], *, header: list[str] | None = None, out: Any = None) -> None:
    """Left-aligned columns three spaces apart; an empty last cell leaves its blanks, as kubectl does."""
    out = out or sys.stdout
    table = ([header] if header else []) + rows
    if not table:
        return
    widths = [max(len(row[i]) for row in table if i < len(row)) for i in range(max(map(len, table)))]
    for row in table:
        cells = [cell.ljust(widths[i]) for i, cell in enumerate(row[:-1])] + row[-1:]
        out.write("   ".join(cells) + "\n")


def cell(value: Any) -> str:
    if value is None:
        return "<none>"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


class TablePrinter:
    """Prints server-side Tables, header once, with the columns of ``-o wide``, ``-A``, ``-L`` and ``--show-labels``."""

    def __init__(
        self,
        *,
        wide: bool = False,
        namespace: bool = False,
        show_labels: bool = False,
        label_columns: Iterable[str] = (),
        headers: bool = True,
        kind_prefix: str = "",
    ) -> None:
        self.wide, self.namespace, self.show_labels = wide, namespace, show_labels
        self.label_columns, self.headers, self.kind_prefix = list(label_columns), headers, kind_prefix

    def _header(self, definitions: list[Object], shown: list[int]) -> list[str]:
        names = [definitions[i]["name"].upper() for i in shown]
        if self.namespace:
            names.insert(0, "NAMESPACE")
        names += [label.rsplit("/", 1)[-1].upper() for label in self.label_columns]
        return names + (["LABELS"] if self.show_labels else [])

    def _row(self, row: Object, shown: list[int]) -> list[str]:
        meta = (row.get("object") or {}).get("metadata") or {}
        labels = meta.get("labels") or {}
        cells = [cell(row["cells"][i]) for i in shown]
        if self.kind_prefix:
            cells[0] = f"{self.kind_prefix}/{cells[0]}"
        if self.namespace:
            cells.insert(0, meta.get("namespace") or "")
        cells += [labels.get(label, "") for label in self.label_columns]
        if self.show_labels:
            cells.append(",".join(f"{k}={v}" for k, v in sorted(labels.items())) or "<none>")
        return cells

    def print(self, table: Object) -> None:
        definitions = table["columnDefinitions"]
        shown = [i for i, d in enumerate(definitions) if self.wide or not d.get("priority")]
        rows = [self._row(row, shown) for row in table.get("rows") or []]
        columns(rows, header=self._header(definitions, shown) if self.headers else None)
        sys.stdout.flush()


def print_objects(
    objects: list[Object], output: str, *, names: list[str], as_list: bool, managed: bool = False
) -> None:
    """``names``: ``type/name`` of each object, for ``-o name``. ``as_list``: a List even of one."""
    kind, _, argument = output.partition("=")
    if not managed:
        objects = [without_managed_fields(o) for o in objects]
    if kind == "name":
        for name in names:
            print(name)
        return
    whole: Any = {"apiVersion": "v1", "items": objects, "kind": "List", "metadata": {"resourceVersion": ""}}
    value = whole if as_list or len(objects) != 1 else objects[0]
    if kind == "json":
        print(pretty_json(value))
    elif kind == "yaml":
        sys.stdout.write(dump_yaml(value))
    elif kind in ("jsonpath", "jsonpath-file", "jsonpath-as-json"):
        template = _read(argument) if kind == "jsonpath-file" else argument
        if not template:
            raise CliError(f"template format specified but no template given (want {kind}=TEMPLATE)")
        try:
            if kind == "jsonpath-as-json":
                print(pretty_json(JSONPath(template).values(value)))
            else:
                sys.stdout.write(JSONPath(template).render(value))
        except JSONPathError as error:
            raise CliError(f"error executing jsonpath {template!r}: {error}") from None
    elif kind in ("custom-columns", "custom-columns-file"):
        _custom_columns(_read(argument) if kind == "custom-columns-file" else argument, objects)
    else:
        raise CliError(
            f'unable to match a printer suitable for the output format "{output}", allowed formats are: {FORMATS}'
        )
    sys.stdout.flush()


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError as error:
        raise CliError(f"{path}: {error.strerror}") from None


def _custom_columns(spec: str, objects: list[Object]) -> None:
    if not spec:
        raise CliError("custom-columns format specified but no custom columns given")
    header, paths = [], []
    for part in spec.split(","):
        name, colon, path = part.partition(":")
        if not colon:
            raise CliError(f"unexpected custom-columns spec: {part}, expected <header>:<json-path-expr>")
        header.append(name)
        try:
            bare = path.strip("{}")
            paths.append(JSONPath(f"{{{bare}}}" if bare.startswith(".") else f"{{.{bare}}}"))
        except JSONPathError as error:
            raise CliError(f"column {name}: {error}") from None
    rows = []
    for obj in objects:
        found = [path.values(obj, missing_ok=True) for path in paths]
        rows.append([",".join(cell(v) for v in values) if values else "<none>" for values in found])
    columns(rows, header=header)
