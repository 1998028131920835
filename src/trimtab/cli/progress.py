"""What happens during a run, told on stderr: a moving line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from trimtab.pipeline import events
from trimtab.server import words

if TYPE_CHECKING:  # rich is loaded only to print
    from rich.console import Console
    from rich.status import Status

_STAGES: Final = {
    "package": "packaging the candidate as one graph, and holding it against the estimator",
    "evaluate": "measuring on withheld rows",
    "measure latency": "measuring latency on a throwaway endpoint",
    "measure capacity": "measuring how much load a throwaway endpoint takes",
    "replay training rows": "replaying training rows through a throwaway endpoint",
    "gate": "asking the gate",
}


class Display(AbstractContextManager["Display"]):
    """Use as a context manager; it is a listener of a run's events."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._console: Console | None = None
        self._status: Status | None = None
        self._steps: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console  # only on a terminal

            self._console = Console(stderr=True, highlight=False)
            self._status = self._stack.enter_context(self._console.status("starting"))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def __call__(self, event: events.Event) -> None:
        """Tell one event."""
        if isinstance(event, events.FlowStarted):
            self._steps = event.steps
        line = told(event, self._steps)
        if not line:
            return
        if self._console is None or self._status is None:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()
        elif isinstance(event, events.Progress | events.StepStarted):
            from rich.text import Text  # only on a terminal

            self._status.update(Text(line, style="dim"))
        else:
            self._console.print(line, markup=False)


def told(event: events.Event, steps: tuple[str, ...] = ()) -> str:
    """An event as a line, "" where it says nothing new."""
    match event:
        case events.StepCached(step=step):
            return f"{_place(step, steps)}: cached"
        case events.StepWaiting(step=step):
            return f"{_place(step, steps)}: another run is at it, waiting"
        case events.StepStarted(step=step, reason=reason):
            return f"{_place(step, steps)}: running, {reason}"
        case events.StepFinished(step=step, status=status, seconds=seconds):
            return f"{_place(step, steps)}: {status} in {words.span(int(seconds * 1e6))}"
        case events.Progress(total=0, text=text):
            return _STAGES.get(text, text)
        case events.Progress(step=step, done=done, total=total, text=text):
            return f"{step} {done}/{total} {text}".rstrip()
    return ""


def _place(step: str, steps: tuple[str, ...]) -> str:
    if step not in steps:
        return f"step {step}"
    return f"step {steps.index(step) + 1}/{len(steps)} {step}"
