"""What a replay's losses say: intervals, paired gains, and which training to choose.

The question is what was better on this history, whatever changed in it; so noise is what neighbours
differ by, and a change is no noise. Rows of a window may depend on each other; more than 100 windows
are joined into blocks. The variance of the mean comes from successive differences of block sums
(von Neumann, Annals of Mathematical Statistics 1941; for XX
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from trimtab.evaluate.intervals import student_factor
from trimtab.loop.replay.history import History
from trimtab.loop.replay.losses import Floats
from trimtab.loop.replay.report import Figure

MARGIN: Final = 0.01
"""A gain below this share of the static loss counts as none."""


_BLOCKS: Final = 100


class Compared(NamedTuple):
    """A policy beside `never`: what it saves, and whether that is sure and worth something."""

    gain: Figure
    better: bool


class Choice(NamedTuple):
    """The policy to take and the others that are as good."""

    policy: str
    alike: tuple[str, ...]


def by_window(history: History, values: Floats) -> list[float]:
    """The mean of a tested row's values in each window."""
    edges = np.array(history.starts[history.begin : -1]) - history.tested
    sizes = np.diff([*edges, len(values)])
    return [float(one) for one in np.add.reduceat(values, edges) / sizes]


def figure(history: History, values: Floats, level: float) -> Figure:
    """The mean of tested rows' values with its interval over blocks of windows."""
    edges = np.array(history.starts[history.begin : -1]) - history.tested
    joined = -(-len(edges) // _BLOCKS)
    edges = edges[: len(edges) - len(edges) % joined : joined]
    sizes = np.diff([*edges, len(values)])
    value = float(values.mean())
    off = np.add.reduceat(values - value, edges)
    count = len(edges)
    error = float(np.sqrt((np.diff(off) ** 2).sum() / 2 * count / (count - 1)) / sizes.sum())
    half = student_factor(level, max(2, round(2 * count / 3))) * error
    return Figure(value=value, lo=value - half, hi=value + half)


def compare(
    history: History, never: Floats, others: dict[str, Floats], level: float
) -> dict[str, Compared]:
    """What each policy saves of never's loss; the level holds for all of them together."""
    each = 1 - (1 - level) / max(len(others), 1)
    least = MARGIN * float(never.mean())
    found = {}
    for name, values in others.items():
        gain = figure(history, never - values, each)
        found[name] = Compared(gain, gain.lo > least)
    return found


def choose(
    history: History,
    traces: dict[str, Floats],
    compared: dict[str, Compared],
    fits: dict[str, int],
    level: float,
) -> Choice:
    """`never` where nothing is surely better; else the cheapest of those as good as the best.

    The cheapest has fewest trainings and updates, then comes first in order.
    """
    good = [name for name, one in compared.items() if one.better]
    if not good:
        return Choice("never", ())
    best = max(good, key=lambda name: compared[name].gain.value)
    least = MARGIN * float(traces["never"].mean())
    alike = [
        name
        for name in good
        if name == best or figure(history, traces[name] - traces[best], level).lo <= least
    ]
    cheapest = min(alike, key=lambda name: (fits[name], alike.index(name)))
    return Choice(cheapest, tuple(name for name in alike if name != cheapest))
