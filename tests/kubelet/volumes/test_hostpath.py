import socket
from pathlib import Path

import pytest

from kubelet.volumes.hostpath import prepare
from kubelet.volumes.payload import VolumeError


def test_types_that_create_do_and_the_others_check(tmp_path: Path) -> None:
    prepare(tmp_path / "d" / "e", "DirectoryOrCreate")
    prepare(tmp_path / "f", "FileOrCreate")
    prepare(tmp_path / "plain", "")
    assert (tmp_path / "d" / "e").is_dir()
    assert (tmp_path / "f").is_file()
    assert (tmp_path / "plain").is_dir()
    prepare(tmp_path / "d", "Directory")
    prepare(tmp_path / "f", "File")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        prepare(tmp_path / "s", "Socket")


@pytest.mark.parametrize("kind", ["Directory", "File", "Socket", "CharDevice", "BlockDevice"])
def test_what_is_not_there_fails(tmp_path: Path, kind: str) -> None:
    with pytest.raises(VolumeError, match="hostPath type check failed"):
        prepare(tmp_path / "none", kind)


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    for kind in ("Directory", "DirectoryOrCreate", "Socket"):
        with pytest.raises(VolumeError):
            prepare(tmp_path / "f", kind)
