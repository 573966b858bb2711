import pytest

from kubelet.images.reference import InvalidReference, parse

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "meaning", "host"),
    [
        ("nginx", "docker.io/library/nginx:latest", "registry-1.docker.io"),
        ("nginx:1.25", "docker.io/library/nginx:1.25", "registry-1.docker.io"),
        ("bitnami/redis", "docker.io/bitnami/redis:latest", "registry-1.docker.io"),
        ("index.docker.io/library/nginx", "docker.io/library/nginx:latest", "registry-1.docker.io"),
        ("registry.k8s.io/pause:3.9", "registry.k8s.io/pause:3.9", "registry.k8s.io"),
        ("localhost/app", "localhost/app:latest", "localhost"),
        ("localhost:5000/a/b/c:v1", "localhost:5000/a/b/c:v1", "localhost:5000"),
        (f"ghcr.io/org/app@{DIGEST}", f"ghcr.io/org/app@{DIGEST}", "ghcr.io"),
        (f"nginx:1@{DIGEST}", f"docker.io/library/nginx:1@{DIGEST}", "registry-1.docker.io"),
    ],
)
def test_names_mean_what_docker_says_they_mean(text: str, meaning: str, host: str) -> None:
    reference = parse(text)
    assert (str(reference), reference.host) == (meaning, host)


@pytest.mark.parametrize(
    "text", ["", "Nginx", "a//b", "nginx:", "nginx:-x", "nginx@sha256:12", "a b", "ghcr.io/", "../x"]
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(InvalidReference):
        parse(text)


@pytest.mark.parametrize(
    ("name", "local"),
    [
        ("localhost:5000/a", True),
        ("127.0.0.1:5000/a", True),
        ("[::1]:5000/a", True),
        ("example.com:5000/a", False),
        ("a", False),
    ],
)
def test_only_registries_of_this_machine_may_speak_plain_http(name: str, local: bool) -> None:
    assert parse(name).local is local
