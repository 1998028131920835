"""What every peer's script shares: arguments in, JSON out, CPU seconds and peak memory."""

import json
import sys
import time
import warnings
from pathlib import Path

warnings.simplefilter("ignore")


def peak():
    """Peak memory in MB; ru_maxrss would also count the process that started this one."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def run(tasks):
    """`SCRIPT TASK OUT ARGUMENTS...`: a task returns its value, or (value, cpu seconds)."""
    task, out, *arguments = sys.argv[1:]
    value = tasks[task](*arguments)
    answer = {"value": value, "peak": peak()}
    if isinstance(value, tuple):
        answer |= {"value": value[0], "cpu": value[1]}
    Path(out).write_text(json.dumps(answer))


class Clock:
    def __enter__(self):
        self.begun = time.process_time()
        return self

    def __exit__(self, *_):
        self.cpu = time.process_time() - self.begun
