"""The system calls that code in a sandbox is refused, as a classic BPF program that the guest installs.

A list of what is refused, not of what is allowed: what stays open is what any unprivileged process may do to files,
memory and processes that it can see, and the other layers decide what it sees. Refused are other processes' memory,
new namespaces and mounts, sockets (pairs are fine), memory that no limit counts, and young parts of the kernel with
a history. Numbers: Linux ``syscall_64.tbl`` and ``asm-generic/unistd.h``; the layout is that of ``seccomp(2)``.
"""

from __future__ import annotations

import errno
import platform
import struct

from agentrl.errors import UserError

_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column below, AUDIT_ARCH
_NONE = -1  # the architecture has no such call
REFUSED: dict[str, tuple[int, int]] = {
    # other processes' memory and descriptors
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_getfd": (438, 438), "userfaultfd": (323, 282), "perf_event_open": (298, 241),
    # namespaces and mounts
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "chroot": (161, 51), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "fanotify_init": (300, 262),
    # network
    "socket": (41, 198),
    # memory outside the processes' own
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194), "shmat": (30, 196),
    "semget": (64, 190), "msgget": (68, 186), "mq_open": (240, 180), "add_key": (248, 217),
    "request_key": (249, 218), "keyctl": (250, 219), "mbind": (237, 235), "set_mempolicy": (238, 237),
    "migrate_pages": (256, 238), "move_pages": (279, 239),
    # the kernel itself
    "bpf": (321, 280), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106), "kexec_load": (246, 104),
    "kexec_file_load": (320, 294), "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225),
    "acct": (163, 89), "syslog": (103, 116), "quotactl": (179, 60), "settimeofday": (170, 170),
    "clock_settime": (227, 112), "clock_adjtime": (305, 266), "adjtimex": (159, 171), "personality": (135, 92),
    "sched_setscheduler": (144, 119), "sched_setattr": (314, 274), "vhangup": (153, 58),
    "iopl": (172, _NONE), "ioperm": (173, _NONE), "modify_ldt": (154, _NONE),
}  # fmt: skip
_CLONE, _CLONE3 = (56, 220), (435, 435)
_NAMESPACES = 0x7E020000  # the CLONE_NEW* flags

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCH, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data
_ALLOW, _ERROR, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_X32 = 0x40000000


def program(machine: str | None = None) -> bytes:
    """The filter as an array of ``struct sock_filter``. Raises UserError for a machine it has no numbers for."""
    machine = machine or platform.machine()
    if machine not in _ARCHITECTURES:
        raise UserError(f"the local sandbox knows no system calls of {machine}; it runs on x86_64 and aarch64")
    column, arch = _ARCHITECTURES[machine]
    lines = [
        _line(_LOAD, _ARCH),
        _line(_EQUAL, arch, 1, 0),
        _line(_RETURN, _KILL),
        _line(_LOAD, _NUMBER),
        _line(_AT_LEAST, _X32, 0, 1),  # the second set of numbers of x86-64
        _line(_RETURN, _ERROR | errno.ENOSYS),
        _line(_EQUAL, _CLONE3[column], 0, 1),  # its flags lie in memory, where a filter cannot look; libc uses clone
        _line(_RETURN, _ERROR | errno.ENOSYS),
    ]
    for numbers in REFUSED.values():
        if numbers[column] != _NONE:
            lines += [_line(_EQUAL, numbers[column], 0, 1), _line(_RETURN, _ERROR | errno.EPERM)]
    lines += [
        _line(_EQUAL, _CLONE[column], 0, 3),
        _line(_LOAD, _FIRST_ARGUMENT),
        _line(_ANY_BIT, _NAMESPACES, 0, 1),
        _line(_RETURN, _ERROR | errno.EPERM),
        _line(_RETURN, _ALLOW),
    ]
    return b"".join(lines)


def _line(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
