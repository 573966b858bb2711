"""What ``/metrics`` tells, under upstream's names, in Prometheus' text format.

Counting is on the path of every request, so it is an addition in a dict; the text is made when somebody asks.
"""

import os
import resource as rlimits
import time
from collections.abc import Callable, Iterable

_BUCKETS = (0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60)
_REQUEST_LABELS = ("code", "group", "resource", "scope", "subresource", "verb", "version")
_DURATION_LABELS = ("group", "resource", "scope", "subresource", "verb", "version")

Labels = tuple[str, ...]


class Histogram:
    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(_BUCKETS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        for i, bound in enumerate(_BUCKETS):
            if seconds <= bound:
                self.counts[i] += 1
                break
        else:
            self.counts[-1] += 1
        self.total += seconds


class Metrics:
    def __init__(self) -> None:
        self.requests: dict[Labels, int] = {}
        self.durations: dict[Labels, Histogram] = {}
        self.inflight = {"mutating": 0, "readOnly": 0}
        self.long_running: dict[str, int] = {}
        self.objects: Callable[[], Iterable[tuple[str, int]]] = lambda: ()
        self.watchers: Callable[[], Iterable[tuple[str, int]]] = lambda: ()
        self._started = time.time()

    def observe(self, labels: Labels, code: int, seconds: float | None) -> None:
        """One request with ``_DURATION_LABELS``; ``seconds`` None for watches and other streams."""
        key = (str(code), *labels)
        self.requests[key] = self.requests.get(key, 0) + 1
        if seconds is not None:
            histogram = self.durations.get(labels)
            if histogram is None:
                histogram = self.durations[labels] = Histogram()
            histogram.observe(seconds)

    def render(self) -> str:
        out: list[str] = []
        _head(out, "apiserver_request_total", "counter", "Counter of apiserver requests.")
        for key, count in sorted(self.requests.items()):
            out.append(f"apiserver_request_total{_labels(_REQUEST_LABELS, key)} {count}")
        name = "apiserver_request_duration_seconds"
        _head(out, name, "histogram", "Response latency distribution in seconds.")
        for key, histogram in sorted(self.durations.items()):
            _histogram(out, name, key, histogram)
        _head(out, "apiserver_current_inflight_requests", "gauge", "Requests being served now.")
        for kind, count in self.inflight.items():
            out.append(f'apiserver_current_inflight_requests{{request_kind="{kind}"}} {count}')
        _head(out, "apiserver_storage_objects", "gauge", "Number of stored objects by kind.")
        for name, count in self.objects():
            out.append(f'apiserver_storage_objects{{resource="{name}"}} {count}')
        _head(out, "apiserver_registered_watchers", "gauge", "Number of watches by resource.")
        for name, count in self.watchers():
            if count:
                out.append(f'apiserver_registered_watchers{{resource="{name}"}} {count}')
        self._process(out)
        return "\n".join(out) + "\n"

    def _process(self, out: list[str]) -> None:
        usage = rlimits.getrusage(rlimits.RUSAGE_SELF)
        with open("/proc/self/statm") as file:
            resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        _head(out, "process_cpu_seconds_total", "counter", "User and system CPU time.")
        out.append(f"process_cpu_seconds_total {usage.ru_utime + usage.ru_stime:.2f}")
        _head(out, "process_resident_memory_bytes", "gauge", "Resident memory size.")
        out.append(f"process_resident_memory_bytes {resident}")
        _head(out, "process_start_time_seconds", "gauge", "Start time since the epoch.")
        out.append(f"process_start_time_seconds {self._started:.3f}")


def _head(out: list[str], name: str, kind: str, help: str) -> None:
    out.append(f"# HELP {name} {help}")
    out.append(f"# TYPE {name} {kind}")


def _labels(names: Labels, values: Labels, more: str = "") -> str:
    pairs = [f'{n}="{_escape(v)}"' for n, v in zip(names, values, strict=True)]
    if more:
        pairs.append(more)
    return "{" + ",".join(pairs) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _histogram(out: list[str], name: str, key: Labels, histogram: Histogram) -> None:
    seen = 0
    for bound, count in zip(_BUCKETS, histogram.counts, strict=False):
        seen += count
        out.append(f"{name}_bucket{_labels(_DURATION_LABELS, key, f'le={chr(34)}{bound}{chr(34)}')} {seen}")
    seen += histogram.counts[-1]
    out.append(f"{name}_bucket{_labels(_DURATION_LABELS, key, f'le={chr(34)}+Inf{chr(34)}')} {seen}")
    out.append(f"{name}_sum{_labels(_DURATION_LABELS, key)} {histogram.total:.6f}")
    out.append(f"{name}_count{_labels(_DURATION_LABELS, key)} {seen}")
