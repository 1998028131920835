"""Jobs that this process starts and does not wait for; they outlive it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Final

_started: Final[list[subprocess.Popen[bytes]]] = []


def start(
    command: Sequence[str],
    *,
    output: BinaryIO,
    cwd: Path,
    env: Mapping[str, str],
    pass_fds: Sequence[int] = (),
) -> int:
    """Start a process in a session of its own that says everything to `output`; returns its id."""
    # Who ended since is reaped here: a server that ticks for months leaves no zombies.
    _started[:] = [one for one in _started if one.poll() is None]
    _started.append(
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd=cwd,
            env={**os.environ, **env},
            pass_fds=pass_fds,
        )
    )
    return _started[-1].pid
