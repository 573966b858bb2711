"""Golden transcripts: Services and endpoints in ``testdata/*.yaml``, what iptables-restore gets in ``*.rules`` beside it.

``UPDATE_GOLDEN=1 pytest tests/proxy`` writes them anew; then read the difference.
"""

import os
from pathlib import Path

import pytest
import yaml

from proxy import chains
from proxy.endpoint import Endpoint
from proxy.rules import Settings, port_rules, restore_input
from proxy.service import ServicePort
from tests.proxy.objects import all_rules, scenario

DATA = Path(__file__).parent / "testdata"


@pytest.mark.parametrize("name", sorted(path.stem for path in DATA.glob("*.yaml")))
def test_the_rules_are_those_of_the_transcript(name: str) -> None:
    tracker, settings = scenario(yaml.safe_load((DATA / f"{name}.yaml").read_text()))
    text = restore_input(all_rules(tracker, settings), settings)
    golden = DATA / f"{name}.rules"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()


def test_chains_are_called_as_upstream_calls_them() -> None:
    assert chains.cluster_policy("ns1/svc1:p80", "tcp") == "KUBE-SVC-XPGD46QRK7WJZT7O"
    assert chains.endpoint("ns1/svc1:p80", "tcp", "10.180.0.1:80") == "KUBE-SEP-SXIVWICOYRO3J4NJ"
    assert chains.external("ns2/svc2:p80", "tcp") == "KUBE-EXT-GNZBNJ2PO5MGZ6GT"
    assert chains.firewall("ns5/svc5:p80", "tcp") == "KUBE-FW-NUKIZ6OKUXPJNT4C"


def test_names_of_chains_fit_into_what_iptables_allows() -> None:
    long = "n" * 63 + "/" + "s" * 63 + ":" + "p" * 63
    for name in (chains.local_policy(long, "sctp"), chains.endpoint(long, "sctp", "255.255.255.255:65535")):
        assert len(name) <= 28


WEB = ServicePort("default/web", "", "tcp", "10.96.0.10", 80)


def endpoint(last: int, **changes: bool) -> Endpoint:
    given = {"local": False, "ready": True, "serving": True, "terminating": False, **changes}
    return Endpoint(f"10.244.0.{last}", 8080, **given)


def test_every_endpoint_gets_the_same_share() -> None:
    rules = port_rules(WEB, [endpoint(i) for i in range(1, 5)], Settings())
    spread = rules.nat_chains[chains.cluster_policy("default/web", "tcp")]
    left, shares = 1.0, []
    for rule in spread:
        chance = float(rule.split("--probability ")[1].split()[0]) if "--probability" in rule else 1.0
        shares.append(left * chance)
        left *= 1 - chance
    assert shares == pytest.approx([0.25] * 4)


def test_a_partial_input_declares_only_the_changed_ports_chains_and_removes_stale_ones() -> None:
    other = ServicePort("default/other", "", "tcp", "10.96.0.11", 80)
    rules = {"web": port_rules(WEB, [endpoint(1)], Settings()), "other": port_rules(other, [endpoint(2)], Settings())}
    text = restore_input(rules, Settings(), changed=["web", "gone"], stale_chains=["KUBE-SEP-OLD"])
    web, elsewhere = chains.cluster_policy("default/web", "tcp"), chains.cluster_policy("default/other", "tcp")
    assert f":{web} - [0:0]" in text
    assert f":{elsewhere} - [0:0]" not in text
    assert f"-A {elsewhere}" not in text
    assert f"-j {elsewhere}" in text
    assert text.index(":KUBE-SEP-OLD - [0:0]") < text.index("-X KUBE-SEP-OLD")


def test_without_a_pod_network_to_tell_outsiders_by_nobody_is_masqueraded_unless_all_are() -> None:
    chain = chains.cluster_policy("default/web", "tcp")
    plain = port_rules(WEB, [endpoint(1)], Settings()).nat_chains[chain]
    everybody = port_rules(WEB, [endpoint(1)], Settings(masquerade_all=True)).nat_chains[chain]
    assert not any(chains.MARK_MASQ in rule for rule in plain)
    assert everybody[0].endswith(f"--dport 80 -j {chains.MARK_MASQ}")
