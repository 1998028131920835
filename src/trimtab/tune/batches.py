"""A batch of rows by its effect: a champion's estimator with and without it, on rows that are trusted.

Four probes, each at its share of the level (half of it for the labels): what the batch does to golden
rows, labels that contradict, rows that were repeated, a pattern that was planted. Rows are capped, by
a seeded draw.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trimtab.errors import UndecidedError
from trimtab.tune import labelled, planted, repeated
from trimtab.tune.candidate import Candidate
from trimtab.tune.probe import Bounded, Floats, Probe, bounded, of_rows
from trimtab.tune.refit import Refit
from trimtab.tune.study import outcomes

MOST_ROWS: Final = 10_000
FEWEST: Final = 100
GOLDEN: Final = "golden_loss"
_LABELS: Final = 0.5
_OTHERS: Final = 3
_TAUGHT: Final = 0.01
_PLACE: Final = "__place__"


@dataclass(frozen=True, eq=False)
class Measured:
    """What a batch does. `suspects` are the places of the rows that speak against it."""

    effect: Probe
    probes: tuple[Probe, ...]
    suspects: NDArray[np.int64]
    rows: int
    used: int
    trusted: int
    golden: int

    @property
    def failed(self) -> tuple[Probe, ...]:
        """The probes that refuse it."""
        return tuple(one for one in (self.effect, *self.probes) if one.status == "fail")


def measure(
    champion: Candidate,
    batch: pl.DataFrame,
    golden: pl.DataFrame,
    *,
    level: float = 0.01,
    tolerated: float = 0.01,
    seed: int = 0,
) -> Measured:
    """Fit with and without a batch and hold both against the golden rows.

    The champion's training rows are the trusted ones; `tolerated` is the share of label errors that
    are no harm. Raises UndecidedError where nothing can be fitted or compared, PipelineError where
    the estimator fails on the batch.
    """
    label = champion.fit_on
    wanted = [*champion.features, label]
    batch = _usable(batch.with_row_index(_PLACE), [*wanted, _PLACE], label)
    golden, trusted = (
        _capped(_usable(one, wanted, label), seed) for one in (golden, champion.train)
    )
    rows, share = batch.height, level * (1 - _LABELS) / _OTHERS
    used = _capped(batch, seed)
    places, used = used[_PLACE].to_numpy(), used.drop(_PLACE)
    trusted, golden, used = _alike([trusted, golden, used], wanted)
    if min(used.height, golden.height) < FEWEST:
        raise UndecidedError(
            f"{used.height} labelled rows in the batch and {golden.height} golden ones; "
            f"{FEWEST} of each are needed"
        )
    refit = Refit(champion, _classes(champion, [trusted, golden, used]))
    flood, copies = repeated.probe(used, trusted, wanted, level=share, seed=seed)
    unique = used.filter(pl.Series(~copies))
    if unique.height < FEWEST:
        effect = Probe(name=GOLDEN, status="undecided", said=f"{unique.height} rows differ")
        found = np.flatnonzero(copies)
        return Measured(effect, (flood,), places[found], rows, used.height, trusted.height,
                        golden.height)  # fmt: skip
    fitted = _Fitted(refit, trusted, used, unique, golden, seed)
    errors, wrong = _labels(fitted, level * _LABELS, tolerated)
    pattern, has_it = planted.probe(fitted.worlds, level=share)
    effect = _effect(fitted, share)
    bad = _either(copies if flood.status == "fail" else None,
                  _spread(wrong, copies) if errors.status == "fail" else None,
                  _spread(has_it, copies), used.height)  # fmt: skip
    return Measured(
        effect=effect, probes=(errors, flood, pattern), suspects=places[bad], rows=rows,
        used=used.height, trusted=trusted.height, golden=golden.height,
    )  # fmt: skip


class _Fitted:
    """The models and their answers, each made once."""

    def __init__(
        self,
        refit: Refit,
        trusted: pl.DataFrame,
        batch: pl.DataFrame,
        unique: pl.DataFrame,
        golden: pl.DataFrame,
        seed: int,
    ) -> None:
        self.refit = refit
        self.fold = fold = refit.folds(unique, seed)
        self.unique, self.golden = unique, golden
        self.given, self.known = refit.given(unique), refit.given(golden)
        self.without = refit.fit(trusted)
        self.with_batch = refit.fit(pl.concat([trusted, batch]))
        self.before = refit.predict(self.without, unique)
        self.own = refit.crossed(unique, fold)
        self.joined = refit.crossed(unique, fold, beside=trusted)
        self.golden_without = refit.predict(self.without, golden)
        self.golden_with = refit.predict(self.with_batch, golden)
        self.trusted_own = refit.crossed(trusted, refit.folds(trusted, seed))
        # As many trusted rows as the batch has, judged the same way.
        self.sample = golden.sample(min(golden.height, unique.height), seed=seed)
        self.sample_given = refit.given(self.sample)
        self.sample_before = refit.predict(self.without, self.sample)
        self.sample_own = refit.crossed(self.sample, refit.folds(self.sample, seed))
        self.worlds = planted.Worlds(
            refit=refit, batch=unique, given=self.given, trusted=trusted,
            known=refit.given(trusted), golden=golden,
            without=self.without, with_batch=self.with_batch,
        )  # fmt: skip


def _labels(fitted: _Fitted, level: float, tolerated: float) -> tuple[Probe, NDArray[np.bool_]]:
    if fitted.refit.task == "regression":
        now, then = (
            tuple(np.abs(one[:, 0] - truth) for one in answers)
            for answers, truth in (
                ((fitted.before, fitted.own), fitted.given),
                ((fitted.sample_before, fitted.sample_own), fitted.sample_given),
            )
        )
        return labelled.of_numbers(
            (now[0], now[1]), (then[0], then[1]), level=level, tolerated=tolerated
        )
    taught = _taught(fitted)
    trusted = (fitted.sample_before, fitted.sample_own), fitted.sample_given
    if not taught:
        # All trusted rows, each by a model that has not seen it.
        seen = np.concatenate([fitted.golden_without, fitted.trusted_own])
        trusted = (seen, seen), np.concatenate([fitted.known, fitted.worlds.known])
    return labelled.of_classes(
        (fitted.before, fitted.own), fitted.given, *trusted,
        taught=taught, level=level, tolerated=tolerated,
    )  # fmt: skip


def _taught(fitted: _Fitted) -> bool:
    """Whether rows of the batch are better foretold by its other rows than without any of it."""
    # A shift of all chances, as wrong labels make one, is nothing new: it orders rows as before.
    best = fitted.refit.ordered(fitted.before, fitted.given, fitted.fold)
    before = fitted.refit.loss(best, fitted.given)
    return any(
        of_rows(before - fitted.refit.loss(one, fitted.given), _TAUGHT).lo > 0
        for one in (fitted.own, fitted.joined)
    )


def _effect(fitted: _Fitted, level: float) -> Probe:
    """Loss on golden rows with less without the batch; harm is what its own rows do not repay."""
    loss = fitted.refit.loss
    harm_rows = loss(fitted.golden_with, fitted.known) - loss(fitted.golden_without, fitted.known)
    gain_rows = loss(fitted.before, fitted.given) - loss(fitted.joined, fitted.given)
    harm, gain = of_rows(harm_rows, level), of_rows(gain_rows, level)
    net = _net(harm_rows, gain_rows, level)
    bad = harm.lo > 0 and net.lo > 0
    said = (
        f"loss on {len(harm_rows):,} golden rows changes by {harm.value:+.4f} with the batch; "
        f"on its own held-out rows by {-gain.value:+.4f}"
    )
    return Probe(
        name=GOLDEN, status="fail" if bad else "pass", said=said, value=harm.value, lo=harm.lo,
        hi=harm.hi, p=max(harm.p, net.p), n=len(harm_rows),
        details={"gain": gain.value, "gain_lo": gain.lo, "gain_rows": float(len(gain_rows))},
    )  # fmt: skip


def _net(harm: Floats, gain: Floats, level: float) -> Bounded:
    error = float(np.sqrt(harm.var(ddof=1) / len(harm) + gain.var(ddof=1) / len(gain)))
    return bounded(float(harm.mean() - gain.mean()), error, level)


def _usable(rows: pl.DataFrame, wanted: list[str], label: str) -> pl.DataFrame:
    missing = [name for name in wanted if name not in rows.columns]
    if missing:
        raise UndecidedError(
            f"the rows have no column {missing[0]!r}, which the champion was fitted with",
            hint="columns that a step makes are not in the data; the gate decides alone",
        )
    known = rows.drop_nulls([label]).select(wanted)
    return known.drop_nans([label]) if known.schema[label].is_float() else known


def _capped(rows: pl.DataFrame, seed: int) -> pl.DataFrame:
    return rows if rows.height <= MOST_ROWS else rows.sample(MOST_ROWS, seed=seed)


def _alike(tables: list[pl.DataFrame], wanted: list[str]) -> list[pl.DataFrame]:
    """Tables of the same types, so that they can be put together."""
    first = tables[0]
    try:
        return [one.select(pl.col(n).cast(first.schema[n]) for n in wanted) for one in tables]
    except pl.exceptions.PolarsError as error:
        raise UndecidedError(f"the batch's columns are of other types: {error}") from error


def _classes(champion: Candidate, tables: list[pl.DataFrame]) -> tuple[Any, ...]:
    if champion.task == "regression":
        return ()
    found: set[Any] = set(champion.classes)
    for one in tables:
        found |= set(np.unique(outcomes(one[champion.fit_on], champion.task)).tolist())
    return tuple(sorted(found))


def _spread(unique: NDArray[np.bool_], copies: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What is said of rows that differ, as places among all rows of the batch."""
    found = np.zeros(len(copies), dtype=bool)
    found[~copies] = unique
    return found


def _either(
    first: NDArray[np.bool_] | None, second: NDArray[np.bool_] | None,
    third: NDArray[np.bool_], rows: int,
) -> NDArray[np.int64]:  # fmt: skip
    found = third.copy()
    for one in (first, second):
        if one is not None:
            found |= one
    return np.flatnonzero(found)
