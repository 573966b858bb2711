"""What etcd's dashboards and alerts (etcd-mixin) ask for is there, of the same type as in etcd, and true."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from etcd_raft.client import EtcdError
from tests.etcd_raft.processes import ClusterProcesses, answers, eventually, free_ports, real_etcd

# Every name in the rules and panels of etcd's contrib/mixin that a member without --metrics=extensive serves.
MIXIN = """
etcd_server_has_leader etcd_server_is_leader etcd_server_leader_changes_seen_total etcd_server_proposals_failed_total
etcd_server_proposals_pending etcd_server_proposals_committed_total etcd_server_proposals_applied_total
etcd_server_quota_backend_bytes etcd_mvcc_db_total_size_in_bytes etcd_mvcc_db_total_size_in_use_in_bytes
etcd_disk_wal_fsync_duration_seconds_bucket etcd_disk_wal_fsync_duration_seconds_sum etcd_disk_wal_fsync_duration_seconds_count
etcd_disk_backend_commit_duration_seconds_bucket etcd_disk_backend_commit_duration_seconds_sum
etcd_disk_backend_commit_duration_seconds_count etcd_disk_backend_defrag_duration_seconds_bucket
etcd_network_client_grpc_received_bytes_total etcd_network_client_grpc_sent_bytes_total
etcd_network_peer_sent_bytes_total etcd_network_peer_received_bytes_total etcd_network_peer_sent_failures_total
etcd_network_peer_round_trip_time_seconds_bucket grpc_server_started_total grpc_server_handled_total
process_resident_memory_bytes process_cpu_seconds_total process_open_fds process_max_fds process_start_time_seconds
""".split()  # noqa: SIM905

Samples = dict[str, float]


def parse(text: str) -> tuple[dict[str, str], Samples]:
    """Types by name, and values by name and labels."""
    types, samples = {}, {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            types[name] = kind
        elif line and not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            samples[name] = float(value)
    return types, samples


def total(samples: Samples, name: str, **labels: str) -> float:
    """The sum of a metric's samples that carry these labels."""
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    return sum(
        value for key, value in samples.items() if re.split("[{ ]", key)[0] == name and all(w in key for w in wanted)
    )


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterProcesses]:
    found = ClusterProcesses(tmp_path_factory.mktemp("three"), 3, ["--log-level=warn"])
    for member, port in zip(found.members, free_ports(3), strict=True):
        member.flags = [*member.flags, f"--listen-metrics-urls=http://127.0.0.1:{port}"]
    found.start()
    yield found
    found.close()


async def scrape(url: str) -> tuple[dict[str, str], Samples]:
    async with httpx.AsyncClient() as http:
        answer = await http.get(f"{url}/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return parse(answer.text)


async def test_all_that_etcds_dashboards_ask_for_is_there(cluster: ClusterProcesses) -> None:
    await cluster.ready()
    for member in cluster.members:
        _, samples = await scrape(member.url)
        names = {re.split("[{ ]", key)[0] for key in samples}
        assert not set(MIXIN) - names
        assert samples["etcd_server_has_leader"] == 1
    leaders = [(await scrape(member.url))[1]["etcd_server_is_leader"] for member in cluster.members]
    assert sorted(leaders) == [0, 0, 1]


async def test_calls_are_counted_by_what_became_of_them(cluster: ClusterProcesses) -> None:
    await cluster.ready()
    url = cluster.members[0].url
    _, before = await scrape(url)
    async with cluster.client(cluster.members[0]) as client:
        for number in range(5):
            await client.put(b"k%d" % number, b"v")
        with pytest.raises(EtcdError):
            await client.get(b"k", revision=10_000)
    _, after = await scrape(url)

    def more(name: str, **labels: str) -> float:
        return total(after, name, **labels) - total(before, name, **labels)

    assert more("etcd_mvcc_put_total") == 5
    assert more("grpc_server_started_total", grpc_method="Put") == 5
    assert more("grpc_server_handled_total", grpc_method="Put", grpc_code="OK", grpc_type="unary") == 5
    assert more("grpc_server_handled_total", grpc_method="Range", grpc_code="OutOfRange") == 1
    assert more("etcd_server_proposals_applied_total") >= 5
    assert more("etcd_disk_wal_fsync_duration_seconds_count") >= 5
    assert more("etcd_disk_wal_fsync_duration_seconds_bucket", le="+Inf") == more(
        "etcd_disk_wal_fsync_duration_seconds_count"
    )
    assert more("etcd_network_client_grpc_received_bytes_total") > 100
    assert more("etcd_network_client_grpc_sent_bytes_total") > 100


async def test_traffic_between_members_is_counted_for_each(cluster: ClusterProcesses) -> None:
    await cluster.ready()
    leader = await cluster.leader()

    async def measured() -> bool:
        _, samples = await scrape(leader.url)
        return (
            total(samples, "etcd_network_active_peers") == 2
            and total(samples, "etcd_network_peer_round_trip_time_seconds_count") >= 2
            and total(samples, "etcd_network_peer_sent_bytes_total") > 0
            and total(samples, "etcd_network_peer_received_bytes_total") > 0
        )

    await eventually("the ways to both other members are measured", measured)


async def test_pages_are_on_the_metrics_address_too_and_keys_are_not(cluster: ClusterProcesses) -> None:
    await cluster.ready()
    url = cluster.members[0].flags[-1].partition("=")[2]
    async with httpx.AsyncClient(base_url=url) as http:
        assert (await http.get("/health")).json() == {"health": "true", "reason": ""}
        assert (await http.get("/readyz")).text == "ok\n"
        assert (await http.get("/livez?verbose")).text == "[+]serializable_read ok\nok\n"
        assert (await http.get("/version")).json()["etcdserver"].startswith("3.5.")
        assert "etcd_server_has_leader 1" in (await http.get("/metrics")).text
        assert (await http.post("/v3/kv/range", json={"key": "YQ=="})).status_code == 404


async def test_a_member_without_a_quorum_is_not_healthy_and_says_why(tmp_path: Path) -> None:
    cluster = ClusterProcesses(tmp_path, 2, ["--log-level=error", "--heartbeat-interval=20", "--election-timeout=200"])
    cluster.start()
    try:
        await cluster.ready()
        cluster.members[1].kill()
        async with httpx.AsyncClient(base_url=cluster.members[0].url, timeout=15) as http:

            async def unhealthy() -> bool:
                return (await http.get("/health")).json() == {"health": "false", "reason": "RAFT NO LEADER"}

            await eventually("the lonely member says so", unhealthy)
            assert (await http.get("/health")).status_code == 503
            assert (await http.get("/health?serializable=true")).json()["health"] == "true"
            assert (await http.get("/livez")).status_code == 200
            _, samples = await scrape(cluster.members[0].url)
            assert samples["etcd_server_has_leader"] == 0
            assert samples["etcd_server_health_failures"] >= 2
    finally:
        cluster.close()


@pytest.mark.binary("etcd")
async def test_each_metric_has_the_type_that_it_has_in_etcd(cluster: ClusterProcesses, tmp_path: Path) -> None:
    etcd = real_etcd()
    if etcd is None:
        pytest.skip("needs the executable etcd")
    await cluster.ready()
    real = ClusterProcesses(tmp_path, 1, ["--log-level=warn"], etcd)
    real.start()
    try:
        await answers(real.members[0])
        theirs, _ = await scrape(real.urls[0])
    finally:
        real.close()
    ours, _ = await scrape(cluster.urls[0])
    shared = set(ours) & set(theirs)
    assert len(shared) > 40
    assert {name: ours[name] for name in shared} == {name: theirs[name] for name in shared}
    # Members of a cluster of one have no peers; and a count of leases is ours.
    assert {name for name in set(ours) - shared if not name.startswith("etcd_network_")} == {
        "etcd_debugging_lease_total"
    }
