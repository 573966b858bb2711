"""Makes ``fields.json.gz``, the numbers, names and types of all protobuf fields, from upstream's ``.proto`` files.

    python -m apiserver.protobuf.generate API_GIT_DIR APIMACHINERY_GIT_DIR [TAG]

The arguments are git directories of kubernetes/api and kubernetes/apimachinery. A field whose name the JSON schema does not
know stands for an embedded struct, whose fields are the outer object's in JSON: marked as inline. A few are spelled otherwise there
(``uID``, ``aPIGroup``); they get JSON's spelling.
"""

import gzip
import re
import subprocess
import sys
from pathlib import Path

import orjson

from apimachinery.resources import RESOURCES
from apimachinery.schema import definition

HERE = Path(__file__).parent
TAG = "v0.33.0"
_MESSAGE = re.compile(r"^message (\w+) \{$(.*?)^\}", re.MULTILINE | re.DOTALL)
_FIELD = re.compile(r"^  (?:(optional|repeated) ([\w.]+)|(map)<(\w+), ([\w.]+)>) (\w+) = (\d+)", re.MULTILINE)
_SCALARS = frozenset(("string", "bytes", "bool", "int32", "int64", "double", "uint64", "uint32"))
_MORE = ("pkg/api/resource", "pkg/apis/meta/v1", "pkg/runtime", "pkg/util/intstr")

Field = list[str]


def _show(git_dir: str, tag: str, path: str) -> str:
    command = ["git", "--git-dir", git_dir, "show", f"{tag}:{path}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _messages(text: str) -> dict[str, dict[str, Field]]:
    """Full name -> number -> [name, label, type]."""
    match = re.search(r"^package ([\w.]+);", text, re.MULTILINE)
    assert match is not None, "every proto file names its package"
    package = match[1]
    found: dict[str, dict[str, Field]] = {}
    for name, body in _MESSAGE.findall(text):
        fields = found[f"{package}.{name}"] = {}
        for label, kind, is_map, _, value, field, number in _FIELD.findall(body):
            fields[number] = [field, is_map or label, _qualified(value or kind, package)]
    return found


def _qualified(kind: str, package: str) -> str:
    if kind in _SCALARS:
        return kind
    return kind.removeprefix(".") if "." in kind else f"{package}.{kind}"


def _adapt_to_json(messages: dict[str, dict[str, Field]]) -> None:
    for name, fields in messages.items():
        known = "io.k8s." + name.removeprefix("k8s.io.")
        try:
            schema = definition(known)
        except KeyError:
            continue
        if schema.kind != "object":
            continue
        spelling = {known.lower(): known for known in schema.fields}
        for field in fields.values():
            if field[0] not in schema.fields:
                field[0] = spelling.get(field[0].lower(), field[0])
            if field[1] == "optional" and field[2] not in _SCALARS and field[0] not in schema.fields:
                field[1] = "inline"


def generate(api: str, apimachinery: str, tag: str) -> dict[str, dict[str, Field]]:
    messages: dict[str, dict[str, Field]] = {}
    for folder in sorted(
        {f"{(r.group or 'core').removesuffix('.k8s.io').split('.')[0]}/{r.version}" for r in RESOURCES}
    ):
        messages |= _messages(_show(api, tag, f"{folder}/generated.proto"))
    for folder in _MORE:
        messages |= _messages(_show(apimachinery, tag, f"{folder}/generated.proto"))
    _adapt_to_json(messages)
    return messages


def main() -> int:
    data = orjson.dumps(generate(sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else TAG))
    with (HERE / "fields.json.gz").open("wb") as out, gzip.GzipFile("", "wb", 9, out, mtime=0) as packed:
        packed.write(data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
