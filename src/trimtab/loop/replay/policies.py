"""When to train anew: never, every k windows, where the monitor's detector alarms, all the time.

A policy is asked before each window, and told what became known; it sees no label before its delay.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.errors import UsageError
from trimtab.loop.replay import detector
from trimtab.loop.replay.detector import Detector
from trimtab.loop.replay.history import History, taught
from trimtab.tune.learner import Answer, Learner

NAMES: Final = ("never", "schedule", "drift", "continuous")
"""In order of what they need to run; of two that are alike the earlier is chosen."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`every` windows a scheduled training; on drift it waits for `min_rows` labelled rows since the
    change, and false alarms are `run_length` rows apart on average. `refit` trains anew for every
    window where there is no `partial_fit`.
    """

    every: int = 5
    min_rows: int = 500
    run_length: float = 1e6
    refit: bool = False


class Due(NamedTuple):
    """Rows to train on, and why."""

    rows: slice
    why: str


class Policy(Protocol):
    """One way to train."""

    name: str
    about: str
    learns: bool
    waits: str
    """What it still waited for at the end, "" for nothing."""

    def fitted(self, model: Learner, rows: slice, now: int) -> None:
        """A model was trained on these rows and answers from row `now` on."""

    def due(self, window: int, answers: Answers) -> Due | None:
        """What to train on before this window, None where nothing is to be done."""


class Answers:
    """The answers given so far, by row, of whichever model gave them."""

    def __init__(self, history: History, chances: bool) -> None:
        kind = np.float64 if history.task == "regression" else np.int64
        self.decision: NDArray[Any] = np.zeros(history.rows, dtype=kind)
        self.chance: NDArray[np.float64] | None = (
            np.zeros((history.rows, len(history.classes))) if chances else None
        )

    def put(self, rows: slice, answer: Answer) -> None:
        """Note what was answered."""
        self.decision[rows] = answer.decision
        if self.chance is not None and answer.chance is not None:
            self.chance[rows] = answer.chance

    def get(self, rows: slice) -> Answer:
        """What was answered."""
        return Answer(self.decision[rows], None if self.chance is None else self.chance[rows])


class Never:
    """Trained once, on the first part."""

    name, about, learns, waits = "never", "trained once, on the first part", False, ""

    def fitted(self, model: Learner, rows: slice, now: int) -> None:
        """Nothing to note."""

    def due(self, window: int, answers: Answers) -> Due | None:
        """Nothing, ever."""
        return None


class Scheduled:
    """Every k windows anew, on as many newest rows as the first part had."""

    name, learns, waits = "schedule", False, ""

    def __init__(self, history: History, every: int) -> None:
        self._history = history
        self._every = every
        self.about = f"every {every} windows, on the newest {history.tested:,} rows"

    def fitted(self, model: Learner, rows: slice, now: int) -> None:
        """Nothing to note."""

    def due(self, window: int, answers: Answers) -> Due | None:
        """The newest rows, when it is time."""
        passed = window - self._history.begin
        if not passed or passed % self._every:
            return None
        return Due(newest(self._history, window), "schedule")


class OnDrift:
    """When the monitor's detector alarms, on the rows since the change that it estimates."""

    name, learns = "drift", False

    def __init__(self, history: History, settings: Settings) -> None:
        self._history = history
        self._settings = settings
        self._detector: Detector | None = None
        self._fed = 0
        self.waits = ""
        self.about = (
            f"when the error detector alarms and {settings.min_rows:,} rows since are labelled"
        )

    def fitted(self, model: Learner, rows: slice, now: int) -> None:
        """Expect from now on what the model showed on the rows withheld from it."""
        history = self._history
        held = slice(taught(rows.start, rows.stop).stop, rows.stop)
        self._detector = detector.start(
            model.answer(history.table[held]),
            history.codes[held],
            history.task,
            begun=now,
            run_length=self._settings.run_length,
            decide=history.decide,
        )
        self._fed = now

    def due(self, window: int, answers: Answers) -> Due | None:
        """The rows since the change, once there are enough."""
        history, watch = self._history, self._detector
        known = history.seen[window]
        if watch is None:
            return None
        if known > self._fed:
            rows = slice(self._fed, known)
            watch.feed(answers.get(rows), history.codes[rows], history.task)
            self._fed = known
        onset, least = watch.onset, self._settings.min_rows
        self.waits = ""
        if onset is None:
            return None
        if known - onset < least:
            self.waits = (
                f"the detector alarmed, since row {onset:,}, and at the end {known - onset:,} of the "
                f"{least:,} labelled rows were there that it waits for"
            )
            return None
        return Due(slice(onset, known), f"the error detector alarmed, since row {onset:,}")


class Continuous:
    """Every window's labels taken in as they come, by `partial_fit`; or refitted on newest rows."""

    name, waits = "continuous", ""

    def __init__(self, history: History, *, learns: bool) -> None:
        self._history = history
        self._learned = 0
        self.learns = learns
        self.about = (
            "partial_fit on every window's labels as they come"
            if learns
            else f"fitted anew before every window, on the newest {history.tested:,} rows"
        )

    def fitted(self, model: Learner, rows: slice, now: int) -> None:
        """Go on behind what was learned."""
        self._learned = taught(rows.start, rows.stop).stop

    def due(self, window: int, answers: Answers) -> Due | None:
        """What became known since."""
        known = self._history.seen[window]
        if not self.learns:
            passed = window > self._history.begin
            return Due(newest(self._history, window), "every window") if passed else None
        if known <= self._learned:
            return None
        rows = slice(self._learned, known)
        self._learned = known
        return Due(rows, "new labels")


def newest(history: History, window: int) -> slice:
    """As many rows whose labels are known as the first part had."""
    known = history.seen[window]
    return slice(max(0, known - history.tested), known)


def make(name: str, history: History, settings: Settings, *, can_learn: bool) -> Policy:
    """A policy by its name; raises UsageError."""
    if name == "never":
        return Never()
    if name == "schedule":
        return Scheduled(history, settings.every)
    if name == "drift":
        return OnDrift(history, settings)
    if name == "continuous":
        return Continuous(history, learns=can_learn)
    raise UsageError(f"there is no policy {name!r}", hint=f"known policies: {', '.join(NAMES)}")
