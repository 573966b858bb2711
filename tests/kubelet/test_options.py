import pytest

from kubelet.options import parse

NEEDED = ["--kubeconfig=/k", "--hostname-override=Node-1", "--node-ip=10.0.0.1"]


def test_upstreams_flags_are_understood() -> None:
    options = parse(
        [
            *NEEDED, "--node-labels=a=b,example.com/c=", "--register-with-taints=k=v:NoSchedule,x:NoExecute",
            "--cluster-dns", "10.96.0.10", "--node-status-update-frequency=1m30s", "--max-pods=5", "-v=4",
            "--container-log-max-size=1Mi", "--eviction-hard=memory.available<1Gi,nodefs.available<10%",
        ]
    )  # fmt: skip
    assert options.node_name == "node-1"
    assert options.node_ips == ["10.0.0.1"]
    assert options.node_labels == {"a": "b", "example.com/c": ""}
    assert options.taints == [
        {"key": "k", "effect": "NoSchedule", "value": "v"},
        {"key": "x", "effect": "NoExecute"},
    ]
    assert (options.cluster_dns, options.status_update_frequency) == (["10.96.0.10"], 90.0)
    assert (options.max_pods, options.verbosity, options.log_max_size) == (5, 4, 1 << 20)
    assert options.eviction_hard == {"memory.available": "1Gi", "nodefs.available": "10%"}


@pytest.mark.parametrize(
    "wrong",
    [
        "--node-labels=a",
        "--node-labels=a=b c",
        "--register-with-taints=k=v",
        "--eviction-hard=memory.available",
        "--eviction-hard=memory.available<lots",
        "--tls-cert-file=/only",
        "--container-log-max-files=1",
        "--rotate-certificates",
        "--hostname-override=not_a_name",
    ],
)
def test_nonsense_ends_with_one_line_and_code_2(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        parse([*NEEDED, wrong])
    assert raised.value.code == 2
    assert "error:" in capsys.readouterr().err
