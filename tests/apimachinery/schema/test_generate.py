"""The committed schemas are what the script makes of their source."""

import gzip

import orjson

from apimachinery.schema import generate
from apimachinery.schema.definitions import definition


def test_the_committed_file_is_the_generated_one() -> None:
    committed = orjson.loads(gzip.decompress((generate.HERE / "definitions.json.gz").read_bytes()))
    assert committed == orjson.loads(orjson.dumps(generate.generate()))


def test_facts_of_go_reach_the_schema() -> None:
    container = definition("io.k8s.api.core.v1.Container").fields
    assert container["imagePullPolicy"].schema.go == "v1.PullPolicy"
    assert container["ports"].merge_key == "containerPort"
    assert container["ports"].schema.list_keys == ("containerPort", "protocol")
    assert container["env"].patch_strategies == ("merge",)
    assert (container["resources"].pointer, container["resources"].keep) == (False, True)
    assert container["restartPolicy"].pointer
    spec = definition("io.k8s.api.apps.v1.DeploymentSpec").fields
    assert spec["strategy"].patch_strategies == ("retainKeys",)
    assert (spec["replicas"].pointer, spec["replicas"].schema.bits) == (True, 32)
