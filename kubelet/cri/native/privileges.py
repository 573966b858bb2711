"""How much of a container this process may make: all of it, what a user namespace allows, or a plain process.

``root``   namespaces, pod network, cgroups, overlay.
``user``   an unprivileged user: one user namespace a pod, with its own file system, processes, hostname and IPC; the host's
           network and no limits; only the user itself (as 0) exists in it.
``plain``  where even that is forbidden: processes with a directory of their own; no volumes, no image but the host.
"""

import asyncio
import os
from pathlib import Path

_NEEDED = {21: "CAP_SYS_ADMIN", 12: "CAP_NET_ADMIN"}


def has_root() -> bool:
    """Root of the machine, with the capabilities; root of a user namespace only looks like it."""
    if os.geteuid() != 0 or Path("/proc/self/uid_map").read_text().split() != ["0", "0", "4294967295"]:
        return False
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            held = int(line.split()[1], 16)
            return all(held >> number & 1 for number in _NEEDED)
    return False


async def detect() -> tuple[str, str]:
    """``(mode, one line that says what is missing)``; the line is empty for root."""
    if has_root():
        return "root", ""
    why = "not root: pods share the host's network and have no resource limits"
    arguments = ("--user", "--map-root-user", "--mount", "--ipc", "--uts", "--pid", "--fork", "--mount-proc", "true")
    try:
        attempt = await asyncio.create_subprocess_exec(
            "unshare", *arguments, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
        _, errors = await attempt.communicate()
    except FileNotFoundError:
        return "plain", f"{why}; unshare (util-linux) is not installed: containers are plain processes without volumes"
    if attempt.returncode == 0:
        return "user", why
    said = errors.decode(errors="replace").strip().removeprefix("unshare: ")
    return "plain", f"{why}; user namespaces are not allowed ({said}): containers are plain processes without volumes"
