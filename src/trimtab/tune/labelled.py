"""How many labels of a batch are wrong beyond what trusted rows are used to.

Rows are judged by models that have not seen them (Northcutt et al., 2021). Where the batch teaches
nothing new, by the model of the trusted rows alone: labels are more surprising than they were, and
how much more one wrong label is tells how many are. Where it does, old and new world may differ
honestly; then only anchors count, rows of which both models are sure and agree: their errors are the
rate of wrong labels (Patrini et al., 2017). A model that errs often where it is sure has no anchors: a
noisier world would look like wrong labels.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trimtab.tune.probe import Floats, Probe, bounded, of_shares

NAME: Final = "label_errors"
_SHARES: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
_FEW: Final = 30
_SURE: Final = 0.05
"""The share of errors of trusted anchors up to which they are anchors."""
_MOST: Final = 20.0
_ROUNDS: Final = 50
_AIM: Final = 0.05
_TAIL: Final = 0.98


def of_classes(
    answers: tuple[Floats, Floats],
    given: NDArray[Any],
    trusted: tuple[Floats, Floats],
    known: NDArray[Any],
    *,
    taught: bool,
    level: float,
    tolerated: float,
) -> tuple[Probe, NDArray[np.bool_]]:
    """The probe, and which rows (n,) of the batch contradict.

    `answers` are chances (n, classes) from the trusted model and from the batch's own; `trusted`
    the same for trusted rows, whose truth is `known`. `taught` says that the batch's own order rows
    better.
    """
    if taught:
        return _anchors(answers, given, trusted, known, level, tolerated)
    moved = _prior(answers[0], given)
    chance = moved[np.arange(len(given)), given]
    found, before = _surprise(moved), _surprise(_prior(trusted[0], known))
    rows, rows_before = np.arange(len(given)), np.arange(len(known))
    now, then = found[rows, given], before[rows_before, known]
    others = found.shape[1] - 1
    one_wrong = float(((found.sum(axis=1) - now) / others - now).mean())
    if one_wrong <= 0:
        return Probe(name=NAME, status="undecided", said="the old model is sure of no row"), (
            np.zeros(len(given), dtype=bool)
        )
    error = math.sqrt(now.var() / len(now) + then.var() / len(then)) / one_wrong
    bound = bounded((float(now.mean()) - float(then.mean())) / one_wrong, error, level, tolerated)
    bad = bound.lo > tolerated
    said = (
        f"about {max(bound.value, 0):.1%} of {len(now):,} labels are wrong beyond what trusted rows "
        f"show, at least {max(bound.lo, 0):.1%} ({tolerated:.1%} are tolerated)"
    )
    probe = Probe(
        name=NAME, status="fail" if bad else "pass", said=said, value=bound.value, lo=bound.lo,
        hi=bound.hi, p=bound.p, n=len(now), tolerated=tolerated,
        details={"trusted_rows": float(len(then))},
    )  # fmt: skip
    return probe, chance < 2 / _MOST


def _prior(chances: Floats, given: NDArray[Any]) -> Floats:
    """Chances with the classes as frequent as they are given (Saerens et al., 2002).

    So an honest change of how frequent the classes are surprises nobody.
    """
    shares = np.bincount(given, minlength=chances.shape[1]) / len(given)
    weights = np.ones(chances.shape[1])
    found = np.maximum(chances, 1e-9)
    for _ in range(_ROUNDS):
        found = np.maximum(chances, 1e-9) * weights
        found /= found.sum(axis=1, keepdims=True)
        weights *= np.maximum(shares, 1e-9) / found.mean(axis=0)
    return found


def _surprise(chances: Floats) -> Floats:
    """1 / p of every class (n, classes), which for calibrated chances is alike in all worlds."""
    found: Floats = np.minimum(1 / np.maximum(chances, 1e-9), _MOST)
    return found


def _anchors(
    answers: tuple[Floats, Floats],
    given: NDArray[Any],
    trusted: tuple[Floats, Floats],
    known: NDArray[Any],
    level: float,
    tolerated: float,
) -> tuple[Probe, NDArray[np.bool_]]:
    sure, says = _certainty(*answers)
    sure_before, says_before = _certainty(*trusted)
    wrong, wrong_before = says != given, says_before != known
    limit = _limit(sure_before, wrong_before)
    here, before = sure >= limit, sure_before >= limit
    classes = [
        (str(place), here & (says == place), before & (says_before == place))
        for place in range(answers[0].shape[1])
    ]
    groups = [("all", here, before), *classes]
    groups = [one for one in groups if one[1].sum() >= _FEW and one[2].sum() >= _FEW]
    if before.any() and wrong_before[before].mean() > _SURE:
        groups = []
    return _judge(groups, wrong, wrong_before, level, tolerated), here & wrong


def of_numbers(
    errors: tuple[Floats, Floats],
    trusted: tuple[Floats, Floats],
    *,
    level: float,
    tolerated: float,
) -> tuple[Probe, NDArray[np.bool_]]:
    """The same for a regression: errors are absolute, and a row contradicts where both are large.

    Large is beyond the 98 % quantile of trusted rows, in units of each model's median error.
    """
    now = np.minimum(*(one / max(float(np.median(one)), 1e-300) for one in errors))
    then = np.minimum(*(one / max(float(np.median(one)), 1e-300) for one in trusted))
    limit = float(np.quantile(then, _TAIL))
    every, all_before = np.ones(len(now), dtype=bool), np.ones(len(then), dtype=bool)
    wrong, wrong_before = now > limit, then > limit
    return _judge([("all", every, all_before)], wrong, wrong_before, level, tolerated), wrong


def _judge(
    groups: list[tuple[str, NDArray[np.bool_], NDArray[np.bool_]]],
    wrong: NDArray[np.bool_],
    wrong_before: NDArray[np.bool_],
    level: float,
    tolerated: float,
) -> Probe:
    if not groups:
        return Probe(
            name=NAME,
            status="undecided",
            said="too few rows on which old and new models are sure and agree",
        )
    found, classes = [], sum(name != "all" for name, _, _ in groups)
    for name, here, before in groups:
        counts = (int((here & wrong).sum()), int(here.sum()))
        other = (int((before & wrong_before).sum()), int(before.sum()))
        # Half for all rows, half for the classes together.
        part = level / 2 if name == "all" else level / 2 / classes
        bound = of_shares(*counts, *other, level=part, tolerated=tolerated)
        found.append((bound, name, counts, other))
    bound, name, counts, other = max(found, key=lambda one: one[0].lo)
    bad = bound.lo > tolerated
    said = (
        f"{counts[0]} of {counts[1]} labels contradict what old and new models are sure of"
        f" ({other[0]} of {other[1]} in trusted rows)"
    )
    return Probe(
        name=NAME, status="fail" if bad else "pass", said=said, value=bound.value, lo=bound.lo,
        hi=bound.hi, p=bound.p, n=counts[1], tolerated=tolerated,
        details={"share": counts[0] / counts[1], "trusted_share": other[0] / other[1],
                 "trusted_rows": float(other[1])},
        seen={"among": name},
    )  # fmt: skip


def _certainty(one: Floats, other: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """How sure the less sure of two models is of the class that both say best."""
    least = np.minimum(one, other)
    return least.max(axis=1), least.argmax(axis=1)


def _limit(sure: Floats, wrong: NDArray[np.bool_]) -> float:
    """From which certainty on 5 % of wrong labels would stand out most, on the trusted rows."""
    best, limit = -math.inf, 1.0
    for share in _SHARES:
        cut = float(np.quantile(sure, 1 - share))
        here = sure >= cut
        n = int(here.sum())
        rate = (float(wrong[here].sum()) + 1) / (n + 2)
        after = rate + _AIM * max(1 - 2 * rate, 0.0)
        power = _AIM * max(1 - 2 * rate, 0.0) / math.sqrt(2 * after * (1 - after) / n)
        if power > best:
            best, limit = power, cut
    return limit
