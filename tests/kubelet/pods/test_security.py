import pytest

from kubelet.cri.api import Image
from kubelet.pods.failures import CREATE_CONFIG, ContainerFailure
from kubelet.pods.security import check_non_root, security_context
from tests.kubelet.making import container, pod


def image(user: str) -> Image:
    return Image("sha256:1", [], [], 0, user)


def test_the_containers_own_word_goes_before_the_pods() -> None:
    own = container(
        securityContext={
            "runAsUser": 7,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]},
        }
    )
    of = pod(own, securityContext={"runAsUser": 5, "runAsGroup": 6, "fsGroup": 9, "supplementalGroups": [8]})
    found = security_context(of, own)
    assert (found.run_as_user, found.run_as_group, found.supplemental_groups) == (7, 6, [8, 9])
    assert found.readonly_rootfs
    assert found.no_new_privs
    assert (found.add_capabilities, found.drop_capabilities) == (["NET_ADMIN"], ["ALL"])
    assert not found.privileged


def test_nothing_is_restricted_unless_asked_for() -> None:
    found = security_context(pod(), container())
    assert found.run_as_user is None
    assert not found.no_new_privs


@pytest.mark.parametrize(
    ("context", "user", "why"),
    [
        ({"runAsNonRoot": True}, "", "image will run as root"),
        ({"runAsNonRoot": True}, "0:0", "image will run as root"),
        ({"runAsNonRoot": True}, "www", "non-numeric user (www), cannot verify user is non-root"),
        ({"runAsNonRoot": True, "runAsUser": 0}, "1000", "runAsUser breaks non-root policy"),
    ],
)
def test_root_is_refused_where_it_is_not_wanted(context: dict[str, object], user: str, why: str) -> None:
    own = container(securityContext=context)
    with pytest.raises(ContainerFailure) as raised:
        check_non_root(pod(own), own, image(user))
    assert raised.value.reason == CREATE_CONFIG
    assert why in raised.value.message


@pytest.mark.parametrize("user", ["1000", "1000:1000"])
def test_other_users_may_run(user: str) -> None:
    own = container(securityContext={"runAsNonRoot": True})
    check_non_root(pod(own), own, image(user))


def test_a_user_of_the_pods_makes_a_root_image_acceptable() -> None:
    check_non_root(pod(securityContext={"runAsNonRoot": True, "runAsUser": 1}), container(), image(""))
