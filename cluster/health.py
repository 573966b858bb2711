"""Is a process well: its ``/readyz`` and its memory."""

import ssl
from pathlib import Path
from urllib.parse import urlsplit

from cluster.home import Home
from cluster.plan import Process

_PATIENCE = 3.0


class HealthClient:
    """Asks ``/readyz`` as the administrator, trusting the cluster's authority only."""

    def __init__(self, home: Home) -> None:
        # The names in certificates are those that clients use; here processes are asked by address.
        self._context = ssl.create_default_context(cafile=str(home.pki / "ca.crt"))
        self._context.check_hostname = False
        self._context.load_cert_chain(home.pki / "admin.crt", home.pki / "admin.key")

    async def ask(self, process: Process) -> str:
        """``ok``, or what is wrong in a few words."""
        from kubeclient.http import ConnectError, HttpClient, ReadTimeout, TransportError

        parts = urlsplit(process.readyz)
        client = HttpClient(f"{parts.scheme}://{parts.netloc}", self._context)
        try:
            response = await client.request("GET", parts.path, timeout=_PATIENCE)
        except ReadTimeout:
            return "no answer"
        except ConnectError as error:
            return "no answer" if "within" in str(error) else "refused"
        except TransportError as error:
            return str(error)
        finally:
            await client.close()
        if response.is_success:
            return "ok"
        text = response.content.decode(errors="replace")
        failed = [line[3:] for line in text.splitlines() if line.startswith("[-]")]
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
