"""What the process and its machine use: CPU, memory, disk. Read from /proc, without a library.

Where there is no /proc, only what Python itself knows is there.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

_PROC = Path("/proc")


class Sampler:
    """Figures since the last sample, every so many seconds."""

    def __init__(self, seconds: float, folder: Path) -> None:
        self._seconds = seconds
        self._folder = folder
        self._at = time.monotonic()
        self._cpu = _own_cpu()
        self._machine = _machine_cpu()
        self._io = _io()

    def due(self) -> dict[str, float]:
        """A sample where it is time for one, else nothing."""
        return self.sample() if time.monotonic() - self._at >= self._seconds else {}

    def sample(self) -> dict[str, float]:
        """CPU in percent of one core (process) and of all (machine), memory and disk."""
        now, cpu, machine, io = time.monotonic(), _own_cpu(), _machine_cpu(), _io()
        passed = max(now - self._at, 1e-9)
        found = {"system/process_cpu_percent": 100 * (cpu - self._cpu) / passed}
        if machine and self._machine and (total := machine[1] - self._machine[1]) > 0:
            found["system/cpu_percent"] = 100 * (machine[0] - self._machine[0]) / total
        if io and self._io:
            found["system/disk_read_bytes_per_s"] = (io[0] - self._io[0]) / passed
            found["system/disk_written_bytes_per_s"] = (io[1] - self._io[1]) / passed
        found |= _memory()
        try:
            disk = shutil.disk_usage(self._existing())
            found["system/disk_used_percent"] = 100 * disk.used / max(disk.total, 1)
        except OSError:
            pass
        self._at, self._cpu, self._machine, self._io = now, cpu, machine, io
        return found

    def _existing(self) -> Path:
        return next(one for one in (self._folder, *self._folder.parents) if one.exists())


def _own_cpu() -> float:
    found = os.times()
    return time.process_time() + found.children_user + found.children_system


def _machine_cpu() -> tuple[int, int] | None:
    """Busy and all ticks of all cores, see proc_stat(5)."""
    try:
        ticks = [int(one) for one in _first_line(_PROC / "stat").split()[1:9]]
    except (OSError, ValueError):
        return None
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def _memory() -> dict[str, float]:
    found: dict[str, float] = {}
    try:
        pages = int(_first_line(_PROC / "self" / "statm").split()[1])
        found["system/process_memory_bytes"] = pages * os.sysconf("SC_PAGE_SIZE")
        lines = (_PROC / "meminfo").read_text(encoding="ascii").splitlines()
        size = {line.partition(":")[0]: int(line.split()[1]) for line in lines}
        found["system/memory_percent"] = 100 * (1 - size["MemAvailable"] / size["MemTotal"])
    except (OSError, ValueError, LookupError):
        pass
    return found


def _io() -> tuple[int, int] | None:
    """Bytes that the process has read and written, see proc_pid_io(5)."""
    try:
        lines = (_PROC / "self" / "io").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = {line.partition(":")[0]: int(line.split()[1]) for line in lines}
    return found.get("read_bytes", 0), found.get("write_bytes", 0)


def _first_line(path: Path) -> str:
    with path.open(encoding="ascii") as stream:
        return stream.readline()
