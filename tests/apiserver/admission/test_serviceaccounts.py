"""What a pod may refer to: with an account that insists on its own secrets, and as a kubelet's mirror pod."""

# ruff: noqa: E501

from types import SimpleNamespace
from typing import Any

import pytest

from apimachinery.errors import StatusError
from apimachinery.resources import by_kind
from apiserver.admission.chain import Attributes
from apiserver.admission.serviceaccounts import MOUNT_PATH, ServiceAccounts
from apiserver.authentication.user import User

Object = dict[str, Any]
ACCOUNT = {
    "metadata": {"name": "strict", "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}},
    "secrets": [{"name": "mine"}],
    "imagePullSecrets": [{"name": "registry"}],
}
REFUSED = 'pods "p" is forbidden: '
UNKNOWN = "is not allowed because service account strict does not reference that"


def admission(spec: Object, annotations: Object | None = None) -> tuple[ServiceAccounts, Attributes]:
    cache = SimpleNamespace(get=lambda key: ACCOUNT if key == "default/strict" else None)
    endpoint = SimpleNamespace(cache=cache, decode_entry=lambda entry: entry)
    resource = by_kind("v1", "Pod")
    assert resource is not None
    pod = {"metadata": {"name": "p", "annotations": annotations or {}}, "spec": spec}
    attributes = Attributes("CREATE", resource, pod, None, User("u"), namespace="default", name="p")
    return ServiceAccounts(SimpleNamespace(endpoint=lambda group, plural: endpoint)), attributes


async def test_a_pod_gets_the_token_and_the_pull_secrets_of_its_account() -> None:
    plugin, attributes = admission({"serviceAccountName": "strict", "containers": [{"name": "c"}]})
    await plugin.admit(attributes)
    await plugin.validate(attributes)
    assert attributes.obj is not None
    spec = attributes.obj["spec"]
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    token, authority, namespace = spec["volumes"][0]["projected"]["sources"]
    assert token == {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}
    assert (authority["configMap"]["name"], "downwardAPI" in namespace) == ("kube-root-ca.crt", True)
    mount = {"name": spec["volumes"][0]["name"], "readOnly": True, "mountPath": MOUNT_PATH}
    assert spec["containers"][0]["volumeMounts"] == [mount]


def reading(secret: str) -> Object:
    return {"name": "c", "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": secret, "key": "k"}}}]}


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"volumes": [{"name": "v", "secret": {"secretName": "mine"}}], "containers": [reading("mine")]}, None),
        ({"volumes": [{"name": "v", "secret": {"secretName": "other"}}]}, f'volume with secret.secretName="other" {UNKNOWN} secret'),
        ({"containers": [reading("other")]}, f'container c with envVar A referencing secret.secretName="other" {UNKNOWN} secret'),
        ({"initContainers": [reading("other")]}, f'init container c with envVar A referencing secret.secretName="other" {UNKNOWN} secret'),
        ({"containers": [{"name": "c", "envFrom": [{"secretRef": {"name": "other"}}]}]}, f'container c with envFrom referencing secret.secretName="other" {UNKNOWN} secret'),
        ({"imagePullSecrets": [{"name": "other"}]}, f'imagePullSecrets[0].name="other" {UNKNOWN} imagePullSecret'),
    ],
)  # fmt: skip
async def test_an_account_may_insist_on_its_own_secrets(spec: Object, why: str | None) -> None:
    plugin, attributes = admission({"serviceAccountName": "strict", **spec})
    if why is None:
        await plugin.validate(attributes)
        return
    with pytest.raises(StatusError) as refused:
        await plugin.validate(attributes)
    assert refused.value.message == REFUSED + why


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"serviceAccountName": "strict"}, "a mirror pod may not reference service accounts"),
        ({"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}, "a mirror pod may not reference secrets"),
        ({"volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": "s"}}]}}]}, "a mirror pod may not reference secrets"),
        ({"containers": [reading("s")]}, "a mirror pod may not reference secrets"),
        ({"volumes": [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]}, "a mirror pod may not use ServiceAccountToken volume projections"),
    ],
)  # fmt: skip
async def test_a_mirror_pod_refers_to_nothing(spec: Object, why: str) -> None:
    plugin, attributes = admission(spec, {"kubernetes.io/config.mirror": "x"})
    await plugin.admit(attributes)
    with pytest.raises(StatusError) as refused:
        await plugin.validate(attributes)
    assert refused.value.message == REFUSED + why


async def test_an_account_that_is_not_there_is_named() -> None:
    plugin, attributes = admission({"serviceAccountName": "other"})

    async def nothing(key: str) -> None:
        return None

    plugin._context.endpoint("", "serviceaccounts").live = nothing
    with pytest.raises(StatusError) as refused:
        await plugin.admit(attributes)
    text = 'error looking up service account default/other: serviceaccount "other" not found'
    assert refused.value.message == REFUSED + text
