from tests.kubelet.cri.conftest import own_network

__all__ = ["own_network"]
