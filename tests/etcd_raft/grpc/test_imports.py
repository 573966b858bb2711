"""What a process pays for by being a store or an API server."""

import subprocess
import sys


def test_neither_the_store_nor_the_api_server_loads_grpcio() -> None:
    code = (
        "import sys, apiserver.build, etcd_raft.client, etcd_raft.server.endpoints, etcd_raft.server.health\n"
        "print([name for name in sys.modules if name == 'grpc' or name.startswith('grpc.')])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.strip() == "[]"
