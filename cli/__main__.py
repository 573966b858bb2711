"""``mk8s``: finds the command and runs it. Each command loads only its own code: `mk8s up` need not know how to draw a table."""

import importlib
import os
import sys

#: Command -> (module, function taking the arguments after the command, what it does); the groups are those of the help.
COMMANDS: dict[str, dict[str, tuple[str, str, str]]] = {
    "The cluster": {
        "up": ("cli.lifecycle", "up", "start a cluster, wait until it is usable, apply manifests"),
        "down": ("cli.lifecycle", "down", "stop it; its data stay unless --purge"),
        "status": ("cli.lifecycle", "status", "every process, its pid, port, health and memory"),
        "test": ("cli.check", "main", "run the project's whole test suite"),
    },
    "Working with it, as with kubectl": {
        "get": ("cli.get", "main", "list objects"),
        "describe": ("cli.describe", "main", "one object in words, with its events"),
        "apply": ("cli.apply", "main", "make the cluster hold what the files say"),
        "create": ("cli.create", "main", "create objects"),
        "delete": ("cli.delete", "main", "delete objects"),
        "logs": ("cli.logs", "main", "what a container printed"),
        "scale": ("cli.modify", "scale_main", "set the number of replicas"),
        "rollout": ("cli.rollout", "main", "status, history, undo, restart, pause, resume"),
        "set": ("cli.modify", "set_main", "set env or image"),
        "label": ("cli.modify", "label_main", "set labels"),
        "annotate": ("cli.modify", "annotate_main", "set annotations"),
        "patch": ("cli.modify", "patch_main", "patch fields"),
        "wait": ("cli.wait", "main", "wait for a condition"),
        "cordon": ("cli.nodes", "cordon_main", "let no more pods onto a node"),
        "uncordon": ("cli.nodes", "uncordon_main", "let pods onto it again"),
        "drain": ("cli.nodes", "drain_main", "evict a node's pods"),
    },
    "About the server": {
        "api-resources": ("cli.serverinfo", "api_resources_main", "what kinds there are"),
        "api-versions": ("cli.serverinfo", "api_versions_main", "what versions there are"),
        "cluster-info": ("cli.serverinfo", "cluster_info_main", "where it is"),
        "version": ("cli.serverinfo", "version_main", "of client and server"),
        "config": ("cli.serverinfo", "config_main", "view the kubeconfig"),
    },
}


def usage() -> str:
    lines = ["mk8s: a real multi-process Kubernetes in Python", "", "usage: mk8s COMMAND [ARGUMENTS]"]
    for group, commands in COMMANDS.items():
        lines += ["", f"{group}:"]
        lines += [f"  {name:<15}{what}" for name, (_, _, what) in commands.items()]
    return "\n".join([*lines, "", "mk8s COMMAND --help says more. Begin with: mk8s up"])


#: Flags that kubectl also takes before the command, each with a value.
_LEADING = ("-n", "--namespace", "--kubeconfig", "--context", "--cluster-name", "--request-timeout")


def command_first(arguments: list[str]) -> list[str]:
    """``-n shop get pods`` as ``get -n shop pods``."""
    leading: list[str] = []
    rest = list(arguments)
    while rest and rest[0].split("=")[0] in _LEADING:
        take = 1 if "=" in rest[0] else 2
        leading += rest[:take]
        rest = rest[take:]
    return [*rest[:1], *leading, *rest[1:]]


def main(argv: list[str] | None = None) -> int:
    arguments = command_first(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(arguments)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output (head, less) has gone; the interpreter must not complain of it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    name, *rest = arguments
    for commands in COMMANDS.values():
        if name in commands:
            module, function, _ = commands[name]
            return int(getattr(importlib.import_module(module), function)(rest))
    print(f"error: unknown command {name!r} (see: mk8s --help)", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
