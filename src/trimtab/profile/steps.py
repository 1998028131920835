"""A table of even steps that says which cell a number lies in: a binary search's answer, faster.

A step is monotone in its value, so all edges of lower steps lie below a value and all edges of
higher ones above it; only edges inside the value's own step need comparing. Steps are of the value,
or of its bits, which grow like a logarithm; what a table cannot say is searched, so that codes are
exact whatever it holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Steps = NDArray[np.intp]
Stepper = Callable[[Floats, bool], Steps]
"""Numbers to steps from 0 to `STEPS` + 1 in their order; without the order those at either end may come
out as any integer at or beyond either end, and NaN always may."""

STEPS: Final = 16_384
_TRIMS: Final = (0, 8)
"""Edges at either end that the steps need not reach, as a share of 1 / 256 of all."""
_SEARCHED: Final = -(1 << 32)
_TWICE: Final = 0.02
_GOOD: Final = 0.012


def table(edges: Floats) -> Callable[[Floats], NDArray[np.int64]]:
    """A function that equals `np.searchsorted(edges, values, side="right")`.

    `edges` ascend and end with infinity and NaN.
    """
    plan = _best(edges[:-2])
    if plan is None:

        def plain(values: Floats) -> NDArray[np.int64]:
            return np.searchsorted(edges, values, side="right").astype(np.int64)

        return plain
    step = plan.step
    below, first, second = _fill(edges[:-2], plan)

    def search(values: Floats) -> NDArray[np.int64]:
        at = step(values, False)
        codes = below.take(at, mode="clip")
        codes += values >= first.take(at, mode="clip")
        if second is not None:
            codes += values >= second.take(at, mode="clip")
        if codes.min(initial=0) < 0:
            left = np.flatnonzero(codes < 0)
            codes[left] = np.searchsorted(edges, values[left], side="right")
        return codes

    return search


@dataclass(frozen=True, eq=False)
class _Plan:
    """Which step each edge lies in and whether the step begins with it; `cost` compares plans.

    Up to `most` other edges in a step are compared with, more are searched, and so is what lies in
    step 0 or from `end` on.
    """

    step: Stepper
    own: Steps
    begins: NDArray[np.bool_]
    end: int
    most: int
    cost: float


def _best(edges: Floats) -> _Plan | None:
    best: _Plan | None = None
    for step in _steppers(edges):
        plan = _plan(edges, step)
        if best is None or plan.cost < best.cost:
            best = plan
        if best.cost < _GOOD:
            break
    return best


def _plan(edges: Floats, step: Stepper) -> _Plan:
    own = step(edges, True)
    # an edge with which its step begins needs no comparison: the step's values reach it
    with np.errstate(over="ignore"):
        begins = step(np.nextafter(edges, -np.inf), True) < own
    left, right = np.searchsorted(own, own, side="left"), np.searchsorted(own, own, side="right")
    begun = np.concatenate([[0], np.cumsum(begins)])
    inside = right - left - (begun[right] - begun[left])
    # cells hold about equal mass, so that a step's share follows from the steps that a cell spans
    spans = np.diff(own)
    share = 1 / ((spans + 1) * len(own))

    def mass(steps: NDArray[np.bool_]) -> float:
        return float(share @ steps[:-1] + share @ (steps[1:] & (spans > 0)))

    most = 2 if mass(inside == 2) > _TWICE else 1
    end = int(
        step(np.array([math.inf]), True)[0]
    )  # of bits infinity may come sooner, NaN next to it
    hard = (inside > most) | (own == 0) | (own >= end)
    return _Plan(step, own, begins, end, most, mass(hard) + (_TWICE if most == 2 else 0.0))


def _fill(edges: Floats, plan: _Plan) -> tuple[NDArray[np.int64], Floats, Floats | None]:
    """Of each step: the edges at or below all of it, and the one or two inside it (NaN: none)."""
    below = np.cumsum(np.bincount(plan.own, minlength=STEPS + 2))
    rest = ~plan.begins
    below -= np.bincount(plan.own[rest], minlength=STEPS + 2)
    first, second = np.full(STEPS + 2, np.nan), np.full(STEPS + 2, np.nan)
    places, start, among = np.unique(plan.own[rest], return_index=True, return_counts=True)
    first[places] = edges[rest][start]
    two = among > 1
    second[places[two]] = edges[rest][start[two] + 1]
    below[places[among > plan.most]] = _SEARCHED
    below[0] = below[plan.end :] = _SEARCHED
    return below, first, second if plan.most == 2 else None


def _steppers(edges: Floats) -> Iterator[Stepper]:
    """Ways to cut the line: of the value, of the value in whole binary steps, of its bits."""
    for share in _TRIMS:
        cut = share * len(edges) // 256
        inner = edges[2 + cut : len(edges) - 1 - cut]
        if inner.size > 1:
            low, high = inner[[0, -1]].tolist()
            yield from _even_steps(low, high)
            yield from _bit_steps(low, high)


def _even_steps(low: float, high: float) -> Iterator[Stepper]:
    """Steps 1 to `STEPS` of even width from `low` to `high`, 0 and `STEPS` + 1 for what is outside.

    Then the same where a step is a power of two wide and `low` a whole number of them: whole
    numbers begin their step.
    """
    width = high - low
    scale = STEPS / width if width > 0 else math.inf
    if not (math.isfinite(low) and 0 < scale < math.inf):
        return
    yield _affine(low - 1 / scale, scale)
    binary = math.ldexp(0.5, math.frexp(scale * (1 - 2 / STEPS))[1])
    if 0 < binary < math.inf:
        start = math.floor(low * binary) / binary if abs(low) * binary < 1 << 52 else low
        yield _affine(start - 1 / binary, binary)


def _affine(before: float, scale: float) -> Stepper:
    def step(values: Floats, ordered: bool) -> Steps:
        # NaN, infinities and 1e308 become some integer beyond either end
        with np.errstate(over="ignore", invalid="ignore"):
            place = values - before
            place *= scale
            if ordered:
                place = place.clip(0, STEPS + 1)
            return place.astype(np.intp)

    return step


def _bit_steps(low: float, high: float) -> Iterator[Stepper]:
    """The same between positive numbers, by the leading bits of a float64, which ascend with it."""
    if not 0 < low < high < math.inf:
        return
    first, last = np.array([low, high]).view(np.int64).tolist()
    shift = max((last - first) // STEPS, 1).bit_length()
    base = (first >> shift) - 1

    def step(values: Floats, ordered: bool) -> Steps:
        # negative numbers have the sign bit and fall below, infinities and NaN beyond either end
        place = np.ascontiguousarray(values).view(np.int64) >> shift
        place -= base
        if ordered:
            place = place.clip(0, STEPS + 1)
        steps: Steps = place.astype(np.intp, copy=False)
        return steps

    yield step
