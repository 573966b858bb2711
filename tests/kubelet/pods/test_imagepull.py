import base64
import json
from typing import Any

import pytest

from kubelet.cri.api import Image
from kubelet.pods.failures import ContainerFailure
from kubelet.pods.imagepull import ImagePuller, credentials, policy_of
from tests.kubelet.fake_runtime import FakeImages
from tests.kubelet.making import container, pod

Object = dict[str, Any]


class Events:
    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def __call__(self, type_: str, reason: str, message: str) -> None:
        self.told.append((reason, message))

    @property
    def reasons(self) -> list[str]:
        return [reason for reason, _ in self.told]


def using(image: str, **fields: Any) -> tuple[Object, Object]:
    own = container(**{"image": image, **fields})
    return pod(own), own


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.27", "IfNotPresent"),
        ("localhost:5000/nginx", "Always"),
        ("nginx@sha256:" + "0" * 64, "IfNotPresent"),
    ],
)
def test_the_default_policy_depends_on_the_tag(image: str, policy: str) -> None:
    assert policy_of({"image": image}) == policy


async def test_a_present_image_is_not_pulled() -> None:
    images, events = FakeImages("nginx:1"), Events()
    image = await ImagePuller(images).ensure(*using("nginx:1"), [], events)
    assert image.repo_tags == ["nginx:1"]
    assert images.pulls == []
    assert events.told == [("Pulled", 'Container image "nginx:1" already present on machine')]


async def test_a_missing_image_is_pulled_and_told_of() -> None:
    images, events = FakeImages(), Events()
    images.registry["nginx:1"] = Image("sha256:9", ["nginx:1"], [], 4711)
    await ImagePuller(images).ensure(*using("nginx:1"), [], events)
    assert events.reasons == ["Pulling", "Pulled"]
    assert events.told[1][1].startswith('Successfully pulled image "nginx:1" in ')
    assert events.told[1][1].endswith("Image size: 4711 bytes.")


async def test_always_pulls_what_is_there() -> None:
    images = FakeImages("nginx:1")
    images.registry["nginx:1"] = images.present["nginx:1"]
    await ImagePuller(images).ensure(*using("nginx:1", imagePullPolicy="Always"), [], Events())
    assert [name for name, _ in images.pulls] == ["nginx:1"]


async def test_never_does_not_pull() -> None:
    events = Events()
    with pytest.raises(ContainerFailure) as raised:
        await ImagePuller(FakeImages()).ensure(*using("nginx:1", imagePullPolicy="Never"), [], events)
    assert raised.value.reason == "ErrImageNeverPull"
    assert events.reasons == ["ErrImageNeverPull"]


async def test_a_failed_pull_backs_off() -> None:
    images, events = FakeImages(), Events()
    puller, wanted = ImagePuller(images), using("nginx:1")
    reasons = []
    for _ in range(2):
        with pytest.raises(ContainerFailure) as raised:
            await puller.ensure(*wanted, [], events)
        reasons.append(raised.value.reason)
    assert reasons == ["ErrImagePull", "ImagePullBackOff"]
    assert 9 < raised.value.retry_in <= 10
    assert 'Back-off pulling image "nginx:1": ErrImagePull: nginx:1: not found' in raised.value.message
    assert len(images.pulls) == 1
    assert events.reasons == ["Pulling", "Failed", "BackOff"]


async def test_a_broken_name_is_said_to_be_broken() -> None:
    with pytest.raises(ContainerFailure) as raised:
        await ImagePuller(FakeImages()).ensure(*using("Not A Name"), [], Events())
    assert raised.value.reason == "InvalidImageName"


def secret(**auths: Object) -> Object:
    text = json.dumps({"auths": {key.replace("__", "."): value for key, value in auths.items()}})
    return {"kind": "Secret", "data": {".dockerconfigjson": base64.b64encode(text.encode()).decode()}}


def test_pull_secrets_are_chosen_by_registry() -> None:
    basic = base64.b64encode(b"me:pass:word").decode()
    secrets = [secret(ghcr__io={"auth": basic}, quay__io={"username": "q", "password": "p"})]
    assert credentials("ghcr.io/a/b:1", secrets) == {"username": "me", "password": "pass:word"}
    assert credentials("quay.io/a/b:1", secrets) == {"username": "q", "password": "p"}
    assert credentials("nginx", secrets) is None


def test_the_hub_has_many_names() -> None:
    hub = {"https://index.docker.io/v1/": {"username": "u", "password": "p"}}
    text = base64.b64encode(json.dumps({"auths": hub}).encode()).decode()
    assert credentials("nginx", [{"data": {".dockerconfigjson": text}}]) == {"username": "u", "password": "p"}


def test_a_broken_secret_is_no_secret() -> None:
    assert credentials("nginx", [{"data": {".dockerconfigjson": base64.b64encode(b"nonsense").decode()}}]) is None
