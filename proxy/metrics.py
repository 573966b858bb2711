"""What the proxy tells Prometheus, under upstream's names."""

import time

from prometheus_client import Counter, Gauge, Histogram

_BUCKETS = tuple(0.001 * 2**n for n in range(15))

_sync_seconds = Histogram(
    "kubeproxy_sync_proxy_rules_duration_seconds", "SyncProxyRules latency in seconds", buckets=_BUCKETS
)
_full_seconds = Histogram(
    "kubeproxy_sync_full_proxy_rules_duration_seconds",
    "SyncProxyRules latency in seconds for full resyncs",
    buckets=_BUCKETS,
)
_partial_seconds = Histogram(
    "kubeproxy_sync_partial_proxy_rules_duration_seconds",
    "SyncProxyRules latency in seconds for partial resyncs",
    buckets=_BUCKETS,
)
_last_sync = Gauge(
    "kubeproxy_sync_proxy_rules_last_timestamp_seconds", "The last time proxy rules were successfully synced"
)
_rules_last = Gauge(
    "kubeproxy_sync_proxy_rules_iptables_last", "Number of iptables rules written by kube-proxy in last sync"
)
restore_failures = Counter(
    "kubeproxy_sync_proxy_rules_iptables_restore_failures", "Cumulative proxy iptables restore failures"
)
_service_changes = Counter("kubeproxy_sync_proxy_rules_service_changes", "Cumulative proxy rules Service changes")
_endpoint_changes = Counter("kubeproxy_sync_proxy_rules_endpoint_changes", "Cumulative proxy rules Endpoint changes")


def synced(seconds: float, *, full: bool, rules: int) -> None:
    _sync_seconds.observe(seconds)
    (_full_seconds if full else _partial_seconds).observe(seconds)
    _rules_last.set(rules)
    _last_sync.set(time.time())


def service_changed() -> None:
    _service_changes.inc()


def endpoints_changed() -> None:
    _endpoint_changes.inc()
