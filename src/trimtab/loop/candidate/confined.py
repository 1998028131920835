"""The beginning of a process that reads a stranger's model: what it may use, set before libraries load.

Run as `python -m trimtab.loop.candidate.confined online|offline PROJECT_FILE ASKED ANSWER`; `bringing` does
the work. It bounds what a damaged or greedy file can take; it is no wall around code that means harm: files
of the same user stay open to it. What a system does not let be bounded is left, and not claimed.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import resource
import socket
import struct
import sys
from pathlib import Path
from typing import Final

CPU_SECONDS: Final = 1800
"""CPU time, for each core of the machine."""
FILES: Final = 4096
LEAST_MEMORY: Final = 2 << 30
_NEW_NETWORK: Final = 0x40000000  # CLONE_NEWNET and CLONE_NEWUSER of linux/sched.h
_NEW_USER: Final = 0x10000000
_GET_FLAGS, _SET_FLAGS, _IS_UP, _NAME = 0x8913, 0x8914, 1, 16  # linux/sockios.h, linux/if.h


def main(arguments: list[str]) -> int:
    """Set the limits, then read the model; the exit code is that of `bringing`."""
    held = begin(is_offline=arguments[0] == "offline")
    # Everything heavy comes after: a thread that a library starts would be left out of the network's end.
    from trimtab.loop.candidate import bringing  # noqa: PLC0415

    if bound_memory():
        held.append("memory")
    return bringing.main(arguments[1:], tuple(held))


def begin(*, is_offline: bool) -> list[str]:
    """Bound what a process without threads may use; which of "cpu", "files" and "network" are."""
    cpu = CPU_SECONDS * (os.cpu_count() or 1)
    wanted = {"cpu": (resource.RLIMIT_CPU, cpu), "files": (resource.RLIMIT_NOFILE, FILES)}
    held = [name for name, (what, most) in wanted.items() if _bound(what, most)]
    _bound(resource.RLIMIT_CORE, 0)
    if is_offline and leave_network():
        held.append("network")
    return held


def bound_memory() -> bool:
    """Bound the address space to what it is now and half of the machine's memory, at least 2 GiB."""
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        whole = page * os.sysconf("SC_PHYS_PAGES")
        now = page * int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
    except (OSError, ValueError, IndexError):
        return False
    return _bound(resource.RLIMIT_AS, now + max(whole // 2, LEAST_MEMORY))


def leave_network() -> bool:
    """Go where there is no network but a loopback of its own, for good; False where that is not allowed.

    Linux lets root do it, and others where they may make user namespaces. What answers on the loopback
    of the machine cannot be reached from there; what this process starts can.
    """
    if sys.platform != "linux":
        return False
    user, group = os.geteuid(), os.getegid()
    kind = _NEW_NETWORK | (0 if user == 0 else _NEW_USER)
    try:
        if ctypes.CDLL(None, use_errno=True).unshare(ctypes.c_int(kind)) != 0:
            return False
    except (OSError, AttributeError):
        return False
    if user:
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{user} {user} 1"),
            ("gid_map", f"{group} {group} 1"),
        ):
            try:
                Path(f"/proc/self/{name}").write_text(text, encoding="utf-8")
            except OSError:  # it only has another name for itself then
                break
    _loopback_up()
    return True


def _loopback_up() -> None:
    """Switch on the loopback of a new network; endpoints are measured over it."""
    name = b"lo".ljust(_NAME, b"\0")
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        asked = struct.pack(f"{_NAME}sh{_NAME}x", name, 0)
        flags = struct.unpack_from("h", fcntl.ioctl(one, _GET_FLAGS, asked), _NAME)[0]
        fcntl.ioctl(one, _SET_FLAGS, struct.pack(f"{_NAME}sh{_NAME}x", name, flags | _IS_UP))


def _bound(what: int, most: int) -> bool:
    """Lower a limit; whether it is at most that."""
    _, hard = resource.getrlimit(what)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    try:
        resource.setrlimit(what, (most, most))
    except (ValueError, OSError):
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
