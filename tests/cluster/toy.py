"""A supervisor of toy processes, started as a script by test_supervisor: ``python toy.py [--resume] FOLDER``.

FOLDER/toys.json lists them; each runs :mod:`toyprocess`, which lies beside this file.
"""

import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent)]

from cluster import zygote  # noqa: E402
from cluster.home import Home  # noqa: E402
from cluster.plan import Process  # noqa: E402
from cluster.supervisor import Supervisor  # noqa: E402

# Toys share nothing worth the time.
zygote.FIRST = zygote.SECOND = ("json",)


def planner(home: Home) -> tuple[list[Process], Callable[[], bool]]:
    document = json.loads((home.path / "toys.json").read_text())
    processes = [
        Process(t["name"], "toyprocess", tuple(t.get("flags", ())), t.get("tier", 2), "") for t in document["toys"]
    ]
    return processes, lambda: any(map(listens, document["api_ports"]))


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=0.5).close()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    folder = sys.argv[-1]
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    successor = [__file__, "--resume", folder]
    sys.exit(Supervisor(Home.at(folder), planner, successor).run("--resume" in sys.argv))
