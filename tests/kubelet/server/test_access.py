"""What a path of the kubelet takes, and how often the API server is asked about it."""

from typing import Any

import pytest

from kubeclient import ApiError
from kubelet.server.access import Access, Denied, subresources


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/exec/ns/pod/c", ["proxy"]),
        ("/", ["proxy"]),
        ("/pods", ["pods", "proxy"]),
        ("/podsx", ["proxy"]),
        ("/configz", ["configz", "proxy"]),
        ("/healthz/ping", ["healthz", "proxy"]),
        ("/metrics", ["metrics"]),
        ("/metrics/cadvisor", ["metrics"]),
        ("/stats/summary", ["stats"]),
        ("/logs/messages", ["log"]),
        ("/containerLogs/ns/pod/c", ["proxy"]),
    ],
)
def test_a_path_takes_a_subresource_of_the_node(path: str, wanted: list[str]) -> None:
    assert subresources(path) == wanted


class Reviews:
    """An API server that answers reviews: ``allowed`` are subresources, ``tokens`` the good ones."""

    def __init__(self, *allowed: str, tokens: tuple[str, ...] = (), failing: bool = False) -> None:
        self.allowed, self.tokens, self.failing = allowed, tokens, failing
        self.asked: list[str] = []

    def resource(self, api_version: str, plural: str) -> "Reviews":
        return self

    async def create(self, review: dict[str, Any]) -> dict[str, Any]:
        if self.failing:
            raise ApiError(500, {"message": "no"})
        spec = review["spec"]
        if review["kind"] == "TokenReview":
            self.asked.append(spec["token"])
            good = spec["token"] in self.tokens
            return {"status": {"authenticated": good, "user": {"username": "robot", "groups": ["g"]} if good else {}}}
        wanted = spec["resourceAttributes"]
        assert (wanted["resource"], wanted["name"]) == ("nodes", "n1")
        self.asked.append(f"{spec['user']} {wanted['verb']} {wanted['subresource']}")
        return {"status": {"allowed": wanted["subresource"] in self.allowed}}


class Connection:
    def __init__(self, name: str) -> None:
        self.name = name

    def subject(self) -> dict[str, list[str]] | None:
        return {"commonName": [self.name], "organizationName": ["team"]} if self.name else None


async def code(access: Access, path: str = "/pods", user: str = "", token: str = "", method: str = "GET") -> int:
    headers = [(b"authorization", f"Bearer {token}".encode())] if token else []
    try:
        await access.check({"connection": Connection(user), "headers": headers, "method": method, "path": path})
    except Denied as denied:
        return denied.code
    return 200


async def test_what_was_asked_once_is_remembered() -> None:
    reviews = Reviews("pods", tokens=("good",))
    access = Access(reviews, "n1")  # type: ignore[arg-type]
    for _ in range(3):
        assert await code(access, token="good") == 200
        assert await code(access, user="jane") == 200
        assert await code(access, "/exec/a/b/c", user="jane", method="POST") == 403
        assert await code(access, token="bad") == 401
    assert reviews.asked == ["good", "robot get pods", "jane get pods", "jane create proxy", "bad"]


async def test_a_certificate_counts_before_a_token() -> None:
    reviews = Reviews("pods", tokens=("good",))
    assert await code(Access(reviews, "n1"), user="jane", token="good") == 200  # type: ignore[arg-type]
    assert reviews.asked == ["jane get pods"]


async def test_an_api_server_that_cannot_answer_lets_nobody_in() -> None:
    access = Access(Reviews("pods", failing=True), "n1")  # type: ignore[arg-type]
    assert await code(access, user="jane") == 500
    assert await code(access, token="any") == 401


async def test_modes_are_as_the_flags_say() -> None:
    assert await code(Access(Reviews(), "n1", webhook=False), user="jane") == 200  # type: ignore[arg-type]
    assert await code(Access(Reviews("pods"), "n1", anonymous=True)) == 200  # type: ignore[arg-type]
    assert await code(Access(Reviews("pods"), "n1")) == 401  # type: ignore[arg-type]
    assert await code(Access(Reviews("pods", tokens=("t",)), "n1", tokens=False), token="t") == 401  # type: ignore[arg-type]
