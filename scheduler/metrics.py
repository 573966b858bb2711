"""What the scheduler tells Prometheus, under upstream's names."""

from collections.abc import Callable

from prometheus_client import Counter, Gauge, Histogram

_ATTEMPT_BUCKETS = tuple(0.001 * 2**n for n in range(15))
_E2E_BUCKETS = tuple(0.01 * 2**n for n in range(20))
_PROFILE = "default-scheduler"

_attempts = Counter(
    "scheduler_schedule_attempts",
    "Number of attempts to schedule pods, by the result. 'unschedulable' means a pod could not be scheduled, while "
    "'error' means an internal scheduler problem.",
    ("result", "profile"),
)
_attempt_seconds = Histogram(
    "scheduler_scheduling_attempt_duration_seconds",
    "Scheduling attempt latency in seconds (scheduling algorithm + binding)",
    ("result", "profile"),
    buckets=_ATTEMPT_BUCKETS,
)
algorithm_seconds = Histogram(
    "scheduler_scheduling_algorithm_duration_seconds",
    "Scheduling algorithm latency in seconds",
    buckets=_ATTEMPT_BUCKETS,
)
_pod_attempts = Histogram(
    "scheduler_pod_scheduling_attempts",
    "Number of attempts to successfully schedule a pod.",
    buckets=(1, 2, 4, 8, 16),
)
_sli_seconds = Histogram(
    "scheduler_pod_scheduling_sli_duration_seconds",
    "E2e latency for a pod being scheduled, from the time the pod enters the scheduling queue",
    ("attempts",),
    buckets=_E2E_BUCKETS,
)
preemption_attempts = Counter("scheduler_preemption_attempts", "Total preemption attempts in the cluster till now")
preemption_victims = Histogram(
    "scheduler_preemption_victims", "Number of selected preemption victims", buckets=(1, 2, 4, 8, 16, 32, 64)
)
_incoming = Counter(
    "scheduler_queue_incoming_pods",
    "Number of pods added to scheduling queues by event and queue type.",
    ("queue", "event"),
)
_pending = Gauge("scheduler_pending_pods", "Number of pending pods, by the queue type.", ("queue",))
_cache_size = Gauge("scheduler_cache_size", "Number of nodes, pods, and assumed (bound) pods in the cache.", ("type",))


def attempted(result: str, seconds: float) -> None:
    """``result``: scheduled, unschedulable or error."""
    _attempts.labels(result, _PROFILE).inc()
    _attempt_seconds.labels(result, _PROFILE).observe(seconds)


def scheduled(attempts: int, waited: float) -> None:
    _pod_attempts.observe(attempts)
    _sli_seconds.labels(str(min(attempts, 15)) if attempts < 16 else "16+").observe(waited)


def queued(place: str, event: str) -> None:
    _incoming.labels(place, event).inc()


def watch_sizes(queue_sizes: Callable[[], dict[str, int]], cache_sizes: Callable[[], dict[str, int]]) -> None:
    """Sizes are counted when somebody asks."""

    def tell(gauge: Gauge, name: str, sizes: Callable[[], dict[str, int]]) -> None:
        gauge.labels(name).set_function(lambda: sizes()[name])

    for name in ("active", "backoff", "unschedulable", "gated"):
        tell(_pending, name, queue_sizes)
    for name in ("nodes", "pods", "assumed_pods"):
        tell(_cache_size, name, cache_sizes)
