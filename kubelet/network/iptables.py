"""Rules in chains of our own, written whole and atomically by ``iptables-restore --noflush``."""

import asyncio


class IptablesError(Exception):
    """iptables refused; the text is its own."""


async def _run(*arguments: str, stdin: str = "") -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *arguments,
        # No pipe where nothing is to be written: uvloop raises when the reader has ended before the (empty) write.
        stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate(stdin.encode() or None)
    return process.returncode or 0, errors.decode(errors="replace").strip()


async def replace_chain(table: str, chain: str, rules: list[str]) -> None:
    """Make ``rules`` (without ``-A CHAIN``) the content of the chain, which is made when missing."""
    lines = [f"*{table}", f":{chain} - [0:0]", *(f"-A {chain} {rule}" for rule in rules), "COMMIT", ""]
    code, errors = await _run("iptables-restore", "--noflush", "-w", "5", stdin="\n".join(lines))
    if code:
        raise IptablesError(f"iptables-restore for {chain}: {errors}")


async def ensure_rule(table: str, chain: str, *rule: str) -> None:
    """Append ``rule`` to a built-in chain unless it is there."""
    code, _ = await _run("iptables", "-w", "5", "-t", table, "-C", chain, *rule)
    if code == 0:
        return
    code, errors = await _run("iptables", "-w", "5", "-t", table, "-A", chain, *rule)
    if code:
        raise IptablesError(f"iptables -t {table} -A {chain} {' '.join(rule)}: {errors}")
