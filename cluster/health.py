"""Is a process well: its ``/readyz`` and its memory."""

import ssl
from pathlib import Path

from cluster.home import Home
from cluster.plan import Process


class HealthClient:
    """Asks ``/readyz`` as the administrator, trusting the cluster's authority only."""

    def __init__(self, home: Home) -> None:
        import httpx

        # The names in certificates are those that clients use; here processes are asked by address.
        context = ssl.create_default_context(cafile=str(home.pki / "ca.crt"))
        context.check_hostname = False
        context.load_cert_chain(home.pki / "admin.crt", home.pki / "admin.key")
        self._http: httpx.AsyncClient = httpx.AsyncClient(verify=context, timeout=3.0, trust_env=False)

    async def __aenter__(self) -> "HealthClient":
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._http.aclose()

    async def ask(self, process: Process) -> str:
        """``ok``, or what is wrong in a few words."""
        import httpx

        try:
            response = await self._http.get(process.readyz)
        except httpx.TimeoutException:
            return "no answer"
        except httpx.TransportError as error:
            return (
                "refused" if "refused" in str(error) or "failed" in str(error) else str(error) or type(error).__name__
            )
        if response.is_success:
            return "ok"
        failed = [line[3:] for line in response.text.splitlines() if line.startswith("[-]")]
        return failed[0] if failed else f"HTTP {response.status_code}"


def memory(pid: int) -> int:
    """Proportional set size in bytes: pages shared by several processes are split among them. 0 when unknown."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    except OSError:
        pass  # gone meanwhile, or another user's
    return 0
