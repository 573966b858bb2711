"""Without root: processes only, pods on the machine's network, Services forwarded in userspace; and one line says so.

The user is the root user of this machine with every privilege given up: a user namespace in which it is user 1000.
"""

import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.running import ROOT, Running

PLAIN_USER = ("unshare", "--user", "--map-user=1000", "--map-group=1000")

pytestmark = [pytest.mark.cluster, pytest.mark.root, pytest.mark.binary("unshare", "kubectl")]


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Running]:
    made = Running(tmp_path / "home", "plain", PLAIN_USER)
    yield made
    made.mk8s("down", "--name", "plain", "--purge", check=False)


def test_a_plain_user_gets_a_cluster_and_a_page(plain: Running) -> None:
    said = plain.up("-f", str(ROOT / "examples" / "01-hello.yaml")).stdout
    assert "not root: pods share this machine's network, Services are forwarded in userspace" in said
    found = re.search(r"answers at (http://\S+)", said)
    assert found, said
    with urllib.request.urlopen(found[1], timeout=10) as page:
        assert b"Hello from hello-" in page.read()
    through_the_api = plain.kubectl("get", "--raw", "/api/v1/namespaces/default/services/hello/proxy/")
    assert "Hello from hello-" in through_the_api
    assert plain.get("nodes")["items"][0]["metadata"]["name"] == "node-1"
    assert "its data are kept" in plain.down().stdout
    assert "resuming" in plain.up().stdout
    assert plain.get("deployment", "hello")["spec"]["replicas"] == 1
