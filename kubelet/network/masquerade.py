"""What leaves the cluster leaves with the node's address; between pods addresses stay what they are."""

from kubelet.network import iptables

CHAIN = "MK8S-MASQ"


def rules(pod_cidr: str, exempt: list[str]) -> list[str]:
    """For traffic from ``pod_cidr``; ``exempt`` are the networks where pods' own addresses are understood."""
    stay = [f"-d {network} -j RETURN" for network in sorted({pod_cidr, *exempt})]
    # Somebody on 127.0.0.1 who uses a hostPort has to be answered through here as well.
    local = "-s 127.0.0.0/8 -o cbr0 -j MASQUERADE"
    return [local, f"! -s {pod_cidr} -j RETURN", *stay, "-d 224.0.0.0/4 -j RETURN", "-j MASQUERADE"]


class Masquerade:
    """Remembers what it wrote: unchanged nodes cost no iptables call."""

    def __init__(self) -> None:
        self._written: list[str] | None = None
        self._hooked = False

    async def sync(self, pod_cidr: str, exempt: list[str]) -> None:
        wanted = rules(pod_cidr, exempt)
        if wanted == self._written:
            return
        await iptables.replace_chain("nat", CHAIN, wanted)
        if not self._hooked:
            comment = ("-m", "comment", "--comment", "minik8s pods to the outside")
            await iptables.ensure_rule("nat", "POSTROUTING", *comment, "-j", CHAIN)
            self._hooked = True
        self._written = wanted
