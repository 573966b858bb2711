"""Kubeconfig files: one for each identity of a cluster, and the merge into the user's own when it is asked for."""

import base64
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster import ClusterError
from cluster.certificates import Pki
from cluster.home import write


@dataclass(frozen=True)
class Access:
    """Cluster, user and context are named as kind does: by the cluster, so that several live in one file."""

    cluster: str
    server: str
    user: str
    certificate: str


def render(access: Access, pki: Pki) -> dict[str, Any]:
    """The file's content, with certificates inside, so that it can be copied elsewhere."""

    def encoded(path: Path) -> str:
        return base64.b64encode(path.read_bytes()).decode()

    name = f"mk8s-{access.cluster}"
    user = f"{access.user}@{name}"
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "current-context": name,
        "clusters": [
            {
                "name": name,
                "cluster": {
                    "server": access.server,
                    "certificate-authority-data": encoded(pki.certificate("ca")),
                },
            }
        ],
        "users": [
            {
                "name": user,
                "user": {
                    "client-certificate-data": encoded(pki.certificate(access.certificate)),
                    "client-key-data": encoded(pki.key(access.certificate)),
                },
            }
        ],
        "contexts": [{"name": name, "context": {"cluster": name, "user": user}}],
    }


def save(path: Path, content: dict[str, Any]) -> None:
    """JSON is YAML too, and written fifty times faster."""
    import orjson

    encoded = orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n"
    try:
        if path.read_bytes() == encoded:
            return
    except FileNotFoundError:
        pass
    write(path, encoded)


def user_file() -> Path:
    """Where kubectl writes: the first file of ``$KUBECONFIG``, else ``~/.kube/config``."""
    first = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
    return Path(first or os.path.expanduser("~/.kube/config"))


def merge(target: Path, content: dict[str, Any]) -> None:
    """Add this cluster to ``target`` and make it the current context; all else in the file stays."""
    document = _read(target)
    for section in ("clusters", "users", "contexts"):
        ours = {entry["name"] for entry in content[section]}
        document[section] = [e for e in document.get(section) or [] if e.get("name") not in ours] + content[section]
    document["current-context"] = content["current-context"]
    _write_yaml(target, document)


def unmerge(target: Path, cluster: str) -> bool:
    """Take the cluster out of ``target`` again; False when it was not there."""
    if not target.exists():
        return False
    document = _read(target)
    name = f"mk8s-{cluster}"
    if not any(e.get("name") == name for e in document.get("clusters") or []):
        return False
    for section in ("clusters", "contexts"):
        document[section] = [e for e in document.get(section) or [] if e.get("name") != name]
    document["users"] = [e for e in document.get("users") or [] if not str(e.get("name")).endswith(f"@{name}")]
    if document.get("current-context") == name:
        document["current-context"] = ""
    _write_yaml(target, document)
    return True


def _read(path: Path) -> dict[str, Any]:
    import yaml

    if not path.exists():
        return {"apiVersion": "v1", "kind": "Config", "preferences": {}}
    try:
        document = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise ClusterError(f"{path} is not YAML, so nothing was merged into it: {error}") from None
    if not isinstance(document, dict):
        raise ClusterError(f"{path} is not a kubeconfig, so nothing was merged into it")
    return document


def _write_yaml(path: Path, document: dict[str, Any]) -> None:
    import yaml

    path = path.resolve()  # a link into somebody's dotfiles stays a link
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write(path, yaml.safe_dump(document, sort_keys=False).encode())
