"""Which plugins are on, and where their configuration comes from."""

from pathlib import Path

import pytest

from apiserver.admission.plugins import DEFAULT, ORDER, configurations, enabled


def test_what_is_on_by_default_runs_in_the_fixed_order() -> None:
    assert enabled((), ()) == [name for name in ORDER if name in DEFAULT]


def test_flags_turn_plugins_on_and_off() -> None:
    names = enabled(("NodeRestriction",), ("PodSecurity", "ResourceQuota"))
    assert names[:4] == ["NamespaceLifecycle", "LimitRanger", "ServiceAccount", "NodeRestriction"]
    assert not {"PodSecurity", "ResourceQuota"} & set(names)


@pytest.mark.parametrize(
    ("on", "off", "why"),
    [
        (("Magic",), (), '--enable-admission-plugins: plugin "Magic" is unknown'),
        ((), ("Magic",), '--disable-admission-plugins: plugin "Magic" is unknown'),
        (("Priority",), ("Priority",), r"\[Priority\] in enable-admission-plugins and disable-admission-plugins overlapped"),
    ],
)  # fmt: skip
def test_flags_that_make_no_sense_are_refused(on: tuple[str, ...], off: tuple[str, ...], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        enabled(on, off)


def test_a_plugin_s_configuration_stands_in_the_file_or_beside_it(tmp_path: Path) -> None:
    (tmp_path / "security.yaml").write_text("defaults: {enforce: baseline}\n")
    file = tmp_path / "admission.yaml"
    file.write_text(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n"
        "- {name: PodSecurity, path: security.yaml}\n- {name: ResourceQuota, configuration: {limitedResources: []}}\n"
    )
    assert configurations(str(file)) == {
        "PodSecurity": {"defaults": {"enforce": "baseline"}},
        "ResourceQuota": {"limitedResources": []},
    }
    assert configurations("") == {}


@pytest.mark.parametrize("text", ["kind: Pod\n", "- a\n", "{"])
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "admission.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match="--admission-control-config-file"):
        configurations(str(file))
