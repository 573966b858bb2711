"""Runs iptables' own programs, in the network namespace that this process lives in.

Everything is written by one ``iptables-restore --noflush``, which takes effect as a whole or not at all and leaves other
people's chains alone.
"""

import asyncio
import contextlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from proxy import chains

# Others use the lock too: wait for them, seconds.
_WAIT = ("-w", "5")
_ROUTE_LOCALNET = Path("/proc/sys/net/ipv4/conf/all/route_localnet")
_NEW = "-m conntrack --ctstate NEW"


class IptablesError(Exception):
    """A program said no; the text is its own."""


@dataclass(frozen=True, slots=True)
class Jump:
    """A rule of ours in a chain that is not ours."""

    table: str
    source: str
    target: str
    comment: str = ""
    match: str = ""

    @property
    def rule(self) -> str:
        comment = f'-m comment --comment "{self.comment}"' if self.comment else ""
        return " ".join(part for part in (self.source, self.match, comment, "-j", self.target) if part)


_SERVICE_PORTALS = "kubernetes service portals"
_EXTERNAL_PORTALS = "kubernetes externally-visible service portals"
_BALANCER_FIREWALL = "kubernetes load balancer firewall"

#: In the order in which they are put in front of what is there.
JUMPS = (
    Jump("filter", "INPUT", chains.EXTERNAL_SERVICES, _EXTERNAL_PORTALS, _NEW),
    Jump("filter", "FORWARD", chains.EXTERNAL_SERVICES, _EXTERNAL_PORTALS, _NEW),
    Jump("filter", "INPUT", chains.NODE_PORTS, "kubernetes health check service ports"),
    Jump("filter", "FORWARD", chains.SERVICES, _SERVICE_PORTALS, _NEW),
    Jump("filter", "OUTPUT", chains.SERVICES, _SERVICE_PORTALS, _NEW),
    Jump("filter", "FORWARD", chains.FORWARD, "kubernetes forwarding rules"),
    Jump("filter", "INPUT", chains.PROXY_FIREWALL, _BALANCER_FIREWALL, _NEW),
    Jump("filter", "OUTPUT", chains.PROXY_FIREWALL, _BALANCER_FIREWALL, _NEW),
    Jump("filter", "FORWARD", chains.PROXY_FIREWALL, _BALANCER_FIREWALL, _NEW),
    Jump("filter", "INPUT", chains.FIREWALL),
    Jump("filter", "OUTPUT", chains.FIREWALL),
    Jump("nat", "OUTPUT", chains.SERVICES, _SERVICE_PORTALS),
    Jump("nat", "PREROUTING", chains.SERVICES, _SERVICE_PORTALS),
    Jump("nat", "POSTROUTING", chains.POSTROUTING, "kubernetes postrouting rules"),
)
_TABLES = ("filter", "nat")


@dataclass(slots=True)
class Tables:
    """What ``iptables-save`` shows: chains and rules by table."""

    chains: dict[str, set[str]]
    rules: dict[str, list[str]]

    @classmethod
    def parse(cls, saved: str) -> "Tables":
        tables = cls({name: set() for name in _TABLES}, {name: [] for name in _TABLES})
        table = ""
        for line in saved.splitlines():
            if line.startswith("*"):
                table = line[1:].strip()
                tables.chains.setdefault(table, set())
                tables.rules.setdefault(table, [])
            elif line.startswith(":"):
                tables.chains[table].add(line[1:].split(" ", 1)[0])
            elif line.startswith("-A "):
                tables.rules[table].append(line)
        return tables

    def has(self, jump: Jump) -> bool:
        head, tail = f"-A {jump.source} ", f"-j {jump.target}"
        return any(rule.startswith(head) and rule.endswith(tail) for rule in self.rules[jump.table])

    def port_chains(self) -> set[str]:
        """The chains of single Service ports and endpoints."""
        return {name for name in self.chains["nat"] if name.startswith(chains.PORT_PREFIXES)}


class Iptables:
    """The programs. ``prefix`` goes before every command (``ip netns exec NAME``, when it is not our own namespace)."""

    def __init__(self, prefix: tuple[str, ...] = ()) -> None:
        self._prefix = prefix

    async def _run(self, *command: str, stdin: str | None = None) -> str:
        process = await asyncio.create_subprocess_exec(
            *self._prefix,
            *command,
            stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            out, errors = await process.communicate(stdin.encode() if stdin is not None else None)
        except asyncio.CancelledError:
            # The lock must not stay with a process that nobody waits for. (It may have just ended by itself.)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise
        if process.returncode:
            raise IptablesError(f"{' '.join(command)}: {errors.decode().strip() or f'exit {process.returncode}'}")
        return out.decode()

    async def why_unusable(self) -> str | None:
        """What keeps us from using iptables here, or None."""
        for program in ("iptables", "iptables-save", "iptables-restore"):
            if shutil.which(program) is None:
                return f"there is no {program} (Debian: apt install iptables)"
        try:
            await self._run("iptables", *_WAIT, "-t", "nat", "-S", "OUTPUT")
        except IptablesError as error:
            return str(error)
        return None

    async def save(self) -> Tables:
        return Tables.parse(await self._run("iptables-save"))

    async def restore(self, text: str) -> None:
        await self._run("iptables-restore", *_WAIT, "--noflush", stdin=text)

    async def canary_alive(self) -> bool:
        """False when somebody has flushed the tables (a firewall reloaded): all rules must be written again."""
        for table in _TABLES:
            try:
                await self._run("iptables", *_WAIT, "-t", table, "-S", chains.CANARY)
            except IptablesError:
                return False
        return True

    async def clean_up(self) -> None:
        text = cleanup_input(await self.save())
        if text:
            await self.restore(text)


def with_jumps(restore_input: str, tables: Tables) -> str:
    """Adds the canary chains and whatever jumps are missing to the input of a full restore."""
    out = []
    table = ""
    for line in restore_input.splitlines():
        if line.startswith("*"):
            table = line[1:]
        if line == "COMMIT":
            out += [f"-I {jump.rule}" for jump in JUMPS if jump.table == table and not tables.has(jump)]
        out.append(line)
        if line.startswith("*"):
            out.append(f":{chains.CANARY} - [0:0]")
    return "\n".join([*out, ""])


def cleanup_input(tables: Tables) -> str:
    """For ``iptables-restore --noflush``: removes all that is ours."""
    lines = []
    for table in _TABLES:
        ours = sorted(name for name in tables.chains[table] if _is_ours(name))
        jumps = [
            "-D" + rule.removeprefix("-A")
            for rule in tables.rules[table]
            if not _is_ours(rule.split(" ", 2)[1]) and _is_ours(rule.rpartition("-j ")[2])
        ]
        if ours or jumps:
            lines += [
                f"*{table}",
                *(f":{name} - [0:0]" for name in ours),
                *jumps,
                *(f"-X {name}" for name in ours),
                "COMMIT",
            ]
    return "\n".join([*lines, ""]) if lines else ""


def _is_ours(chain: str) -> bool:
    return chain in _SHARED or chain.startswith(chains.PORT_PREFIXES)


_SHARED: frozenset[str] = frozenset({jump.target for jump in JUMPS} | {chains.MARK_MASQ, chains.CANARY})


def allow_localhost_node_ports() -> str | None:
    """Lets 127.0.0.1 be translated to a pod's address; what went wrong, or None."""
    try:
        if _ROUTE_LOCALNET.read_text().strip() != "1":
            _ROUTE_LOCALNET.write_text("1")
    except OSError as error:
        return f"{_ROUTE_LOCALNET}: {error.strerror}"
    return None
