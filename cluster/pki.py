"""Credentials for a cluster that something else starts: Compose, systemd, or a person at a terminal.

    python -m cluster.pki --folder /pki --member etcd-0 --apiserver apiserver-0=10.98.0.20 --node node-1=10.98.0.31

writes the authorities, keys, certificates and kubeconfigs under that folder, named as ``mk8s up`` names them. Running it again
renews what is missing or near its end and leaves the rest alone.
"""

import argparse
import sys
from pathlib import Path

from cluster.certificates import Pki
from cluster.kubeconfig import Access, render, save
from cluster.plan import Request
from cluster.spec import CLUSTER_DOMAIN, KUBERNETES_SERVICE_IP

_SERVICE = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{CLUSTER_DOMAIN}")


def _named(text: str) -> tuple[str, str]:
    name, equals, address = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r}: want NAME=ADDRESS")
    return name, address


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m cluster.pki", description=__doc__, allow_abbrev=False)
    parser.add_argument("--folder", required=True, type=Path)
    parser.add_argument("--name", default="compose", help="of the cluster, in kubeconfigs")
    parser.add_argument("--member", action="append", default=[], help="a member of the store")
    parser.add_argument("--apiserver", action="append", default=[], type=_named, metavar="NAME=ADDRESS")
    parser.add_argument("--node", action="append", default=[], type=_named, metavar="NAME=ADDRESS")
    parser.add_argument("--replicas", type=int, default=1, help="of scheduler and controller manager")
    parser.add_argument("--admin-server", default="https://127.0.0.1:6443", help="what the admin's kubeconfig names")
    options = parser.parse_args(argv)
    if not options.apiserver:
        parser.error("give at least one --apiserver")
    options.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    pki = Pki(options.folder)
    pki.authority("ca", f"mk8s-{options.name}-ca")
    pki.authority("etcd/ca", f"mk8s-{options.name}-etcd-ca")
    pki.ensure_signing_key("sa")
    for request in requests(options.member, options.apiserver, options.node):
        pki.ensure(request)
    _write_kubeconfigs(options, pki)
    print(
        f"{options.folder}: {len(pki.made)} keys and certificates made" if pki.made else f"{options.folder}: all good"
    )
    return 0


def requests(members: list[str], apis: list[tuple[str, str]], nodes: list[tuple[str, str]]) -> list[Request]:
    made = [
        Request(f"etcd/{name}{kind}", name, (), (name, "localhost", "127.0.0.1"), True, True, "etcd/ca")
        for name in members
        for kind in ("", "-peer")
    ]
    hosts = tuple(dict.fromkeys(word for pair in apis for word in pair))
    sans = (*_SERVICE, "localhost", "127.0.0.1", KUBERNETES_SERVICE_IP, *hosts)
    masters = ("system:masters",)
    local = ("localhost", "127.0.0.1")
    made += [
        Request("apiserver", "kube-apiserver", sans=sans, server=True),
        Request("apiserver-etcd-client", "kube-apiserver-etcd-client", client=True, authority="etcd/ca"),
        Request("apiserver-kubelet-client", "kube-apiserver-kubelet-client", client=True),
        Request("admin", "kubernetes-admin", masters, client=True),
        Request("scheduler", "system:kube-scheduler", client=True),
        Request("scheduler-server", "kube-scheduler", sans=local, server=True),
        Request("controller-manager", "system:kube-controller-manager", client=True),
        Request("controller-manager-server", "kube-controller-manager", sans=local, server=True),
        Request("proxy", "system:kube-proxy", client=True),
    ]
    for name, address in nodes:
        user, groups = f"system:node:{name}", ("system:nodes",)
        made.append(Request(f"kubelet-{name}", user, groups, client=True))
        made.append(Request(f"kubelet-{name}-server", user, groups, (name, address), server=True))
    return made


def _write_kubeconfigs(options: argparse.Namespace, pki: Pki) -> None:
    folder = options.folder / "kubeconfigs"
    folder.mkdir(mode=0o700, exist_ok=True)
    urls = [f"https://{name}:6443" for name, _ in options.apiserver]

    def one(file: str, user: str, certificate: str, server: str) -> None:
        save(folder / file, render(Access(options.name, server, user, certificate), pki))

    for number in range(options.replicas):
        url = urls[number % len(urls)]
        one(f"scheduler-{number}", "system:kube-scheduler", "scheduler", url)
        one(f"controllers-{number}", "system:kube-controller-manager", "controller-manager", url)
    for number, (name, _) in enumerate(options.node):
        url = urls[number % len(urls)]
        one(f"kubelet-{name}", f"system:node:{name}", f"kubelet-{name}", url)
        one(f"proxy-{name}", "system:kube-proxy", "proxy", url)
    one("admin", "admin", "admin", options.admin_server)


if __name__ == "__main__":
    sys.exit(main())
