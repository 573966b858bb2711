"""The pause image, made by ourselves: one program of 200 bytes that sleeps for ever and reaps orphans.

So that a machine without a registry can make sandboxes. As pid 1 of a shared pid namespace it ignores SIGCHLD, which makes
the kernel reap the pod's orphans. ``--pod-infra-container-image`` names another one.
"""

import io
import struct
import tarfile

DEFAULT_IMAGE = "mk8s.local/pause:1"

_BASE = 0x400000
_HEADERS = 64 + 56  # one ELF header, one program header
_IGNORE = struct.pack("<QQQQ", 1, 0, 0, 0)  # struct sigaction: SIG_IGN, no flags, no restorer, no mask
_MACHINES = {"amd64": 62, "x86_64": 62, "arm64": 183, "aarch64": 183}


def _amd64() -> bytes:
    """rt_sigaction(SIGCHLD, ignore, NULL, 8); for (;;) pause();"""
    before = bytes.fromhex("b80d000000 bf11000000 488d35")  # mov eax,13; mov edi,17; lea rsi,[rip+...]
    after = bytes.fromhex("31d2 41ba08000000 0f05")  # xor edx,edx; mov r10d,8; syscall
    loop = bytes.fromhex("b822000000 0f05 ebf7")  # mov eax,34; syscall; jmp back
    return before + struct.pack("<i", len(after) + len(loop)) + after + loop


def _arm64() -> bytes:
    """rt_sigaction(SIGCHLD, ignore, NULL, 8); for (;;) ppoll(NULL, 0, NULL, NULL);"""

    def mov(register: int, value: int) -> int:
        return 0xD2800000 | value << 5 | register

    svc = 0xD4000001
    loop = [mov(0, 0), mov(1, 0), mov(2, 0), mov(3, 0), mov(8, 73), svc]
    loop.append(0x14000000 | (-len(loop) & 0x3FFFFFF))
    rest = [mov(2, 0), mov(3, 8), mov(8, 134), svc, *loop]
    address = 0x10000001 | (len(rest) + 1) << 5  # adr x1, behind the code
    code = [mov(0, 17), address, *rest]
    return struct.pack(f"<{len(code)}I", *code)


def program(architecture: str) -> bytes:
    """A static ELF executable; ``KeyError`` for an architecture that we have no code for."""
    machine = _MACHINES[architecture]
    code = (_amd64() if machine == 62 else _arm64()) + _IGNORE
    size = _HEADERS + len(code)
    elf = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    elf += struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    elf += struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return elf + code


def image_tar(architecture: str) -> bytes:
    """The image's only layer, for the engine's import."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        binary = program(architecture)
        info = tarfile.TarInfo("pause")
        info.size, info.mode = len(binary), 0o755
        archive.addfile(info, io.BytesIO(binary))
    return buffer.getvalue()
