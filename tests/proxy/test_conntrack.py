from proxy.conntrack import Flow, stale

DNS, POD, OLD = ("10.96.0.10", 53), ("10.244.0.2", 5353), ("10.244.0.9", 5353)


def flow(to: tuple[str, int], answered: tuple[str, int]) -> Flow:
    return Flow(*to, *answered, key=b"")


def test_flows_to_a_service_that_nobody_of_it_answers_are_stale() -> None:
    good, dead, unanswered = flow(DNS, POD), flow(DNS, OLD), flow(DNS, DNS)
    assert stale([good, dead, unanswered], {DNS: {POD}}, {}) == [dead, unanswered]


def test_node_ports_are_known_by_their_number_alone() -> None:
    dead = flow(("192.168.0.2", 30053), OLD)
    assert stale([dead, flow(("192.168.0.2", 30054), OLD)], {}, {30053: {POD}}) == [dead]


def test_flows_that_concern_no_service_are_left_alone() -> None:
    assert stale([flow(("8.8.8.8", 53), ("8.8.8.8", 53))], {DNS: set()}, {}) == []
    assert len(stale([flow(DNS, POD)], {DNS: set()}, {})) == 1
