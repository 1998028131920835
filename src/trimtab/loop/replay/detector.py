"""The monitor's own error detector, as the on-drift policy asks it.

The last fifth of the rows of each training says what is expected, as it does for a packaged model;
the rows that come later, once their labels are known, are held against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trimtab.monitor.outcomes import calibration, concept, relief
from trimtab.monitor.outcomes.calibration import Calibration
from trimtab.monitor.outcomes.concept import ConceptState, Stream
from trimtab.tune.candidate import Task
from trimtab.tune.learner import EVEN, Answer, Decide

_ENOUGH: Final = 500
"""Withheld rows from which on chances are calibrated; fewer give one rate, that of wrong answers."""


@dataclass
class Detector:
    """A detector on one model's answers from row `begun` on; `limit` is a regression's large error."""

    expected: Calibration
    state: ConceptState
    begun: int
    limit: float = 0.0
    by_chance: bool = True
    place: int = 1

    def feed(self, answer: Answer, truth: NDArray[Any], task: Task) -> None:
        """Take in rows in order, as many as became known together."""
        shown = answer if self.by_chance else Answer(answer.decision, None)
        score, event, _ = _told(shown, truth, task, self.limit, self.place)
        self.state = relief.over(concept.update(self.state, self.expected, score, event))

    @property
    def onset(self) -> int | None:
        """The row from which on things are estimated to be different; None while all is well."""
        alarm = self.state.alarm
        return None if alarm is None else self.begun + alarm.since


def start(
    answer: Answer,
    truth: NDArray[Any],
    task: Task,
    *,
    begun: int,
    run_length: float,
    decide: Decide = EVEN,
) -> Detector:
    """A detector that expects what the withheld rows showed."""
    if task == "regression":
        limit, known = calibration.fit_residuals(answer.decision, truth - answer.decision)
        return Detector(known, concept.start(run_length, streams=("more",)), begun, limit)
    if len(truth) < _ENOUGH:
        answer = Answer(answer.decision, None)
    score, event, streams = _told(answer, truth, task, 0.0, decide.place)
    if answer.chance is None:
        known = calibration.constant(int(event.sum()), len(event))
    else:
        known = calibration.fit(score, event)
    state = concept.start(run_length, streams=streams, threshold=decide.threshold)
    by_chance = answer.chance is not None
    return Detector(known, state, begun, by_chance=by_chance, place=decide.place)


def _told(
    answer: Answer, truth: NDArray[Any], task: Task, limit: float, place: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[Stream, ...]]:
    """Scores and events as the monitor counts them, and the streams that are watched.

    For two classes the event is the positive one; for more a right answer, by the confidence in it; where
    there are no chances a wrong answer; for numbers an error beyond the limit.
    """
    if task == "regression":
        off = np.abs(truth - answer.decision)
        return answer.decision, (off > limit).astype(np.float64), ("more",)
    if answer.chance is None:
        wrong = (answer.decision != truth).astype(np.float64)
        return np.zeros(len(wrong)), wrong, ("more",)
    if task == "binary":
        return (
            answer.chance[:, place],
            (truth == place).astype(np.float64),
            ("errors", "more", "fewer"),
        )
    right = (answer.decision == truth).astype(np.float64)
    return answer.chance.max(axis=1), right, ("fewer",)
