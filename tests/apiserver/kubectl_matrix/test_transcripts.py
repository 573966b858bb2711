"""Every transcript, with every version of kubectl that it names."""

from collections.abc import Iterator

import pytest

from tests.apiserver.kubectl_matrix.stage import Stage
from tests.apiserver.kubectl_matrix.transcript import VERSIONS, Transcript, mask, read_all, show

pytestmark = pytest.mark.binary("kubectl")
PLAYS = [(version, transcript) for version in VERSIONS for transcript in read_all() if version in transcript.versions]


@pytest.fixture(scope="module")
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("matrix") / request.param, request.param)
    try:
        stage.start()
        yield stage
    finally:
        stage.stop()


@pytest.mark.parametrize(
    ("stage", "transcript"), PLAYS, ids=[f"{v}-{t.name}" for v, t in PLAYS], indirect=["stage"], scope="module"
)
def test_kubectl_prints_what_is_written(stage: Stage, transcript: Transcript) -> None:
    assert show(stage.play(transcript)) == show(transcript.for_version(stage.version))


def test_ages_names_and_addresses_are_masked_and_nothing_else() -> None:
    before = """\
NAME            READY   STATUS    RESTARTS       AGE    IP            NODE
web-6d4-x2x4b   1/1     Running   2 (5m ago)     2m5s   10.200.0.12   n1
b                       Pending   0              3s     <none>        none
"""
    after = """\
NAME            READY   STATUS    RESTARTS        AGE     IP       NODE
web-6d4-<any>   1/1     Running   2 (<age> ago)   <age>   <ip>     n1
b                       Pending   0               <age>   <none>   none"""
    assert mask(before) == after
    assert mask("replicas: 3\nimage: nginx:1.25\n") == "replicas: 3\nimage: nginx:1.25"
