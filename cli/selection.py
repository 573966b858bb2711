"""Which objects a command is about: ``TYPE NAME``, ``TYPE/NAME``, ``TYPE1,TYPE2 -l ...``, files, standard input."""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.mapper import ApiResource
from cli.session import CliError, Parser, Session

Object = dict[str, Any]


@dataclass
class Selected:
    """An object that was named or found. ``namespace`` is None for cluster-scoped kinds."""

    resource: ApiResource
    name: str
    namespace: str | None
    object: Object | None = None

    @property
    def label(self) -> str:
        """``deployment.apps/web``, how results are reported."""
        return f"{self.resource.full_name}/{self.name}"


def add_selector_flags(parser: Parser, *, all_namespaces: bool = True) -> None:
    parser.add_argument("-l", "--selector", default="", help="label query, such as app=web,tier!=db")
    parser.add_argument("--field-selector", default="", help="field query, such as status.phase=Running")
    if all_namespaces:
        parser.add_argument("-A", "--all-namespaces", action="store_true", help="in every namespace")


def add_file_flags(parser: Parser) -> None:
    parser.add_argument(
        "-f", "--filename", action="append", default=[], help="file, directory, URL or - for standard input"
    )
    parser.add_argument("-R", "--recursive", action="store_true", help="directories with everything below them")


async def parse_names(session: Session, words: list[str]) -> tuple[list[ApiResource], list[Selected]]:
    """``(types asked for as a whole, objects asked for by name)`` of a command's positional arguments."""
    if not words:
        return [], []
    if any("/" in word for word in words):
        if not all("/" in word for word in words):
            raise CliError(
                "there is no need to specify a resource type as a separate argument when passing arguments in resource/name form"
            )
        chosen = []
        for word in words:
            kind, _, name = word.partition("/")
            if not name or "/" in name:
                raise CliError("arguments in resource/name form must have a single resource and name")
            resource = await session.mapper.resolve(kind)
            chosen.append(Selected(resource, name, resource.in_namespace(session.namespace)))
        return [], chosen
    types: list[ApiResource] = []
    for kind in words[0].split(","):
        types += await session.mapper.category(kind) or [await session.mapper.resolve(kind)]
    if len(words) == 1:
        return types, []
    return [], [Selected(r, name, r.in_namespace(session.namespace)) for r in types for name in words[1:]]


async def select(
    session: Session, options: argparse.Namespace, words: list[str], *, fetch: bool = True
) -> list[Selected]:
    """Everything that the arguments, ``-f`` and ``-l``/``--all`` name. Raises ApiError when a named one is missing."""
    files = getattr(options, "filename", [])
    if files:
        if words:
            raise CliError(
                "when paths, URLs, or stdin is provided as resource input, you may not specify resource arguments as well"
            )
        found = [await from_manifest(session, m) for m in read_manifests(files, options.recursive)]
        if fetch:
            for item in found:
                item.object = await item.resource.at(session.client).get(item.name, item.namespace)
        return found
    types, named = await parse_names(session, words)
    if named:
        if fetch:
            for item in named:
                item.object = await item.resource.at(session.client).get(item.name, item.namespace)
        return named
    if not types:
        raise CliError("you must specify one or more resources, by file or as TYPE[/NAME]")
    wants_all = getattr(options, "all", False) or getattr(options, "all_namespaces", False)
    if not (options.selector or options.field_selector or wants_all):
        raise CliError("resource(s) were provided, but no name was specified")
    everywhere = getattr(options, "all_namespaces", False)
    chosen = []
    for resource in types:
        namespace = None if everywhere else resource.in_namespace(session.namespace)
        listed = await resource.at(session.client).list(
            namespace, label_selector=options.selector, field_selector=options.field_selector
        )
        for item in listed["items"]:
            item.setdefault("apiVersion", resource.api_version)
            item.setdefault("kind", resource.kind)
            chosen.append(Selected(resource, item["metadata"]["name"], item["metadata"].get("namespace"), item))
    return chosen


async def from_manifest(session: Session, manifest: Object) -> Selected:
    """The resource a manifest is about; its namespace, or the session's when it names none."""
    api_version, kind = manifest.get("apiVersion"), manifest.get("kind")
    if not kind:
        raise CliError("error parsing manifest: Object 'Kind' is missing")
    if not api_version:
        raise CliError("error parsing manifest: Object 'apiVersion' is missing")
    resource = await session.mapper.by_kind(api_version, kind)
    meta = manifest.setdefault("metadata", {})
    namespace = None
    if resource.namespaced:
        namespace = meta.setdefault("namespace", session.namespace)
    return Selected(resource, meta.get("name", ""), namespace, manifest)


def read_manifests(paths: list[str], recursive: bool = False) -> Iterator[Object]:
    """Every object of YAML and JSON files, directories, URLs and ``-``, Lists taken apart."""
    for path in paths:
        for where, text in _texts(path, recursive):
            yield from parse_manifests(text, where)


def parse_manifests(text: bytes, where: str) -> Iterator[Object]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        documents = list(yaml.load_all(text, Loader=loader))
    except yaml.YAMLError as error:
        raise CliError(f"error parsing {where}: error converting YAML to JSON: {_one_line(error)}") from None
    for document in documents:
        if document is None:
            continue
        if not isinstance(document, dict):
            raise CliError(f"error parsing {where}: an object is needed, not {type(document).__name__}")
        if document.get("kind", "").endswith("List") and isinstance(document.get("items"), list):
            yield from document["items"]
        else:
            yield document


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _texts(path: str, recursive: bool) -> Iterator[tuple[str, bytes]]:
    if path == "-":
        yield "STDIN", sys.stdin.buffer.read()
    elif path.startswith(("http://", "https://")):
        import httpx

        response = httpx.get(path, follow_redirects=True)
        if not response.is_success:
            raise CliError(f"unable to read URL {path!r}, server reported {response.status_code}")
        yield path, response.content
    elif Path(path).is_dir():
        pattern = "**/*" if recursive else "*"
        files = sorted(p for p in Path(path).glob(pattern) if p.suffix in (".yaml", ".yml", ".json") and p.is_file())
        if not files:
            raise CliError(f"the directory {path!r} holds no .yaml, .yml or .json file")
        for file in files:
            yield str(file), file.read_bytes()
    else:
        try:
            yield path, Path(path).read_bytes()
        except FileNotFoundError:
            raise CliError(f'the path "{path}" does not exist') from None
        except OSError as error:
            raise CliError(f"{path}: {error.strerror}") from None
