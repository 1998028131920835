"""Streams with known changes, and what a detector of concept drift does on them.

SEA (Street and Kim 2001), sine and mixed (Gama et al. 2004) and STAGGER (Schlimmer and Granger 1986)
are generated after the papers, as river and MOA do; nothing is downloaded. The trial is prequential:
a Gaussian naive Bayes predicts each row, then learns it; an alarm begins both afresh.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.monitor.outcomes import concept
from trimtab.monitor.outcomes.calibration import constant
from trimtab.monitor.outcomes.concept import ConceptState
from trimtab.monitor.statistics import adwin
from trimtab.monitor.statistics.adwin import Adwin

Floats = NDArray[np.float64]
Rows = tuple[Floats, NDArray[np.int64]]

ROWS: Final = 40_000
CHANGES: Final = (10_000, 20_000, 30_000)
NEAR: Final = 2_000
"""An alarm counts as a detection within so many rows after a change."""


class Trial(NamedTuple):
    """What a detector did: changes found of `changes`, mean delay in rows, false alarms."""

    found: int
    changes: int
    delay: float
    false: int


class Delay(NamedTuple):
    """On Bernoulli errors: streams with an alarm before the change, after it, and the median delay."""

    false: int
    found: int
    streams: int
    median: float


def sea(noise: np.random.Generator, rows: int, concept_: int) -> Rows:
    """Three features in [0, 10]; positive where the first two sum to at most a threshold; 10 % noise."""
    x = noise.random((rows, 3)) * 10
    theta = (8.0, 9.0, 7.0, 9.5)[concept_ % 4]
    return x, _noisy(noise, (x[:, 0] + x[:, 1] <= theta).astype(np.int64), 0.1)


def sine(noise: np.random.Generator, rows: int, concept_: int) -> Rows:
    """Two features in [0, 1]; positive under a sine curve, or above it, or under a wave."""
    x = noise.random((rows, 2))
    under = x[:, 0] >= np.sin(x[:, 1])
    wave = x[:, 0] >= 0.5 + 0.3 * np.sin(3 * np.pi * x[:, 1])
    label = (under, ~under, wave, ~wave)[concept_ % 4]
    return x, label.astype(np.int64)


def mixed(noise: np.random.Generator, rows: int, concept_: int) -> Rows:
    """Two flags and two numbers; positive where two of three conditions hold, or where they do not."""
    flags = noise.integers(0, 2, (rows, 2)).astype(np.float64)
    x = noise.random((rows, 2))
    below = x[:, 1] < 0.5 + 0.3 * np.sin(3 * np.pi * x[:, 0])
    label = (flags[:, 0] + flags[:, 1] + below) >= 2
    turned = concept_ % 2 == 1
    return np.column_stack([flags, x]), (label ^ turned).astype(np.int64)


def stagger(noise: np.random.Generator, rows: int, concept_: int) -> Rows:
    """Size, colour and shape, three values each, as indicator features; three rules in turn."""
    size, colour, shape = noise.integers(0, 3, (3, rows))
    rules = (
        (size == 0) & (colour == 0),
        (colour == 1) | (shape == 1),
        (size == 1) | (size == 2),
    )
    told = np.column_stack([part == k for part in (size, colour, shape) for k in range(3)])
    return told.astype(np.float64), rules[concept_ % 3].astype(np.int64)


GENERATORS: Final[dict[str, Callable[[np.random.Generator, int, int], Rows]]] = {
    "sea": sea,
    "sine": sine,
    "mixed": mixed,
    "stagger": stagger,
}


STREAMS: Final = (("sea", 0), ("sea", 1), ("sea", 2), *((k, s) for k in ("sine", "mixed", "stagger")
                                                        for s in range(2)))  # fmt: skip
"""Nine streams of three changes each."""


def abrupt(kind: str, seed: int, rows: int = ROWS) -> Rows:
    """A stream of four concepts, each a quarter of the rows."""
    noise = np.random.default_rng([seed, len(kind)])
    parts = [GENERATORS[kind](noise, rows // 4, place) for place in range(4)]
    return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])


class Bayes:
    """Gaussian naive Bayes that learns row by row (Welford's updates), two classes."""

    def __init__(self, features: int) -> None:
        self.count = np.zeros(2)
        self.mean = np.zeros((2, features))
        self.squares = np.zeros((2, features))

    def predict(self, x: Floats) -> int:
        """The likelier class; the first where nothing was learned."""
        if not self.count.all():
            return int(self.count.argmax())
        variance = self.squares / np.maximum(self.count, 1.0)[:, None] + 1e-3
        gap = x - self.mean
        fit = np.log(self.count) - 0.5 * (np.log(variance) + gap * gap / variance).sum(axis=1)
        return int(fit.argmax())

    def learn(self, x: Floats, y: int) -> None:
        """Take a labelled row in."""
        self.count[y] += 1
        gap = x - self.mean[y]
        self.mean[y] += gap / self.count[y]
        self.squares[y] += gap * (x - self.mean[y])


class Detector:
    """The port of a trial: errors in, whether a change is told."""

    def feed(self, error: float) -> bool:
        """Take in whether a row was wrong; True where a change is told."""
        raise NotImplementedError


class EDetector(Detector):
    """The monitor's detector with the error rate of rows that came before as what is expected.

    A stream's model learns all the time, so its rate is taken from `known` rows after the first
    `young` of it; a change is told at `run_length`.
    """

    def __init__(self, run_length: float = 3e5, young: int = 300, known: int = 700) -> None:
        self.run_length, self.young, self.known = run_length, young, known
        self.rows = 0
        self.wrong = 0
        self.waiting: list[float] = []
        self.state: ConceptState | None = None

    def feed(self, error: float) -> bool:
        """Take in whether a row was wrong; looked at every 16 rows."""
        self.rows += 1
        if self.rows <= self.young:
            return False
        if self.rows <= self.young + self.known:
            self.wrong += int(error)
            return False
        self.waiting.append(error)
        if len(self.waiting) < 16:
            return False
        if self.state is None:
            self.state = concept.start(self.run_length, streams=("more",), caution=1.0)
        self.state = concept.update(
            self.state,
            constant(self.wrong, self.known),
            np.zeros(len(self.waiting)),
            np.array(self.waiting),
        )
        self.state = msgspec.structs.replace(self.state, course=())
        self.waiting = []
        return self.state.alarm is not None


class AdwinDetector(Detector):
    """ADWIN on the same errors; a cut towards more errors is a change."""

    def __init__(self, delta: float = 0.002) -> None:
        self.state = Adwin(delta=delta)

    def feed(self, error: float) -> bool:
        """Take in whether a row was wrong."""
        before = self.state.cuts
        self.state = adwin.update(self.state, [error])
        return self.state.cuts > before and self.state.after > self.state.before


def detections(x: Floats, y: NDArray[np.int64], make: Callable[[], Detector]) -> Iterator[int]:
    """The rows at which a detector tells a change, model and detector begun afresh at each."""
    model, detector = Bayes(x.shape[1]), make()
    for row in range(len(y)):
        label = int(y[row])
        wrong = float(model.predict(x[row]) != label)
        model.learn(x[row], label)
        if detector.feed(wrong):
            yield row
            model, detector = Bayes(x.shape[1]), make()


def abrupt_trial(
    make: Callable[[], Detector] = EDetector,
    *,
    streams: tuple[tuple[str, int], ...] = STREAMS,
    rows: int = ROWS,
) -> Trial:
    """How many of the changes a detector finds in time, how late, and how often it cries wolf."""
    changes = [rows // 4 * k for k in (1, 2, 3)]
    near = min(NEAR, rows // 4)
    delays: list[int] = []
    false = 0
    for kind, seed in streams:
        x, y = abrupt(kind, seed, rows)
        told = list(detections(x, y, make))
        mine = [next((t - c for t in told if 0 <= t - c < near), None) for c in changes]
        delays += [one for one in mine if one is not None]
        false += len(told) - sum(one is not None for one in mine)
    mean = float(np.mean(delays)) if delays else float("nan")
    return Trial(len(delays), len(changes) * len(streams), mean, false)


def bernoulli_trial(
    tell: Callable[[Floats], int | None],
    *,
    streams: int = 60,
    before: float = 0.2,
    after: float = 0.3,
    change: int = 10_000,
    rows: int = 20_000,
) -> Delay:
    """Errors of rate `before` and from row `change` on `after`; `tell` gives the first alarm's row."""
    false, delays = 0, []
    for seed in range(streams):
        noise = np.random.default_rng([seed, 41])
        rate = np.where(np.arange(rows) < change, before, after)
        at = tell((noise.random(rows) < rate).astype(np.float64))
        if at is not None and at <= change:
            false += 1
        elif at is not None:
            delays.append(at - change)
    return Delay(false, len(delays), streams, float(np.median(delays)) if delays else float("nan"))


def e_detector(run_length: float, rate: float = 0.2) -> Callable[[Floats], int | None]:
    """The e-detector that knows the rate before the change."""
    known = constant(round(rate * 10**8), 10**8)

    def tell(errors: Floats) -> int | None:
        state = concept.start(run_length, streams=("more",), margin=0.0, caution=0.0)
        state = concept.update(state, known, np.zeros(len(errors)), errors)
        return None if state.alarm is None else state.alarm.at

    return tell


def adwin_detector(delta: float = 0.002) -> Callable[[Floats], int | None]:
    """ADWIN with river's defaults."""

    def tell(errors: Floats) -> int | None:
        state = Adwin(delta=delta)
        for first in range(0, len(errors), 512):
            state = adwin.update(state, errors[first : first + 512].tolist())
            if state.cuts:
                return state.at
        return None

    return tell


def figures() -> str:
    """The table of goals 11 and 12, as text; a minute or two."""
    lines = ["| detector | streams with false alarms | found | median delay |", "|---|---|---|---|"]
    for name, tell in (
        ("e-detector, run length 3e6", e_detector(3e6)),
        ("e-detector, run length 1e5", e_detector(1e5)),
        ("ADWIN 0.002", adwin_detector()),
    ):
        one = bernoulli_trial(tell)
        lines.append(f"| {name} | {one.false} | {one.found}/{one.streams} | {one.median:.0f} |")
    lines += ["", "| detector | found | mean delay | false |", "|---|---|---|---|"]
    for label, make in (("e-detector", EDetector), ("ADWIN", AdwinDetector)):
        trial = abrupt_trial(make)
        lines.append(
            f"| {label} | {trial.found}/{trial.changes} | {trial.delay:.0f} | {trial.false} |"
        )
    return "\n".join(lines)


def _noisy(noise: np.random.Generator, label: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    turned = noise.random(len(label)) < share
    return np.where(turned, 1 - label, label)
