"""What one API server does over TLS, on our store and on a real etcd, beside a real kube-apiserver.

    python -m benchmarks.api [--store etcd_raft etcd] [--seconds 3] [--runs 5] [--only GET] [--json]

The load comes from ``load.c`` (compiled at the start: needs gcc and OpenSSL's headers), so the client costs little: HTTP/1.1,
keep-alive, a bearer token. The work is what was measured at a kube-apiserver 1.20.2 with etcd 3.4 on two such cores (``REAL``):
6,100 stored pods of 3 KB, ConfigMaps as small as can be, watches of ConfigMaps. Figures are medians; ``us/op`` is the CPU
that the API server and the store spent on an operation (an event, for watches), which other work on the machine hardly changes.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.apiserver.harness import TOKEN, ApiServer, Pki, Store

Figures = dict[str, float]

PODS = {"l100": 100, "l1000": 1000, "l5000": 5000}
NAMESPACES = (*PODS, "bench", "watched")
CONFIG_MAP = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"%s"},"data":{"k":"v{i}"}}'
POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "pod-{i}",
        "labels": {"app": "bench", "tier": "backend", "pod-template-hash": "5d59d67564"},
        # As large as what was stored there, owners of fields included.
        "annotations": {"bench/created-by": "benchmark", "bench/padding": "x" * 284},
    },
    "spec": {
        "schedulerName": "none",
        "terminationGracePeriodSeconds": 30,
        "containers": [
            {
                "name": "main",
                "image": "busybox:latest",
                "command": ["sleep", "100000"],
                "env": [
                    {"name": "MODE", "value": "prod"},
                    {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                ],
                "ports": [{"containerPort": 8080, "name": "http"}],
                "resources": {
                    "requests": {"cpu": "100m", "memory": "64Mi"},
                    "limits": {"cpu": "200m", "memory": "128Mi"},
                },
                "livenessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 10},
            }
        ],
    },
}


class Real(NamedTuple):
    """What the real thing does: operations or events a second, and the median latency (the median delay of an event) in ms."""

    rate: float
    p50: float | None = None


#: kube-apiserver 1.20.2 and etcd on two such cores.
REAL = {
    "GET pod, 1 in flight": Real(797, 1.2),
    "GET pod, 32 in flight": Real(2481, 11),
    "LIST 1,000 pods": Real(10.9, 94),
    "LIST 1,000 pods, resourceVersion=0": Real(14.2, 69),
    "LIST 5,000 pods": Real(2.2, 447),
    "LIST 5,000 pods, resourceVersion=0": Real(3.3, 316),
    "LIST, first page of 500": Real(25, 33),
    "POST ConfigMap, 1 in flight": Real(626, 1.4),
    "POST ConfigMap, 32 in flight": Real(1661, 16),
    "PUT ConfigMap, 1 in flight": Real(548, 1.5),
    "PUT ConfigMap, 32 in flight": Real(1078, 25),
    "merge PATCH, 1 in flight": Real(589, 1.5),
    "merge PATCH, 32 in flight": Real(997, 30),
    "POST pod, 16 in flight": Real(597, 24),
    "watch: 32 writers, 100 watchers": Real(47832, 177),
    "watch: 32 writers, 500 watchers": Real(79902, 626),
    "watch: 1 writer, 100 watchers": Real(23454, 5.4),
    "watch: 1 writer, 500 watchers": Real(35077, 19),
    "watch: 20 creates/s, 100 watchers": Real(2017, 4.8),
    "watch: 20 creates/s, 500 watchers": Real(10030, 9.8),
}


class Bench:
    """An API server on a store, and the loads that are put on it."""

    def __init__(self, load: Path, server: ApiServer, seconds: float, runs: int) -> None:
        self._load, self._server, self._seconds, self._runs = load, server, seconds, runs

    def call(self, mode: str, *arguments: object) -> Figures:
        command = [self._load, mode, self._server.port, TOKEN, *arguments]
        environment = {**os.environ, "LOAD_PIDS": f"{pid_of(self._server)},{pid_of(self._server.store)}"}
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            raise SystemExit(f"{' '.join(map(str, arguments))}: {done.stderr}")
        found: dict[str, Any] = json.loads(done.stdout)
        cpu = found.pop("cpu")
        if found["errors"]:
            raise SystemExit(
                f"{' '.join(map(str, arguments))}: {found['errors']:.0f} answers like {found['status']:.0f}"
            )
        found["server_us"], found["store_us"] = (seconds / found["count"] * 1e6 for seconds in cpu)
        return found

    def http(
        self, in_flight: int, method: str, path: str, body: str = "", media: str = "application/json", count: int = 0
    ) -> Figures:
        """One warm-up, then the median of the runs."""
        seconds = 0 if count else self._seconds
        runs = []
        for number in range(self._runs + 1):
            warm = number == 0
            limits = (min(count, 200), 0) if warm and count else (count, 0.3 if warm else seconds)
            found = self.call("http", in_flight, *limits, method, path, *([body, media] if body else []))
            if not warm:
                runs.append(found)
        return median(runs)

    def watch(self, watchers: int, writers: int, events: int, rate: float = 0) -> Figures:
        runs = []
        path = "/api/v1/namespaces/watched/configmaps"
        for _ in range(self._runs):
            revision = self.get(f"{path}?limit=1")["metadata"]["resourceVersion"]
            runs.append(self.call("watch", watchers, writers, events, rate, path, revision))
            self.call("http", 1, 1, 0, "DELETE", path)
        return median(runs)

    def fill(self, path: str, body: str, count: int, in_flight: int = 16) -> None:
        self.call("http", in_flight, count, 0, "POST", path, body)

    def get(self, path: str) -> Any:
        import ssl
        import urllib.request

        request = urllib.request.Request(f"{self._server.url}{path}", headers={"authorization": f"Bearer {TOKEN}"})
        context = ssl.create_default_context(cafile=str(self._server.pki.ca))
        with urllib.request.urlopen(request, context=context) as answer:
            return json.load(answer)

    # --- what the servers spend

    def memory(self) -> float:
        """The API server's PSS in MiB."""
        for line in Path(f"/proc/{pid_of(self._server)}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
        raise ValueError("no Pss in smaps_rollup")

    @contextmanager
    def idle_watches(self, count: int, path: str) -> Iterator[None]:
        command = [self._load, "idle", self._server.port, TOKEN, count, path]
        with subprocess.Popen(
            list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdin is not None, "it is a pipe"
            assert process.stdout is not None, "it is a pipe"
            if not process.stdout.readline():
                raise SystemExit("the idle watches could not be opened")
            yield
            process.stdin.close()


def pid_of(running: ApiServer | Store) -> int:
    assert running.process is not None, "it has been started"
    return running.process.popen.pid


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def median(runs: list[Figures]) -> Figures:
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def measure(bench: Bench, wanted: str) -> Iterator[tuple[str, Figures]]:
    """Each work of ``REAL`` in turn, those whose name begins as asked."""
    maps = "/api/v1/namespaces/bench/configmaps"
    one, pods = "/api/v1/namespaces/l100/pods/pod-7", "/api/v1/namespaces/%s/pods%s"
    bench.fill(maps, CONFIG_MAP % "m{i}", 32)
    merge, put = "application/merge-patch+json", "application/json"

    def write(method: str, in_flight: int) -> Figures:
        if method == "POST":
            return bench.http(in_flight, "POST", maps, CONFIG_MAP % "c{r}-{i}", count=2000 if in_flight > 1 else 600)
        body, media = ('{"data":{"k":"{r}-{i}"}}', merge) if method == "PATCH" else (CONFIG_MAP % "m{w}", put)
        return bench.http(in_flight, method, f"{maps}/m{{w}}", body, media)

    works = {
        "GET pod, 1 in flight": lambda: bench.http(1, "GET", one),
        "GET pod, 32 in flight": lambda: bench.http(32, "GET", one),
        "LIST 1,000 pods": lambda: bench.http(1, "GET", pods % ("l1000", "")),
        "LIST 1,000 pods, resourceVersion=0": lambda: bench.http(1, "GET", pods % ("l1000", "?resourceVersion=0")),
        "LIST 5,000 pods": lambda: bench.http(1, "GET", pods % ("l5000", "")),
        "LIST 5,000 pods, resourceVersion=0": lambda: bench.http(1, "GET", pods % ("l5000", "?resourceVersion=0")),
        "LIST, first page of 500": lambda: bench.http(1, "GET", pods % ("l5000", "?limit=500")),
        "POST ConfigMap, 1 in flight": lambda: write("POST", 1),
        "POST ConfigMap, 32 in flight": lambda: write("POST", 32),
        "PUT ConfigMap, 1 in flight": lambda: write("PUT", 1),
        "PUT ConfigMap, 32 in flight": lambda: write("PUT", 32),
        "merge PATCH, 1 in flight": lambda: write("PATCH", 1),
        "merge PATCH, 32 in flight": lambda: write("PATCH", 32),
        "POST pod, 16 in flight": lambda: bench.http(16, "POST", pods % ("bench", ""), pod("p{r}-{i}"), count=1000),
        "watch: 32 writers, 100 watchers": lambda: bench.watch(100, 32, 200),
        "watch: 32 writers, 500 watchers": lambda: bench.watch(500, 32, 200),
        "watch: 1 writer, 100 watchers": lambda: bench.watch(100, 1, 200),
        "watch: 1 writer, 500 watchers": lambda: bench.watch(500, 1, 200),
        "watch: 20 creates/s, 100 watchers": lambda: bench.watch(100, 1, 60, 20),
        "watch: 20 creates/s, 500 watchers": lambda: bench.watch(500, 1, 60, 20),
    }
    for name, work in works.items():
        if name.startswith(wanted):
            yield name, work()


def pod(name: str) -> str:
    return json.dumps({**POD, "metadata": {**POD["metadata"], "name": name}}, separators=(",", ":"))


def fixed(bench: Bench, server: ApiServer) -> Iterator[tuple[str, float, str]]:
    """Memory and start with 10,000 pods, and what idle watches cost."""
    bench.fill("/api/v1/namespaces/bench/pods", pod("more-{i}"), 10_000 - sum(PODS.values()))
    yield "memory after the load, 10,000 pods", bench.memory(), "MiB"
    server.stop()
    began = time.monotonic()
    server.start()
    yield "start with 10,000 pods to /readyz", time.monotonic() - began, "s"
    empty = bench.memory()
    yield "memory after a start with 10,000 pods", empty, "MiB"
    with bench.idle_watches(2000, "/api/v1/namespaces/watched/configmaps?watch=1&allowWatchBookmarks=true"):
        yield "memory of an idle watch", (bench.memory() - empty) * 1024 / 2000, "KiB"
        before, began = cpu_seconds(pid_of(server)), time.monotonic()
        time.sleep(10)
        yield (
            "CPU of 2,000 idle watches",
            (cpu_seconds(pid_of(server)) - before) / (time.monotonic() - began) * 100,
            "% of a core",
        )


def on_store(kind: str, load: Path, flags: argparse.Namespace) -> dict[str, Figures]:
    folder = Path(tempfile.mkdtemp(prefix="api-bench-"))
    store = Store(folder / "store", kind)
    server = ApiServer(folder, store, Pki(folder / "pki"), "--disable-admission-plugins=ServiceAccount", *flags.flag)
    results: dict[str, Figures] = {}
    try:
        store.start()
        server.start()
        bench = Bench(load, server, flags.seconds, flags.runs)
        for name in NAMESPACES:
            bench.fill("/api/v1/namespaces", json.dumps({"metadata": {"name": name}}), 1)
        for name, count in PODS.items():
            bench.fill(f"/api/v1/namespaces/{name}/pods", pod("pod-{i}"), count)
        size = bench.call("http", 1, 1, 0, "GET", "/api/v1/namespaces/l100/pods/pod-7")["bytes"]
        say(flags, f"{kind}, 6,100 pods of {size:.0f} bytes")
        head = f"{'work':37}{'rate/s':>9}{'p50 ms':>8}{'p99 ms':>8}{'server us':>10}{'store us':>9}{'client':>7}"
        say(flags, f"  {head}{'real':>8}{'ratio':>7}{'delay':>7}")
        for name, found in measure(bench, flags.only):
            results[name] = found
            say(flags, f"  {row(name, found)}")
        if not flags.only:
            for name, value, unit in fixed(bench, server):
                results[name] = {"value": value}
                say(flags, f"  {name:37}{value:9.2f} {unit}")
    finally:
        server.stop()
        store.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return results


def row(name: str, found: Figures) -> str:
    real = REAL[name]
    ratio = found["rate"] / real.rate
    delay = f"{found['p50'] / real.p50:7.2f}" if real.p50 else ""
    return (
        f"{name:37}{found['rate']:9.1f}{found['p50']:8.2f}{found['p99']:8.2f}{found['server_us']:10.1f}"
        f"{found['store_us']:9.1f}{found['client']:7.2f}{real.rate:8.0f}{ratio:7.2f}{delay}"
    )


def say(flags: argparse.Namespace, text: str) -> None:
    if not flags.json:
        print(text, flush=True)


def compiled(folder: Path) -> Path:
    program = folder / "load"
    source = Path(__file__).with_name("load.c")
    subprocess.run(["gcc", "-O2", "-o", str(program), str(source), "-lssl", "-lcrypto"], check=True)
    return program


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.api", description=__doc__.partition("\n")[0])
    parser.add_argument("--store", nargs="*", choices=("etcd_raft", "etcd"), default=["etcd_raft", "etcd"])
    parser.add_argument("--seconds", type=float, default=3.0, help="how long a run of reads or changes takes")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", default="", help="how the names of the wanted works begin")
    parser.add_argument("--flag", action="append", default=[], help="a flag for the API server")
    parser.add_argument("--json", action="store_true")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="api-load-") as folder:
        load = compiled(Path(folder))
        found = {kind: on_store(kind, load, flags) for kind in flags.store}
    if flags.json:
        print(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
