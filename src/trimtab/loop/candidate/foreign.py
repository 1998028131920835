"""Models that another tool's client logged, brought through the gate by a process of their own.

What a stranger stored is never opened here: a child reads it, packages it, measures it on this
project's rows and asks the gate, within limits (`confined`). The parent only waits, so a server may
call this.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import msgspec

from trimtab import errors
from trimtab.data import sources
from trimtab.errors import ModelError, TrimtabError
from trimtab.loop.project import Project
from trimtab.loop.reports import Decision

SECONDS: Final = 1800
_WHY: Final = {-signal.SIGXCPU: ": its CPU time is used up", -signal.SIGKILL: ": it was killed"}
KIND: Final = "bring"
"""The kind of the run that brings a model in."""


class Foreign(msgspec.Struct, frozen=True, kw_only=True):
    """A model as another tool keeps it.

    `tree` is the digest of its files, `name` what it is called here; `origin` says where it is from:
    the tool, the model and version there, the run that logged it. `strict` refuses what is undecided.
    """

    name: str
    tree: str
    origin: dict[str, str]
    allow_pickle: bool = False
    strict: bool = False


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What the child writes: a decision, or the error that it ended with."""

    decision: Decision | None = None
    code: str = ""
    message: str = ""
    hint: str = ""


def bring(project: Project, model: Foreign) -> Decision:
    """The gate's decision on a foreign model; a pass has a version of this project's registry.

    Raises what the child raised: ModelError, DataError, RefusedError, NotFoundError, ConflictError.
    """
    scratch = project.ws.root / "tmp"
    scratch.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch) as place:
        asked, answer = Path(place) / "asked", Path(place) / "answer"
        asked.write_bytes(msgspec.json.encode(model))
        local = all(sources.scheme(one.source) == "file" for one in project.config.data.values())
        command = [
            sys.executable,
            "-m",
            "trimtab.loop.candidate.confined",
            "offline" if local else "online",
        ]
        try:
            done = subprocess.run(
                [*command, str(project.path), str(asked), str(answer)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise ModelError(
                f"reading and measuring {model.name} took longer than {SECONDS // 60} minutes"
            ) from error
        if not answer.is_file():
            said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise ModelError(
                f"the process that read {model.name} ended with {done.returncode}"
                + _WHY.get(done.returncode, ""),
                hint=" ".join(said)[:300],
            )
        outcome = msgspec.json.decode(answer.read_bytes(), type=Outcome)
    if outcome.decision is None:
        raise _raised(outcome)
    return outcome.decision


def _raised(outcome: Outcome) -> TrimtabError:
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, TrimtabError) and kind.code == outcome.code:
            return kind(outcome.message, hint=outcome.hint)
    return TrimtabError(outcome.message, hint=outcome.hint)
