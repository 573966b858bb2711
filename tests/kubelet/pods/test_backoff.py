from kubelet.pods.backoff import Backoff


def test_the_first_failure_is_retried_at_once_and_later_ones_wait_longer() -> None:
    backoff, now, waits = Backoff(), 1000.0, []
    for _ in range(8):
        waits.append(backoff.remaining("k", now, now))
        backoff.next("k", now, now)
        now += 1
    assert waits == [0, 10, 20, 40, 80, 160, 300, 300]


def test_the_wait_counts_from_the_failure() -> None:
    backoff = Backoff()
    backoff.next("k", 100, 100)
    assert backoff.remaining("k", 104, 110) == 4
    assert backoff.remaining("k", 104, 120) == 0


def test_ten_quiet_minutes_are_forgiven() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.next("k", 100, 100)
    assert backoff.remaining("k", 100 + 601, 100 + 601) == 0
    backoff.next("k", 701, 701)
    assert backoff.get("k") == 10


def test_a_pod_that_is_gone_is_forgotten_with_all_its_containers() -> None:
    backoff = Backoff()
    for key in ("a_1", "a_2", "b_1"):
        backoff.next(key, 1, 1)
    backoff.forget("a")
    assert [backoff.get(k) for k in ("a_1", "a_2", "b_1")] == [0, 0, 10]
