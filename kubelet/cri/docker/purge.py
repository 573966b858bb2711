"""Remove every container that a node has in its engine: for ``mk8s down``, whether or not its kubelet still lives."""

import os
import shutil

from kubelet.cri.docker.objects import ROOT_DIR


def purge(endpoint: str, root_dir: str) -> list[str]:
    """Returns what could not be removed, a sentence each."""
    import docker

    root = os.path.realpath(root_dir)
    problems = []
    try:
        api = docker.APIClient(base_url=endpoint, version="auto")
    except docker.errors.DockerException as e:
        return [f"the Docker engine at {endpoint} does not answer: {e}"]
    try:
        for entry in api.containers(all=True, filters={"label": f"{ROOT_DIR}={root}"}):
            try:
                api.remove_container(entry["Id"], v=True, force=True)
            except docker.errors.NotFound:
                continue
            except docker.errors.APIError as e:
                problems.append(f"container {entry['Names'][0]}: {e.explanation}")
    finally:
        api.close()
    shutil.rmtree(os.path.join(root, "docker"), ignore_errors=True)
    return problems
