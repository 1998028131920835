"""One policy through history, test then train: a window is answered before its labels are learned.

Prequential evaluation (Dawid, JRSS A 1984; Gama, Sebastiao and Rodrigues, Machine Learning 2013).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trimtab.errors import DataError, PipelineError
from trimtab.loop.replay import losses
from trimtab.loop.replay.history import History, taught
from trimtab.loop.replay.losses import Floats
from trimtab.loop.replay.policies import Answers, Due, Policy
from trimtab.loop.replay.report import Fit
from trimtab.tune import learner
from trimtab.tune.learner import Learner

Tell = Callable[[int, int, str], None]


@dataclass
class Trace:
    """What happened: losses of tested rows, retrainings, time, and why trainings made no model."""

    losses: dict[str, Floats] = field(default_factory=dict)
    retrains: list[Fit] = field(default_factory=list)
    updates: int = 0
    seconds: float = 0.0
    rows_fitted: int = 0
    failed: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class First:
    """The model of the first part, which every policy begins with, and what it took."""

    model: Learner
    rows: slice
    seconds: float


def first(history: History, template: Any) -> First:
    """Train on the labels of the first part that are known when testing begins; raises DataError."""
    rows = slice(0, history.seen[history.begin])
    if not _can_teach(history, rows):
        raise DataError(
            f"{rows.stop:,} labels are known when testing begins, too few or of one class only",
            hint="shorten --delay or make the first part longer: --first 0.3",
        )
    begun = time.perf_counter()
    model = _fit(history, template, rows)
    return First(model, rows, time.perf_counter() - begun)


def walk(history: History, policy: Policy, template: Any, start: First, tell: Tell) -> Trace:
    """Take a policy through all tested windows; `tell(done, total, name)` hears how far it is."""
    part = taught(start.rows.start, start.rows.stop)
    trace = Trace(seconds=start.seconds, rows_fitted=part.stop - part.start)
    model = start.model.copy() if policy.learns else start.model
    policy.fitted(model, start.rows, history.tested)
    answers = Answers(history, learner.has_chances(model.estimator))
    for done, window in enumerate(history.windows):
        due = policy.due(window, answers)
        if due is not None:
            model = _train(history, policy, template, model, window, due, trace)
        rows = history.rows_of(window)
        answers.put(rows, model.answer(history.table[rows]))
        tell(done + 1, len(history.windows), policy.name)
    tested = slice(history.tested, history.rows)
    trace.losses = losses.of(answers.get(tested), history.codes[tested], history.task)
    for name, values in trace.losses.items():
        if not np.isfinite(values).all():
            raise DataError(
                f"{policy.name}: the {name} is not finite on {int((~np.isfinite(values)).sum())} rows",
                hint="the estimator answers NaN or infinite values",
            )
    return trace


def _train(
    history: History,
    policy: Policy,
    template: Any,
    model: Learner,
    window: int,
    due: Due,
    trace: Trace,
) -> Learner:
    begun = time.perf_counter()
    if policy.learns:
        model.learn(history.table[due.rows], history.labels[due.rows])
        trace.updates += 1
        trace.rows_fitted += due.rows.stop - due.rows.start
    elif (made := _refitted(history, template, due.rows, trace)) is not None:
        model = made
        part = taught(due.rows.start, due.rows.stop)
        trace.rows_fitted += part.stop - part.start
        trace.retrains.append(
            Fit(
                window=window,
                row=due.rows.start,
                rows=due.rows.stop - due.rows.start,
                why=due.why,
            )
        )
        policy.fitted(model, due.rows, history.starts[window])
    trace.seconds += time.perf_counter() - begun
    return model


def _refitted(history: History, template: Any, rows: slice, trace: Trace) -> Learner | None:
    """A model of these rows; None, with the reason noted, where they make none: the old one stays."""
    if not _can_teach(history, rows):
        trace.failed.append("its rows hold one class only")
        return None
    try:
        return _fit(history, template, rows)
    except PipelineError as error:
        trace.failed.append(error.message)
        return None


def _fit(history: History, template: Any, rows: slice) -> Learner:
    part = taught(rows.start, rows.stop)
    return learner.fit(
        template,
        history.table[part],
        history.labels[part],
        history.task,
        history.classes,
        history.decide,
    )


def _can_teach(history: History, rows: slice) -> bool:
    """Whether there is something to learn from and something withheld to be judged by."""
    part = taught(rows.start, rows.stop)
    if rows.stop - rows.start < 5:
        return False
    return history.task == "regression" or len(np.unique(history.codes[part])) > 1
