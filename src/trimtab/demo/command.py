"""The `trimtab` command as a user runs it: a child process in the project's folder.

It asks for `--json` and hands back what was printed. An exit code that the caller did not expect
is a Failure that shows what the command said.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class Failure(RuntimeError):
    """The demo cannot go on; the message says what was tried and what came back."""


@dataclass(frozen=True)
class Answer:
    """A command's exit code and the JSON document it printed, {} where it printed none."""

    code: int
    body: dict[str, Any]


@dataclass(frozen=True)
class Command:
    """The command line in one folder; no call may take longer than `patience` seconds."""

    folder: Path
    patience: float = 120.0
    program: tuple[str, ...] = (sys.executable, "-m", "trimtab")

    def call(self, *args: str) -> dict[str, Any]:
        """Run and return the JSON document; raises Failure for any exit code but 0."""
        return self.ask(*args, codes=(0,)).body

    def ask(self, *args: str, codes: Collection[int]) -> Answer:
        """Run and return exit code and document; raises Failure for a code not in `codes`."""
        line = [*self.program, *args, "--json"]
        shown = " ".join(["trimtab", *args])
        try:
            done = subprocess.run(
                line,
                cwd=self.folder,
                capture_output=True,
                encoding="utf-8",
                timeout=self.patience,
                stdin=subprocess.DEVNULL,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Failure(f"`{shown}` has not answered within {self.patience:g} s") from None
        if done.returncode not in codes:
            said = (done.stderr.strip() or done.stdout.strip())[-2_000:]
            why = "".join(f"\n{one}" for one in _refusals(done.stdout))
            raise Failure(f"`{shown}` ended with exit code {done.returncode}:\n{said}{why}")
        return Answer(done.returncode, _document(done.stdout, shown))


def verdicts(printed: dict[str, Any]) -> list[dict[str, Any]]:
    """The verdicts in what `run` or `gate` printed."""
    found: list[dict[str, Any]] = printed.get("decision", printed).get("verdicts", [])
    return found


def _refusals(text: str) -> list[str]:
    """Why a gate did not let pass, from the document that says so on standard output."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        return []
    told = verdicts(found) if isinstance(found, dict) else []
    return [f"{one['status']}: {one['reason']}" for one in told if one["status"] != "pass"]


def _document(text: str, shown: str) -> dict[str, Any]:
    if not text.strip():
        return {}
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        raise Failure(f"`{shown} --json` printed no JSON document:\n{text[:500]}") from None
    return found if isinstance(found, dict) else {"items": found}
