"""The commands that change a little: ``scale``, ``set image``, ``set env``, ``label``, ``annotate``, ``patch``."""

import argparse
import re
import sys
from typing import Any

from cli import printing, selection
from cli.session import CliError, Session, execute, parser
from kubeclient.rest import JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH

Object = dict[str, Any]


# --- scale ----------------------------------------------------------------------------------------------------------


def scale_main(argv: list[str]) -> int:
    examples = "  mk8s scale deployment/web --replicas=3\n  mk8s scale deploy web --current-replicas=2 --replicas=5"
    flags = parser("scale", "Set a new size for a Deployment, ReplicaSet or StatefulSet.", examples=examples)
    flags.add_argument("words", nargs="*", metavar="TYPE[/NAME] [NAME...]")
    selection.add_selector_flags(flags, all_namespaces=False)
    selection.add_file_flags(flags)
    flags.add_argument("--all", action="store_true", help="every object of the type in the namespace")
    flags.add_argument("--replicas", type=int, required=True, help="the new desired number of replicas")
    flags.add_argument("--current-replicas", type=int, default=-1, help="only when this is the current size")
    return execute(scale, flags.parse_intermixed_args(argv))


async def scale(session: Session, options: argparse.Namespace) -> int:
    if options.replicas < 0:
        raise CliError("The --replicas=COUNT flag is required, and COUNT must be greater than or equal to 0")
    for item in await selection.select(session, options, options.words):
        if "scale" not in item.resource.subresources:
            raise CliError(f"cannot scale {item.resource.full_name}: the server has no scale subresource for it")
        client = item.resource.at(session.client)
        if options.current_replicas >= 0:
            found = await client.get(item.name, item.namespace, subresource="scale")
            current = found["spec"].get("replicas", 0)
            if current != options.current_replicas:
                raise CliError(f"Expected replicas to be {options.current_replicas}, was {current}")
            found["spec"]["replicas"] = options.replicas
            await client.update(found, subresource="scale")
        else:
            await client.patch(item.name, {"spec": {"replicas": options.replicas}}, item.namespace, subresource="scale")
        print(f"{item.label} scaled")
    return 0


# --- set ------------------------------------------------------------------------------------------------------------


def set_main(argv: list[str]) -> int:
    examples = (
        "  mk8s set image deployment/web web=nginx:1.27\n  mk8s set env deployment/web MODE=prod DEBUG-\n"
        "  mk8s set env deployment/web --from=configmap/settings --prefix=APP_"
    )
    flags = parser("set", "Change the image or the environment of the containers of a pod template.", examples=examples)
    flags.add_argument("what", choices=("image", "env"))
    flags.add_argument("words", nargs="*", metavar="TYPE/NAME NAME=VALUE...")
    selection.add_selector_flags(flags, all_namespaces=False)
    selection.add_file_flags(flags)
    flags.add_argument("--all", action="store_true", help="every object of the type in the namespace")
    flags.add_argument("-c", "--containers", default="*", help="env: only these containers (wildcards allowed)")
    flags.add_argument("--from", dest="source", default="", help="env: every key of a configmap/NAME or secret/NAME")
    flags.add_argument("--prefix", default="", help="env: before the names taken by --from")
    flags.add_argument("--list", action="store_true", help="env: show the environment instead")
    options = flags.parse_intermixed_args(argv)
    return execute(set_image if options.what == "image" else set_env, options)


def _assignments(words: list[str]) -> tuple[list[str], dict[str, str], list[str]]:
    """``(what names objects, NAME=VALUE, NAME-)`` of the arguments."""
    targets: list[str] = []
    values: dict[str, str] = {}
    removed: list[str] = []
    for word in words:
        name, equals, value = word.partition("=")
        if equals:
            values[name] = value
        elif word.endswith("-") and targets:
            removed.append(word[:-1])
        else:
            targets.append(word)
    return targets, values, removed


def _pod_spec(obj: Object) -> tuple[Object, tuple[str, ...]]:
    """The pod spec inside an object and the path to it."""
    for path in (("spec", "template", "spec"), ("spec", "jobTemplate", "spec", "template", "spec"), ("spec",)):
        found: Any = obj
        for step in path:
            found = found.get(step) if isinstance(found, dict) else None
        if isinstance(found, dict) and "containers" in found:
            return found, path
    raise CliError(f"{obj['kind'].lower()}/{obj['metadata']['name']} has no pod template")


def _nested(path: tuple[str, ...], value: Object) -> Object:
    for step in reversed(path):
        value = {step: value}
    return value


async def _patch_pod_spec(session: Session, item: selection.Selected, path: tuple[str, ...], change: Object) -> None:
    client = item.resource.at(session.client)
    patch = _nested(path, change)
    await client.patch(item.name, patch, item.namespace, content_type=STRATEGIC_MERGE_PATCH, field_manager="mk8s-set")


async def set_image(session: Session, options: argparse.Namespace) -> int:
    targets, images, _ = _assignments(options.words)
    if not images:
        raise CliError("at least one image update is required, as CONTAINER=IMAGE")
    for item in await selection.select(session, options, targets):
        assert item.object is not None
        spec, path = _pod_spec(item.object)
        change: Object = {}
        seen: set[str] = set()
        for field in ("containers", "initContainers"):
            wanted = []
            for container in spec.get(field) or []:
                image = images.get(container["name"]) or images.get("*")
                if image is None:
                    continue
                seen.add(container["name"])
                if container.get("image") != image:
                    wanted.append({"name": container["name"], "image": image})
            if wanted:
                change[field] = wanted
        missing = [name for name in images if name != "*" and name not in seen]
        if missing:
            raise CliError(f'unable to find container named "{missing[0]}"')
        if change:
            await _patch_pod_spec(session, item, path, change)
            print(f"{item.label} image updated")
    return 0


async def set_env(session: Session, options: argparse.Namespace) -> int:
    from fnmatch import fnmatch

    targets, values, removed = _assignments(options.words)
    entries: list[Object] = [{"name": name, "value": value} for name, value in values.items()]
    entries += await _from_source(session, options)
    for entry in entries:
        if not re.fullmatch(r"[-._a-zA-Z][-._a-zA-Z0-9]*", entry["name"]):
            raise CliError(f"{entry['name']!r} is not a valid environment variable name")
    if not (entries or removed or options.list):
        raise CliError("at least one environment variable must be provided")
    patterns = options.containers.split(",")
    for item in await selection.select(session, options, targets):
        assert item.object is not None
        spec, path = _pod_spec(item.object)
        chosen = [c for c in spec["containers"] if any(fnmatch(c["name"], p) for p in patterns)]
        if not chosen:
            raise CliError(f"{item.label} has no container that matches {options.containers}")
        if options.list:
            for container in chosen:
                print(f"# {item.label}, container {container['name']}")
                for variable in container.get("env") or []:
                    print(
                        f"{variable['name']}={variable.get('value', '')}"
                        if "valueFrom" not in variable
                        else f"# {variable}"
                    )
            continue
        change = []
        for container in chosen:
            had = {v["name"]: v for v in container.get("env") or []}
            env = [e for e in entries if had.get(e["name"]) != e]
            # Replaced as a whole where a value takes the place of a reference, or the other way round.
            env = [
                {**e, "$patch": "replace"}
                if e["name"] in had and ("valueFrom" in had[e["name"]]) != ("valueFrom" in e)
                else e
                for e in env
            ]
            env += [{"name": name, "$patch": "delete"} for name in removed if name in had]
            if env:
                change.append({"name": container["name"], "env": env})
        if change:
            await _patch_pod_spec(session, item, path, {"containers": change})
            print(f"{item.label} env updated")
    return 0


async def _from_source(session: Session, options: argparse.Namespace) -> list[Object]:
    if not options.source:
        return []
    kind, _, name = options.source.partition("/")
    resource = await session.mapper.resolve(kind)
    fields = {"ConfigMap": "configMapKeyRef", "Secret": "secretKeyRef"}
    if resource.kind not in fields or not name:
        raise CliError(f"--from {options.source}: want configmap/NAME or secret/NAME")
    found = await resource.at(session.client).get(name, session.namespace)
    made = []
    for key in sorted(found.get("data") or {}):
        variable = options.prefix + re.sub(r"[^A-Za-z0-9_]", "_", key).upper()
        made.append({"name": variable, "valueFrom": {fields[resource.kind]: {"name": name, "key": key}}})
    return made


# --- label and annotate ---------------------------------------------------------------------------------------------


def label_main(argv: list[str]) -> int:
    return _metadata_main("label", argv)


def annotate_main(argv: list[str]) -> int:
    return _metadata_main("annotate", argv)


def _metadata_main(verb: str, argv: list[str]) -> int:
    examples = f"  mk8s {verb} pods web-0 tier=front\n  mk8s {verb} --overwrite pods -l app=web tier=back\n  mk8s {verb} node node-1 tier-"
    flags = parser(
        verb,
        f"Update the {verb}s of a resource." if verb == "label" else "Update the annotations of a resource.",
        examples=examples,
    )
    flags.add_argument("words", nargs="*", metavar="TYPE[/NAME] [NAME...] KEY=VALUE|KEY-")
    selection.add_selector_flags(flags)
    selection.add_file_flags(flags)
    flags.add_argument("--all", action="store_true", help="every object of the type in the namespace")
    flags.add_argument("--overwrite", action="store_true", help="replace values that exist")
    flags.add_argument("--list", action="store_true", help="show them instead")
    flags.add_argument(
        "--dry-run", choices=("none", "client", "server"), default="none", help="only say what would change"
    )
    options = flags.parse_intermixed_args(argv)
    options.field, options.done = ("labels", "labeled") if verb == "label" else ("annotations", "annotated")
    return execute(change_metadata, options)


async def change_metadata(session: Session, options: argparse.Namespace) -> int:
    targets, values, removed = _assignments(options.words)
    if not (values or removed or options.list):
        raise CliError(f"at least one {options.field[:-1]} update is required")
    both = set(values) & set(removed)
    if both:
        raise CliError(
            f"can not both modify and remove a {options.field[:-1]} in the same command ({', '.join(sorted(both))})"
        )
    for item in await selection.select(session, options, targets):
        assert item.object is not None
        had = item.object["metadata"].get(options.field) or {}
        if options.list:
            print("\n".join(f"{k}={v}" for k, v in sorted(had.items())))
            continue
        clash = [k for k, v in values.items() if k in had and had[k] != v]
        if clash and not options.overwrite:
            raise CliError(f"'{clash[0]}' already has a value ({had[clash[0]]}), and --overwrite is false")
        for key in removed:
            if key not in had:
                print(f'{options.field[:-1]} "{key}" not found.', file=sys.stderr)
        change: dict[str, str | None] = {k: v for k, v in values.items() if had.get(k) != v}
        change.update({k: None for k in removed if k in had})
        if change and options.dry_run != "client":
            params = {"fieldManager": "mk8s-label" if options.field == "labels" else "mk8s-annotate"}
            params["dryRun"] = "All" if options.dry_run == "server" else ""
            path = item.resource.at(session.client).path(item.namespace, item.name)
            body = {"metadata": {options.field: change}}
            await session.client.json("PATCH", path, body=body, content_type=MERGE_PATCH, params=params)
        done = options.done if any(change.values()) or (change and options.field == "annotations") else "unlabeled"
        print(f"{item.label} {done if change else 'not ' + options.done}")
    return 0


# --- patch ----------------------------------------------------------------------------------------------------------


def patch_main(argv: list[str]) -> int:
    examples = (
        """  mk8s patch deployment web -p '{"spec":{"replicas":2}}'\n"""
        """  mk8s patch pod web-0 --type=json -p '[{"op":"remove","path":"/metadata/labels/x"}]'"""
    )
    flags = parser(
        "patch", "Update fields of a resource by strategic merge, JSON merge or JSON patch.", examples=examples
    )
    flags.add_argument("words", nargs="*", metavar="TYPE[/NAME] [NAME]")
    selection.add_file_flags(flags)
    flags.add_argument("-p", "--patch", default="", help="the patch, in JSON or YAML")
    flags.add_argument("--patch-file", default="", help="file with the patch")
    flags.add_argument("--type", choices=("strategic", "merge", "json"), default="strategic", help="kind of patch")
    flags.add_argument("--subresource", default=None, help="patch this part, such as status or scale")
    flags.add_argument("-o", "--output", default="", help=f"one of {printing.FORMATS}")
    return execute(patch, flags.parse_intermixed_args(argv))


async def patch(session: Session, options: argparse.Namespace) -> int:
    import yaml

    if bool(options.patch) == bool(options.patch_file):
        raise CliError("must specify exactly one of --patch and --patch-file")
    try:
        text = options.patch or open(options.patch_file).read()  # noqa: SIM115
        body = yaml.safe_load(text)
    except OSError as error:
        raise CliError(f"{options.patch_file}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise CliError(f"unable to parse the patch: {' '.join(str(error).split())}") from None
    content_type = {"strategic": STRATEGIC_MERGE_PATCH, "merge": MERGE_PATCH, "json": JSON_PATCH}[options.type]
    options.selector = options.field_selector = ""
    for item in await selection.select(session, options, options.words):
        client = item.resource.at(session.client)
        changed = await client.patch(
            item.name,
            body,
            item.namespace,
            content_type=content_type,
            subresource=options.subresource,
            field_manager="mk8s-patch",
        )
        assert item.object is not None
        if options.output:
            printing.print_objects([changed], options.output, names=[item.label], as_list=False)
        else:
            same = changed["metadata"].get("resourceVersion") == item.object["metadata"].get("resourceVersion")
            print(f"{item.label} patched{' (no change)' if same else ''}")
    return 0
