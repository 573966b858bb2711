"""A layer's tar stream becomes a directory for overlayfs; a program of its own: ``python -I -S unpack.py BLOB DIR DIFF_ID``.

Runs as a process because it is pure work that would stop the kubelet's loop and grow its memory, and because it can
``chroot``: whatever paths and links the archive holds, they end inside the directory. Whiteouts (``.wh.NAME``) become
overlayfs' character device 0:0, opaque directories its xattr. The uncompressed stream must have the digest ``DIFF_ID``.
"""

import gzip
import hashlib
import os
import posixpath
import stat
import subprocess
import sys
import tarfile
from typing import IO

_XATTR = "SCHILY.xattr."


class Hashing:
    """A reader that hashes what goes through it."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self.hasher = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self.hasher.update(data)
        return data


def open_stream(path: str) -> IO[bytes]:
    """The uncompressed tar, whatever it is compressed with."""
    file = open(path, "rb")  # noqa: SIM115 - it is the caller's
    magic = os.pread(file.fileno(), 4, 0)
    if magic[:2] == b"\x1f\x8b":
        return gzip.GzipFile(fileobj=file)  # type: ignore[return-value]
    if magic == b"\x28\xb5\x2f\xfd":
        try:
            process = subprocess.Popen(["zstd", "-dcq"], stdin=file, stdout=subprocess.PIPE)
        except FileNotFoundError:
            raise ValueError("the layer is compressed with zstd: install the zstd program to unpack it") from None
        assert process.stdout is not None
        return process.stdout
    return file


class Layer:
    """Extraction into the current root directory ``/``."""

    def __init__(self, *, user: bool) -> None:
        self._user = user  # in a user namespace of one user: nobody else can own anything
        self._opaque = "user.overlay.opaque" if user else "trusted.overlay.opaque"
        self._directories: list[tuple[str, float]] = []

    def apply(self, archive: tarfile.TarFile) -> None:
        for member in archive:
            self._entry(archive, member)
        for path, mtime in reversed(self._directories):
            os.utime(path, (mtime, mtime))

    def _entry(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        path = posixpath.normpath("/" + member.name)
        if ".." in member.name.split("/"):
            raise ValueError(f"the layer has an entry {member.name!r}")
        parent, name = posixpath.split(path)
        os.makedirs(parent, 0o755, exist_ok=True)
        if name == ".wh..wh..opq":
            os.setxattr(parent, self._opaque, b"y")
            return
        if name.startswith(".wh."):
            hidden = posixpath.join(parent, name[4:])
            remove(hidden)
            os.mknod(hidden, stat.S_IFCHR, 0)
            return
        if not (member.isdir() and os.path.isdir(path) and not os.path.islink(path)):
            remove(path)
        if not self._create(archive, member, path):
            return
        self._attributes(member, path)

    def _create(self, archive: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> bool:
        """Whether the entry has attributes of its own."""
        if member.isdir():
            os.makedirs(path, 0o755, exist_ok=True)
        elif member.isreg():
            source = archive.extractfile(member)
            assert source is not None
            with open(path, "xb") as target:
                while chunk := source.read(1 << 18):
                    target.write(chunk)
        elif member.issym():
            os.symlink(member.linkname, path)
        elif member.islnk():
            os.link(posixpath.normpath("/" + member.linkname), path, follow_symlinks=False)
            return False
        elif member.isfifo():
            os.mkfifo(path)
        elif member.ischr() or member.isblk():
            if self._user:
                return False  # devices are mounted into containers, never opened from images
            kind = stat.S_IFCHR if member.ischr() else stat.S_IFBLK
            os.mknod(path, kind, os.makedev(member.devmajor, member.devminor))
        else:
            raise ValueError(f"the layer's entry {member.name!r} has a type {member.type!r} that is not supported")
        return True

    def _attributes(self, member: tarfile.TarInfo, path: str) -> None:
        if not self._user:
            os.lchown(path, member.uid, member.gid)
        for key, value in member.pax_headers.items():
            if key.startswith(_XATTR) and not (self._user and key.startswith(_XATTR + "security.")):
                name = key[len(_XATTR) :]
                os.setxattr(path, name, value.encode("utf-8", "surrogateescape"), follow_symlinks=False)
        if member.issym():
            return
        os.chmod(path, member.mode & 0o7777)
        if member.isdir():
            self._directories.append((path, member.mtime))
        else:
            os.utime(path, (member.mtime, member.mtime))


def remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        for name in os.listdir(path):
            remove(posixpath.join(path, name))
        os.rmdir(path)


def main(blob: str, directory: str, diff_id: str) -> None:
    user = os.stat("/proc/self/ns/user").st_ino != 0xEFFFFFFD  # PROC_USER_INIT_INO: not the machine's own
    stream = Hashing(open_stream(blob))
    os.umask(0)
    os.chroot(directory)
    os.chdir("/")
    with tarfile.open(fileobj=stream, mode="r|", bufsize=1 << 16) as archive:  # type: ignore[call-overload]
        Layer(user=user).apply(archive)
    while stream.read(1 << 16):
        pass
    got = "sha256:" + stream.hasher.hexdigest()
    if got != diff_id:
        raise ValueError(f"the layer's content has digest {got}, its image says {diff_id}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:4])
    except (OSError, ValueError, tarfile.TarError, EOFError) as e:
        print(e, file=sys.stderr)
        sys.exit(1)
