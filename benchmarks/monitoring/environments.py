"""The peers' environments: each made from its lock, each asked through a script of its own.

A peer that cannot be installed or that fails is an `Absent` with the error, which the tables print.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = ROOT / "build" / "bench" / "monitoring"
PEERS = ("evidently", "nannyml", "alibi", "whylogs", "river")


@dataclass(frozen=True)
class Answer:
    """What a script printed as JSON, its CPU seconds and its peak memory in MB."""

    value: Any
    cpu: float
    peak: float


@dataclass(frozen=True)
class Absent:
    """Why a peer has no figure."""

    reason: str


def python_of(peer: str) -> Path | Absent:
    """The Python of a peer's environment, made where there is none of this lock."""
    lock = ROOT / "requirements" / f"bench-monitoring-{peer}.txt"
    folder = BUILD / peer
    python, stamp = folder / "bin" / "python", folder / ".stamp"
    wanted = hashlib.sha256(lock.read_bytes() + sys.version.encode() + str(ROOT).encode())
    if stamp.is_file() and stamp.read_text() == wanted.hexdigest():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    # the lock is whole; older pips refuse what a package asks of another's extra, such as pandas[parquet]
    exactly = ["--quiet", "--no-deps", "--require-hashes", "-r", str(lock)]
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", *exactly],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return Absent(last_line(done.stderr) or f"{command[0]} ended with {done.returncode}")
    stamp.write_text(wanted.hexdigest())
    return python


def ask(peer: str, task: str, *arguments: str, timeout: float = 900) -> Answer | Absent:
    """What `peers/ask_PEER.py TASK ARGUMENTS...` answers; for "trimtab" in this very Python."""
    python = Path(sys.executable) if peer == "trimtab" else python_of(peer)
    if isinstance(python, Absent):
        return python
    script = HERE / "peers" / f"ask_{peer}.py"
    told = {name: value for name, value in os.environ.items()
            if peer == "trimtab" or not name.startswith("PYTHON")}  # fmt: skip
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    quiet = {"DO_NOT_TRACK": "1", "NML_DISABLE_USAGE_LOGGING": "1", "PYTHONWARNINGS": "ignore",
             "POLARS_MAX_THREADS": "1", "WHYLOGS_NO_ANALYTICS": "True"}  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "answer.json"
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        try:
            done = subprocess.run(
                [str(python), str(script), task, str(out), *arguments],
                capture_output=True, text=True, check=False, timeout=timeout,
                env=told | one | quiet,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return Absent(f"took over {timeout:.0f} s")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode or not out.is_file():
            return Absent(last_line(done.stderr) or f"ended with {done.returncode}")
        answer = json.loads(out.read_text())
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Answer(answer["value"], answer.get("cpu", spent), answer.get("peak", 0.0))


def save(path: Path, arrays: Mapping[str, Any]) -> None:
    """Arrays as a file that every peer reads without a library of ours; text as fixed width."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{name: np.asarray(one) for name, one in arrays.items()})


def last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("WARNING")]
    return lines[-1].strip()[:200] if lines else ""
