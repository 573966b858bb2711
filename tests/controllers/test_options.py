import pytest

from controllers import options


def test_flags_take_both_spellings_and_gos_durations() -> None:
    flags = options.parse(
        ["--kubeconfig", "/x", "--node-monitor-grace-period=1m30s", "--leader-elect=false", "-v", "4"]
    )
    assert (flags.kubeconfig, flags.node_monitor_grace_period, flags.leader_elect, flags.v) == ("/x", 90.0, False, 4)


def test_an_unknown_flag_is_refused() -> None:
    with pytest.raises(SystemExit):
        options.parse(["--no-such-flag"])
