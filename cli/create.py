"""``mk8s create``: from files, or one of the generators (``create deployment web --image=nginx``)."""

import argparse
import base64
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cli import printing, selection
from cli.apply import validation, with_last_applied
from cli.session import CliError, Parser, Session, execute, parser

Object = dict[str, Any]

EXAMPLES = """  mk8s create -f pod.yaml
  mk8s create deployment web --image=nginx --replicas=3
  mk8s create service clusterip web --tcp=80:8080
  mk8s create configmap settings --from-literal=MODE=prod --from-file=app.conf
  mk8s create secret generic login --from-literal=user=me
  mk8s create namespace shop"""


def main(argv: list[str]) -> int:
    if argv and argv[0] in GENERATORS:
        return _generator_main(argv[0], argv[1:])
    flags = parser(
        "create",
        f"Create a resource from a file, from stdin, or by a generator: {', '.join(_NAMES)}.",
        examples=EXAMPLES,
    )
    selection.add_file_flags(flags)
    _add_output_flags(flags)
    options = flags.parse_args(argv)
    if not options.filename:
        flags.error(f"must specify one of -f or a generator ({', '.join(_NAMES)})")
    return execute(create_from_files, options)


def _add_output_flags(flags: Parser) -> None:
    flags.add_argument(
        "--dry-run", choices=("none", "client", "server"), default="none", help="only say what would be created"
    )
    flags.add_argument("-o", "--output", default="", help=f"one of {printing.FORMATS}")
    flags.add_argument("--save-config", action="store_true", help="keep the text in an annotation, for a later apply")
    flags.add_argument(
        "--validate", choices=("strict", "warn", "ignore", "true", "false"), default="strict", help="unknown fields"
    )
    flags.add_argument("--field-manager", default="mk8s-create", help="name of the owner of the fields")


async def create_from_files(session: Session, options: argparse.Namespace) -> int:
    manifests = list(selection.read_manifests(options.filename, options.recursive))
    if not manifests:
        raise CliError("no objects passed to create")
    for manifest in manifests:
        await create_object(session, options, manifest)
    return 0


async def create_object(session: Session, options: argparse.Namespace, manifest: Object) -> None:
    item = await selection.from_manifest(session, manifest)
    if options.save_config:
        manifest = with_last_applied(manifest)
    if options.dry_run != "client":
        params = {
            "fieldManager": options.field_manager,
            "fieldValidation": validation(options.validate),
            "dryRun": "All" if options.dry_run == "server" else "",
        }
        path = item.resource.at(session.client).path(item.namespace)
        manifest = await session.client.json("POST", path, body=manifest, params=params)
    name = f"{item.resource.full_name}/{manifest['metadata'].get('name') or ''}"
    if options.output:
        printing.print_objects([manifest], options.output, names=[name], as_list=False)
    else:
        dry = {"client": " (dry run)", "server": " (server dry run)"}.get(options.dry_run, "")
        print(f"{name} created{dry}", flush=True)


# --- Generators: arguments -> manifest ------------------------------------------------------------------------------

Generator = Callable[[argparse.Namespace], Object]


def _generator_main(word: str, argv: list[str]) -> int:
    kind, add_flags, generate = GENERATORS[word]
    flags = parser(f"create {kind}", f"Create a {kind} with the specified name.")
    add_flags(flags)
    _add_output_flags(flags)
    options = flags.parse_intermixed_args(argv)

    async def generated(session: Session, arguments: argparse.Namespace) -> int:
        await create_object(session, arguments, generate(arguments))
        return 0

    return execute(generated, options)


def _named(flags: Parser) -> None:
    flags.add_argument("name", metavar="NAME")


def namespace(options: argparse.Namespace) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": options.name}}


def service_account(options: argparse.Namespace) -> Object:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": options.name}}


def _deployment_flags(flags: Parser) -> None:
    _named(flags)
    flags.add_argument("--image", action="append", required=True, help="image of a container; repeat for several")
    flags.add_argument("-r", "--replicas", type=int, default=1, help="number of pods")
    flags.add_argument("--port", type=int, help="the port that the container exposes")
    flags.add_argument("command", nargs="*", metavar="-- COMMAND", help="runs instead of the image's own command")


def deployment(options: argparse.Namespace) -> Object:
    if options.command and len(options.image) > 1:
        raise CliError("cannot specify multiple --image options and command")
    if options.replicas < 0:
        raise CliError("invalid --replicas, must be greater than or equal to 0")
    containers: list[Object] = []
    for image in options.image:
        container: Object = {"name": container_name(image), "image": image}
        if options.command:
            container["command"] = options.command
        containers.append(container)
    if options.port:
        containers[0]["ports"] = [{"containerPort": options.port}]
    labels = {"app": options.name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": options.name, "labels": labels},
        "spec": {
            "replicas": options.replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
        },
    }


def container_name(image: str) -> str:
    """The last part of the image's name, without tag and digest, as a valid container name."""
    name = image.rsplit("/", 1)[-1].split("@")[0].split(":")[0]
    return re.sub(r"[^a-z0-9-]", "-", name.lower()).strip("-") or "main"


def _config_map_flags(flags: Parser) -> None:
    _named(flags)
    _data_flags(flags)


def _data_flags(flags: Parser) -> None:
    flags.add_argument("--from-literal", action="append", default=[], metavar="KEY=VALUE", help="a key and its value")
    flags.add_argument(
        "--from-file", action="append", default=[], metavar="[KEY=]PATH", help="a file's or a directory's content"
    )
    flags.add_argument("--from-env-file", action="append", default=[], metavar="PATH", help="lines KEY=VALUE")


def _data(options: argparse.Namespace) -> dict[str, bytes]:
    found: dict[str, bytes] = {}

    def put(key: str, value: bytes) -> None:
        if key in found:
            raise CliError(f"cannot add key {key}, another key by that name already exists")
        if not re.fullmatch(r"[-._a-zA-Z0-9]+", key):
            raise CliError(
                f"{key!r} is not a valid key name: it must consist of alphanumeric characters, '-', '_' or '.'"
            )
        found[key] = value

    for literal in options.from_literal:
        key, equals, value = literal.partition("=")
        if not (key and equals):
            raise CliError(f"invalid literal source {literal}, expected key=value")
        put(key, value.encode())
    for source in options.from_file:
        key, equals, path = source.partition("=")
        files = _files(path if equals else source)
        if equals and len(files) != 1:
            raise CliError("cannot give a key name for a directory path")
        for file in files:
            put(key if equals else file.name, file.read_bytes())
    for path in options.from_env_file:
        for line in _files(path)[0].read_text().splitlines():
            text = line.strip()
            if text and not text.startswith("#"):
                key, _, value = text.partition("=")
                put(key, value.encode())
    return found


def _files(path: str) -> list[Path]:
    where = Path(path)
    if where.is_dir():
        return sorted(p for p in where.iterdir() if p.is_file())
    if not where.exists():
        raise CliError(f"error reading {path}: no such file or directory")
    return [where]


def config_map(options: argparse.Namespace) -> Object:
    made: Object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": options.name}}
    for key, value in _data(options).items():
        try:
            made.setdefault("data", {})[key] = value.decode()
        except UnicodeDecodeError:
            made.setdefault("binaryData", {})[key] = base64.b64encode(value).decode()
    return made


def _secret_flags(flags: Parser) -> None:
    flags.add_argument("variant", choices=("generic", "tls", "docker-registry"))
    _named(flags)
    _data_flags(flags)
    flags.add_argument("--type", default="", help="type of a generic secret")
    flags.add_argument("--cert", default="", help="tls: path of the certificate")
    flags.add_argument("--key", default="", help="tls: path of the private key")
    for name in ("server", "username", "password", "email"):
        flags.add_argument(
            f"--docker-{name}",
            default="https://index.docker.io/v1/" if name == "server" else "",
            help="docker-registry",
        )


def secret(options: argparse.Namespace) -> Object:
    data, type_ = _data(options), options.type or "Opaque"
    if options.variant == "tls":
        if not (options.cert and options.key):
            raise CliError("tls needs --cert and --key")
        type_ = "kubernetes.io/tls"
        data = {"tls.crt": _files(options.cert)[0].read_bytes(), "tls.key": _files(options.key)[0].read_bytes()}
    elif options.variant == "docker-registry":
        import json

        if not (options.docker_username and options.docker_password):
            raise CliError("docker-registry needs --docker-username and --docker-password")
        type_ = "kubernetes.io/dockerconfigjson"
        login = f"{options.docker_username}:{options.docker_password}"
        entry = {
            "username": options.docker_username,
            "password": options.docker_password,
            "email": options.docker_email,
        }
        entry["auth"] = base64.b64encode(login.encode()).decode()
        data = {".dockerconfigjson": json.dumps({"auths": {options.docker_server: entry}}).encode()}
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": options.name}, "type": type_, "data": encoded}


def _service_flags(flags: Parser) -> None:
    flags.add_argument("variant", choices=("clusterip", "nodeport", "loadbalancer", "externalname"))
    _named(flags)
    flags.add_argument(
        "--tcp", action="append", default=[], metavar="PORT[:TARGET]", help="a port, and the pods' when it differs"
    )
    flags.add_argument("--node-port", type=int, default=0, help="nodeport: this port (0: any free one)")
    flags.add_argument("--clusterip", default="", help="clusterip: this address, or None")
    flags.add_argument("--external-name", default="", help="externalname: the DNS name")


_SERVICE_TYPES = {
    "clusterip": "ClusterIP",
    "nodeport": "NodePort",
    "loadbalancer": "LoadBalancer",
    "externalname": "ExternalName",
}


def service(options: argparse.Namespace) -> Object:
    type_ = _SERVICE_TYPES[options.variant]
    spec: Object = {"type": type_, "selector": {"app": options.name}}
    ports = [_service_port(text) for text in options.tcp]
    if ports:
        spec["ports"] = ports
    elif type_ != "ExternalName" and options.clusterip != "None":
        raise CliError("at least one tcp port specifier must be provided")
    if options.node_port and ports:
        ports[0]["nodePort"] = options.node_port
    if options.clusterip:
        spec["clusterIP"] = options.clusterip
    if type_ == "ExternalName":
        if not options.external_name:
            raise CliError("externalname needs --external-name")
        spec["externalName"] = options.external_name
    meta = {"name": options.name, "labels": {"app": options.name}}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}


def _service_port(text: str) -> Object:
    port, colon, target = text.partition(":")
    if not port.isdigit():
        raise CliError(f"invalid port {text!r}, expected PORT or PORT:TARGET")
    target = target if colon else port
    name = text.replace(":", "-")
    return {
        "name": name,
        "port": int(port),
        "protocol": "TCP",
        "targetPort": int(target) if target.isdigit() else target,
    }


GENERATORS: dict[str, tuple[str, Callable[[Parser], None], Generator]] = {
    "namespace": ("namespace", _named, namespace),
    "deployment": ("deployment", _deployment_flags, deployment),
    "configmap": ("configmap", _config_map_flags, config_map),
    "secret": ("secret", _secret_flags, secret),
    "service": ("service", _service_flags, service),
    "serviceaccount": ("serviceaccount", _named, service_account),
}
_NAMES = tuple(GENERATORS)
for _short, _long in {
    "ns": "namespace",
    "deploy": "deployment",
    "cm": "configmap",
    "svc": "service",
    "sa": "serviceaccount",
}.items():
    GENERATORS[_short] = GENERATORS[_long]
