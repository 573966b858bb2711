"""``seccompProfile: RuntimeDefault``: the system calls that a container has no business with fail with EPERM.

A deny list of what Docker's and containerd's default profiles leave out (docs.docker.com/engine/security/seccomp names
them); what a capability is for comes back with that capability. One classic BPF program, built by :func:`program`.
"""

from __future__ import annotations

import ctypes
import posix

from . import syscalls
from .identity import CAPABILITIES

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_COLUMN = {"x86_64": 0, "aarch64": 1}
_ALWAYS = ""

# capability that allows it -> {name: (x86_64, aarch64)}; None where the architecture does not have it
_DENIED: dict[str, dict[str, tuple[int | None, int | None]]] = {
    _ALWAYS: {
        "add_key": (248, 217),
        "request_key": (249, 218),
        "keyctl": (250, 219),
        "kexec_file_load": (320, 294),
        "kexec_load": (246, 104),
        "userfaultfd": (323, 282),
        "move_pages": (279, 239),
        "pivot_root": (155, 41),
        "swapon": (167, 224),
        "swapoff": (168, 225),
        "uselib": (134, None),
        "ustat": (136, None),
        "sysfs": (139, None),
        "_sysctl": (156, None),
        "create_module": (174, None),
        "get_kernel_syms": (177, None),
        "query_module": (178, None),
        "nfsservctl": (180, 42),
        "io_uring_setup": (425, 425),
        "io_uring_enter": (426, 426),
        "io_uring_register": (427, 427),
    },
    "SYS_ADMIN": {
        "bpf": (321, 280),
        "fsconfig": (431, 431),
        "fsmount": (432, 432),
        "fsopen": (430, 430),
        "fspick": (433, 433),
        "lookup_dcookie": (212, 18),
        "mount": (165, 40),
        "mount_setattr": (442, 442),
        "move_mount": (429, 429),
        "open_tree": (428, 428),
        "perf_event_open": (298, 241),
        "quotactl": (179, 60),
        "quotactl_fd": (443, 443),
        "setns": (308, 268),
        "umount2": (166, 39),
        "unshare": (272, 97),
    },
    "DAC_READ_SEARCH": {"open_by_handle_at": (304, 265)},
    "SYS_BOOT": {"reboot": (169, 142)},
    "SYS_MODULE": {"delete_module": (176, 106), "init_module": (175, 105), "finit_module": (313, 273)},
    "SYS_PACCT": {"acct": (163, 89)},
    "SYS_PTRACE": {"kcmp": (312, 272), "pidfd_getfd": (438, 438)},
    "SYS_RAWIO": {"iopl": (172, None), "ioperm": (173, None)},
    "SYS_TIME": {"settimeofday": (164, 170), "clock_settime": (227, 112), "clock_adjtime": (305, 266)},
    "SYS_NICE": {"get_mempolicy": (239, 236), "mbind": (237, 235), "set_mempolicy": (238, 237)},
    "SYSLOG": {"syslog": (103, 116)},
}
_CLONE = (56, 220)
_CLONE3 = 435  # its flags lie in memory, where a filter cannot look: programs fall back to clone
_NEW_NAMESPACES = 0x7E020000

_LOAD, _JUMP_EQUAL, _JUMP_SET, _JUMP_NOT_LESS, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_NUMBER, _ARCH, _FIRST_ARGUMENT = 0, 4, 16
_X32 = 0x40000000


def program(machine: str, capabilities: int) -> list[tuple[int, int, int, int]]:
    """Instructions ``(code, jump if true, jump if false, constant)``; ``KeyError`` for a machine without a table."""
    column = _COLUMN[machine]
    denied = set()
    for capability, calls in _DENIED.items():
        if capability and capabilities >> CAPABILITIES.index(capability) & 1:
            continue
        denied |= {numbers[column] for numbers in calls.values() if numbers[column] is not None}
    code = [
        (_LOAD, 0, 0, _ARCH),
        (_JUMP_EQUAL, 1, 0, _ARCHITECTURES[machine]),
        (_RETURN, 0, 0, _ERRNO | _EPERM),  # 32-bit programs would have other numbers for the same calls
        (_LOAD, 0, 0, _NUMBER),
    ]
    if machine == "x86_64":
        code += [(_JUMP_NOT_LESS, 0, 1, _X32), (_RETURN, 0, 0, _ERRNO | _EPERM)]
    for number in sorted(number for number in denied if number is not None):
        code += [(_JUMP_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERRNO | _EPERM)]
    if not capabilities >> CAPABILITIES.index("SYS_ADMIN") & 1:
        code += [
            (_JUMP_EQUAL, 0, 1, _CLONE3),
            (_RETURN, 0, 0, _ERRNO | _ENOSYS),
            (_JUMP_EQUAL, 0, 3, _CLONE[column]),
            (_LOAD, 0, 0, _FIRST_ARGUMENT),
            (_JUMP_SET, 0, 1, _NEW_NAMESPACES),
            (_RETURN, 0, 0, _ERRNO | _EPERM),
        ]
    return [*code, (_RETURN, 0, 0, _ALLOW)]


class _Instruction(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8), ("k", ctypes.c_uint32)]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint16), ("filter", ctypes.c_void_p)]


def install(capabilities: int) -> None:
    """For this process and all that it starts; needs CAP_SYS_ADMIN here or no_new_privs."""
    machine = posix.uname().machine
    if machine not in _COLUMN:
        raise OSError(38, f"no seccomp profile for {machine}: seccompProfile RuntimeDefault cannot be had")
    instructions = program(machine, capabilities)
    array = (_Instruction * len(instructions))(*(_Instruction(*entry) for entry in instructions))
    block = _Program(len(instructions), ctypes.addressof(array))
    syscalls.prctl(syscalls.PR_SET_SECCOMP, syscalls.SECCOMP_MODE_FILTER, ctypes.addressof(block))
