"""Every transcript, with every version of kubectl that it names."""

import difflib
from collections.abc import Iterator

import pytest

from tests.apiserver.kubectl_matrix.stage import Stage
from tests.apiserver.kubectl_matrix.transcript import VERSIONS, Transcript, mask, read_all, show

pytestmark = pytest.mark.binary("kubectl")
PLAYS = [(version, transcript) for version in VERSIONS for transcript in read_all() if version in transcript.versions]


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Stage]]:
    """The clusters that are running, one a version."""
    running: dict[str, Stage] = {}
    yield running
    for stage in running.values():
        stage.stop()


@pytest.fixture
def stage(version: str, stages: dict[str, Stage], tmp_path_factory: pytest.TempPathFactory) -> Stage:
    if version not in stages:
        for done in list(stages):
            stages.pop(done).stop()  # the plays are sorted by version: nobody needs it again
        stages[version] = Stage(tmp_path_factory.mktemp("matrix") / version, version)
        stages[version].start()
    return stages[version]


@pytest.mark.parametrize(("version", "transcript"), PLAYS, ids=[f"{v}-{t.name}" for v, t in PLAYS])
def test_kubectl_prints_what_is_written(stage: Stage, transcript: Transcript) -> None:
    written, printed = show(transcript.for_version(stage.version)), show(stage.play(transcript))
    lines = difflib.unified_diff(written.splitlines(), printed.splitlines(), "written", "printed", n=8, lineterm="")
    assert printed == written, "\n".join(lines)


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
