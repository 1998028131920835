"""What a run tells while it goes on, for a live display. Events are said after they are stored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """The base of every event."""


@dataclass(frozen=True)
class FlowStarted(Event):
    """A flow begins; `steps` are the names of its steps in the order of the code."""

    run: str
    flow: str
    steps: tuple[str, ...]


@dataclass(frozen=True)
class StepCached(Event):
    """A step is remembered and does not run."""

    step: str
    run: str


@dataclass(frozen=True)
class StepWaiting(Event):
    """A step runs in another process already; its result will be used."""

    step: str
    run: str


@dataclass(frozen=True)
class StepStarted(Event):
    """A step runs now, and why."""

    step: str
    run: str
    reason: str


@dataclass(frozen=True)
class Progress(Event):
    """A step says how far it is."""

    step: str
    done: int
    total: int
    text: str


@dataclass(frozen=True)
class StepFinished(Event):
    """A step ended and its record is durable; `status` is "done", "failed" or "cancelled"."""

    step: str
    run: str
    status: str
    seconds: float


@dataclass(frozen=True)
class FlowFinished(Event):
    """The flow ended; `status` is "done", "cached", "failed" or "cancelled"."""

    run: str
    status: str
    seconds: float


Listener = Callable[[Event], None]


def silent(_event: Event) -> None:
    """Nobody listens."""
