"""What happens during a run, told on stderr: a moving line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from trimtab.server import words

if TYPE_CHECKING:  # rich is loaded only to print
    from rich.status import Status

_STAGES: Final = {
    "package": "packaging the candidate as one graph, and holding it against the estimator",
    "evaluate": "measuring on withheld rows",
    "bench": "measuring latency on a throwaway endpoint",
    "gate": "asking the gate",
}


class Progress(AbstractContextManager["Progress"]):
    """Use as a context manager, and hand `event` to what reports `(event, facts)`."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._status: Status | None = None
        self._best: float | None = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console  # only on a terminal

            console = Console(stderr=True, highlight=False)
            self._status = self._stack.enter_context(console.status("starting"))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def event(self, event: str, facts: dict[str, Any]) -> None:
        """Tell one event."""
        line = told(event, facts)
        if event == "trial":
            score = float(facts["score"])
            self._best = score if self._best is None else max(self._best, score)
            line += f", best {words.number(self._best)}"
        if self._status is None:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()
            return
        if event in ("cached", "waiting"):
            self._status.console.print(line, style="dim", markup=False)
        elif event == "step":
            self._status.console.print(line, markup=False)
            self._best = None
        self._status.update(f"[dim]{_escaped(line)}[/dim]")


def told(event: str, facts: dict[str, Any]) -> str:
    """An event as a line."""
    if event in ("step", "cached", "waiting"):
        place = f"step {facts['number']}/{facts['total']} {facts['step']}"
        if event == "cached":
            return f"{place}: cached"
        return f"{place}: {'waiting, ' if event == 'waiting' else 'running, '}{facts['reason']}"
    if event == "trial":
        tried = ", ".join(f"{name}={words.cell(value)}" for name, value in facts["params"].items())
        cached = " (cached)" if facts.get("cached") else ""
        score = f"{facts.get('metric', 'score')} {words.number(facts['score'])}"
        return f"trial {facts['number']}/{facts['total']} {tried}: {score}{cached}"
    return _STAGES.get(event) or " ".join([event, words.cell(facts) if facts else ""]).strip()


def _escaped(line: str) -> str:
    from rich.markup import escape  # only on a terminal

    return escape(line)
