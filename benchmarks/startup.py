#!/usr/bin/env python3
"""How long a fresh cluster takes to be of use, and what it costs: medians over several runs of ``./mk8s up``.

    .venv/bin/python benchmarks/startup.py [--runs 5] [--json]

Times run from the command's start to: the API server ready, the node Ready, the first pod Running, the first answer through its Service.
The observer is this process: it asks the API server every 10 ms with a connection of its own, and costs the cluster that much.
Memory is PSS (shared pages split among their users), 5 s after; idle CPU is user and system time of all processes over 20 s.
"""

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from cluster import pidfile  # noqa: E402
from cluster.health import memory  # noqa: E402
from cluster.home import Home  # noqa: E402
from cluster.spec import Spec  # noqa: E402
from cluster.up import is_ready  # noqa: E402
from kubeclient import ApiError, Client, Config, TransportError  # noqa: E402

IDLE_SECONDS = 20
STAGES = ("API ready", "node Ready", "first pod Running", "first answer through the Service", "command returned")


async def watch_stages(home: Home, began: float, up: "subprocess.Popen[str]") -> dict[str, float]:
    """When each stage was first seen; ends early when ``up`` has failed."""

    seen: dict[str, float] = {}

    async def until(stage: str, condition: Any) -> None:
        while not up.poll():
            try:
                if await condition():
                    seen[stage] = time.monotonic() - began
                    return
            except (ApiError, TransportError, OSError, KeyError):
                pass
            await asyncio.sleep(0.01)

    while not home.kubeconfig.exists() and not up.poll():
        await asyncio.sleep(0.005)
    async with Client(Config.load(str(home.kubeconfig)), timeout=2.0) as client:
        nodes, pods = client.resource("v1", "nodes"), client.resource("v1", "pods")

        async def api() -> bool:
            return (await client.request("GET", "/readyz")).is_success

        async def node() -> bool:
            return any(is_ready(n) for n in (await nodes.list())["items"])

        async def pod() -> bool:
            return any(p["status"].get("phase") == "Running" for p in (await pods.list("default"))["items"])

        async def answer() -> bool:
            service = await client.resource("v1", "services").get("hello", "default")
            spec = Spec.load(home)
            url = f"http://{spec.node_address('node-1')}:{service['spec']['ports'][0]['nodePort']}/"
            return await asyncio.to_thread(lambda: b"Hello" in urllib.request.urlopen(url, timeout=1).read())

        for stage, condition in zip(STAGES, (api, node, pod, answer), strict=False):
            await until(stage, condition)
    return seen


def processes(home: Home) -> dict[str, int]:
    found = {}
    for name in home.processes_recorded():
        record = pidfile.load(home.run / f"{name}.pid")
        if record and record.alive:
            found[name] = record.pid
    return found


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / pidfile.TICKS


def run_once(number: int) -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(prefix="mk8s-startup-"))
    home = Home(f"bench{number}", folder)
    environment = {**os.environ, "MK8S_HOME": str(folder)}
    command = [str(ROOT / "mk8s"), "up", "--name", home.name, "-f", str(ROOT / "examples" / "01-hello.yaml")]
    try:
        began = time.monotonic()
        up = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        times = asyncio.run(asyncio.wait_for(watch_stages(home, began, up), 120))
        output, _ = up.communicate(timeout=120)
        if up.returncode:
            raise SystemExit(f"mk8s up failed:\n{output}")
        times["command returned"] = time.monotonic() - began
        time.sleep(5)
        pids = processes(home)
        pss = {name: memory(pid) / 1e6 for name, pid in pids.items()}
        before = {name: cpu_seconds(pid) for name, pid in pids.items()}
        time.sleep(IDLE_SECONDS)
        cpu = {name: 100 * (cpu_seconds(pid) - before[name]) / IDLE_SECONDS for name, pid in pids.items()}
        return {"times": times, "pss": pss, "cpu": cpu}
    finally:
        subprocess.run(
            [str(ROOT / "mk8s"), "down", "--name", home.name, "--purge"],
            env=environment,
            capture_output=True,
            check=False,
        )
        shutil.rmtree(folder, ignore_errors=True)


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    def medians(key: str) -> dict[str, float]:
        names = runs[0][key]
        return {name: statistics.median(run[key][name] for run in runs if name in run[key]) for name in names}

    return {
        "runs": len(runs),
        "seconds": medians("times"),
        "pss_mb": medians("pss"),
        "pss_sum_mb": statistics.median(sum(run["pss"].values()) for run in runs),
        "idle_cpu_percent": medians("cpu"),
        "idle_cpu_sum_percent": statistics.median(sum(run["cpu"].values()) for run in runs),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="at least 5 for a median that means something")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    runs = []
    for number in range(options.runs):
        runs.append(run_once(number))
        if not options.json:
            line = "  ".join(f"{stage} {runs[-1]['times'][stage]:.2f}" for stage in STAGES)
            print(f"run {number + 1}: {line}", file=sys.stderr, flush=True)
    found = summary(runs)
    if options.json:
        print(json.dumps(found, indent=2))
        return 0
    print(f"medians of {found['runs']} runs")
    for stage in STAGES:
        print(f"  command -> {stage:<34} {found['seconds'][stage]:6.2f} s")
    print(f"  {'':<20} {'PSS MB':>8} {'idle CPU %':>11}")
    for name, size in sorted(found["pss_mb"].items()):
        print(f"  {name:<20} {size:8.1f} {found['idle_cpu_percent'][name]:11.2f}")
    print(f"  {'sum':<20} {found['pss_sum_mb']:8.1f} {found['idle_cpu_sum_percent']:11.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
