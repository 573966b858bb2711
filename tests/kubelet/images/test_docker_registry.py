"""A real registry (Debian's docker-registry) and the native runtime: from push to a running container."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from kubelet.cri.api import SecurityContext
from tests.kubelet.cri.conftest import Node, native, own_network  # noqa: F401 - fixtures
from tests.kubelet.images.registry_server import BuiltImage, build, tar_of

pytestmark = [pytest.mark.root, pytest.mark.binary("docker-registry"), pytest.mark.binary("busybox")]

CONFIG = """
version: 0.1
storage: {{filesystem: {{rootdirectory: {root}}}}}
http: {{addr: "127.0.0.1:{port}"}}
log: {{level: error}}
"""


@pytest.fixture
async def registry(own_network: None, tmp_path: Path) -> AsyncIterator[str]:  # noqa: F811
    """Its address; in the test's own network namespace, so that the port is free."""
    from kubelet.network.rtnetlink import Rtnetlink

    with Rtnetlink() as netlink:
        loopback = netlink.link("lo")
        assert loopback is not None
        netlink.set_up(loopback.index)
    config = tmp_path / "registry.yml"
    config.write_text(CONFIG.format(root=tmp_path / "registry", port=5000))
    process = await asyncio.create_subprocess_exec("docker-registry", "serve", str(config))
    try:
        async with httpx.AsyncClient() as client:
            async with asyncio.timeout(20):
                while True:
                    try:
                        await client.get("http://127.0.0.1:5000/v2/")
                        break
                    except httpx.TransportError:
                        await asyncio.sleep(0.05)
        yield "127.0.0.1:5000"
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


async def push(address: str, repository: str, tag: str, image: BuiltImage) -> None:
    base = f"http://{address}/v2/{repository}"
    async with httpx.AsyncClient() as client:
        for digest, data in image.blobs.items():
            started = await client.post(f"{base}/blobs/uploads/")
            location = httpx.URL(started.headers["location"])
            done = await client.put(location, params={**location.params, "digest": digest}, content=data)
            assert done.status_code == 201, done.text
        headers = {"Content-Type": image.media_type}
        done = await client.put(f"{base}/manifests/{tag}", content=image.manifest, headers=headers)
        assert done.status_code == 201, done.text


def busybox_image() -> BuiltImage:
    binary = Path(os.path.realpath("/bin/busybox")).read_bytes()
    base = tar_of(
        ("bin", None),
        ("bin/busybox", binary),
        ("etc", None),
        ("etc/passwd", b"app:x:1000:1000::/srv:/bin/sh\n"),
        ("etc/motd", b"old\n"),
    )
    upper = tar_of(("etc/.wh.motd", b""), ("srv", None), ("srv/greeting", b"hello from the image\n"))
    shell = ["/bin/busybox", "sh", "-c"]
    return build(
        [base, upper], {"Entrypoint": shell, "Cmd": ["/bin/busybox cat greeting"], "WorkingDir": "/srv", "User": "app"}
    )


async def test_an_image_from_a_real_registry_runs(registry: str, native: Node) -> None:  # noqa: F811
    await push(registry, "team/box", "1.0", busybox_image())
    image = f"{registry}/team/box:1.0"
    assert await native.images.image_status(image) is None
    id = await native.images.pull_image(image)
    status = await native.images.image_status(image)
    assert status is not None
    assert (status.id, status.repo_tags, status.user) == (id, [image], "app")
    sandbox = await native.sandbox()
    assert await native.output(sandbox, "", image=image, command=[]) == "hello from the image"
    shell = ["/bin/busybox id -u; /bin/busybox ls /etc; echo $HOME; (echo x > /tmp-file) 2>/dev/null || echo denied"]
    said = await native.output(sandbox, "", image=image, command=[], args=shell)
    assert said.split() == ["1000", "hostname", "hosts", "passwd", "resolv.conf", "/srv", "denied"]
    root = SecurityContext(run_as_user=0)
    assert await native.output(sandbox, "", image=image, command=[], args=["/bin/busybox id -u"], security=root) == "0"
