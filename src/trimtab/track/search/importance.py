"""Which params explain a metric: by how much a forest predicts unseen runs worse without each.

Every repeat fits a forest to a random 70 % of the runs and asks it about the rest; a param's share
is the R² that is lost where its values are shuffled among those (permutation importance, Breiman
2001; Fisher, Rudin, Dominici 2019). Intervals are the middle 90 % of the repeats: they hold what
other runs and other forests would change, not what other ranges of the params would.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimtab.errors import NotFoundError, UndecidedError, UsageError
from trimtab.store.workspace import Workspace
from trimtab.track.reports import Importance, Share
from trimtab.track.search import finding, forest
from trimtab.track.search.columns import Column
from trimtab.track.search.fault import near
from trimtab.track.search.finding import Wanted
from trimtab.track.search.run_table import RunTable
from trimtab.track.search.tree import Field

LEAST: Final = 20
"""Runs with the metric below which nothing is said."""
MOST: Final = 1_500
REPEATS: Final = 16
_TREES: Final = 10
_LEVELS: Final = 8
_PARAMS: Final = 40
_TOGETHER: Final = 0.8
_SMALLEST: Final = 1e-12
Matrix = NDArray[np.float64]


class _Param(NamedTuple):
    name: str
    kind: str
    values: int
    matrix: Matrix
    levels: NDArray[np.intp]
    trend: float | None


def importance(ws: Workspace, wanted: Wanted, metric: str, *, seed: int = 0) -> Importance:
    """The shares of the params of some runs in a metric's last value.

    Raises NotFoundError where no run has the metric, UndecidedError where too few runs have it or
    nothing varies, UsageError for a negative seed.
    """
    if seed < 0:
        raise UsageError(f"there is no seed {seed}", hint="a seed is 0 or more")
    table, rows = finding.every(ws, wanted)
    metric = metric.removeprefix("metrics.")
    column = table.column(Field("metric", metric))
    if not column.present.any():
        hint = near(metric, table.keys("metric"))
        raise NotFoundError(f"no run has a metric {metric!r}", hint=hint)
    notes: list[str] = []
    has = rows[np.isfinite(column.number[rows])]
    if len(has) < int(column.is_number[rows].sum()):
        odd = int(column.is_number[rows].sum()) - len(has)
        notes.append(f"{odd} runs are left out: their {metric} is not finite")
    rng = np.random.default_rng(seed)
    if len(has) > MOST:
        notes.append(f"of {len(has):,} runs a random {MOST:,} were looked at")
        has = np.sort(rng.choice(has, MOST, replace=False))
    y = _scaled(column.number[has], metric)
    params, left_out = _params(table, has, y)
    if not params:
        raise UndecidedError("no param varies over these runs", hint="ask about more runs")
    return _told(metric, y, params, left_out, notes, rng)


def _scaled(values: Matrix, metric: str) -> Matrix:
    """Values over the largest of them: shares are the same, and no square is too large or small."""
    count = len(values)
    if count < LEAST:
        raise UndecidedError(
            f"too few runs: {count} have {metric!r}, and {LEAST} at least tell anything",
            hint="run more trials, or widen the filter",
        )
    y = values / (np.abs(values).max() or 1.0)
    if y.std() <= _SMALLEST:
        raise UndecidedError(f"{metric!r} is the same in all {count} runs: nothing to explain")
    return y


def _told(
    metric: str,
    y: Matrix,
    params: list[_Param],
    left_out: dict[str, str],
    notes: list[str],
    rng: np.random.Generator,
) -> Importance:
    explained, lost = _repeats(params, y, rng)
    together = _together(params)
    shares = [
        Share(
            param=one.name,
            share=float(lost[:, place].mean()),
            lo=float(np.quantile(lost[:, place], 0.05)),
            hi=float(np.quantile(lost[:, place], 0.95)),
            values=one.values,
            kind=one.kind,
            trend=one.trend,
            together=together.get(one.name, []),
        )
        for place, one in enumerate(params)
    ]
    lo, hi = (float(np.quantile(explained, level)) for level in (0.05, 0.95))
    if lo <= 0:
        notes.append("the params may explain nothing: the forest does no better than the mean")
    return Importance(
        metric=metric,
        n=len(y),
        explained=float(explained.mean()),
        lo=lo,
        hi=hi,
        shares=sorted(shares, key=lambda one: -one.share),
        left_out=left_out,
        notes=notes,
    )


def _params(
    table: RunTable, rows: NDArray[np.intp], y: Matrix
) -> tuple[list[_Param], dict[str, str]]:
    found: list[_Param] = []
    left_out: dict[str, str] = {}
    for name in table.keys("param"):
        column = table.column(Field("param", name))
        if not column.present[rows].any():
            continue
        read = _param(name, column, rows, y)
        if isinstance(read, str):
            left_out[name] = read
        elif len(found) == _PARAMS:
            left_out[name] = f"only {_PARAMS} params are looked at; name fewer with a filter"
        else:
            found.append(read)
    return found, left_out


def _param(name: str, column: Column, rows: NDArray[np.intp], y: Matrix) -> _Param | str:
    code, number = column.code[rows], column.number[rows]
    present = code >= 0
    values = len(np.unique(code[present]))
    if len(np.unique(code)) < 2:
        return "it has one value"
    if column.is_number[rows][present].all() and values > 2:
        ranks = _ranks(number)
        shown = _ranks(number[present])
        trend = _correlation(shown, _ranks(y[present])) if present.sum() > 2 else 0.0
        # what is missing stands below all: a tree can set it apart
        matrix = np.where(present, ranks, -len(rows))[:, None].astype(np.float64)
        return _Param(name, "number", values, matrix, _levels(ranks, present), trend)
    if values > max(_LEVELS, len(rows) // 2):
        return f"it has {values} values in {len(rows)} runs"
    common, counts = np.unique(code, return_counts=True)
    chosen = common[np.argsort(-counts, kind="stable")][: 2 * _LEVELS]
    matrix = (code[:, None] == chosen[None, :]).astype(np.float64)
    levels = np.where(matrix.any(axis=1), matrix.argmax(axis=1), len(chosen))
    return _Param(name, "text", values, matrix, levels, None)


def _repeats(params: list[_Param], y: Matrix, rng: np.random.Generator) -> tuple[Matrix, Matrix]:
    """R² of each repeat (r,), and what each param's shuffling takes from it (r, p)."""
    X = np.hstack([one.matrix for one in params])
    ends = np.cumsum([one.matrix.shape[1] for one in params])
    explained = np.zeros(REPEATS)
    lost = np.zeros((REPEATS, len(params)))
    for repeat in range(REPEATS):
        order = rng.permutation(len(y))
        cut = round(0.7 * len(y))
        fit, ask = order[:cut], order[cut:]
        trees = [forest.grow(X[fit], y[fit], rng) for _ in range(_TREES)]
        spread = float(((y[ask] - y[fit].mean()) ** 2).mean()) or 1.0
        explained[repeat] = _score(trees, X[ask], y[ask], spread)
        for place, end in enumerate(ends):
            begin = end - params[place].matrix.shape[1]
            shuffled = X[ask].copy()
            shuffled[:, begin:end] = shuffled[rng.permutation(len(ask)), begin:end]
            lost[repeat, place] = explained[repeat] - _score(trees, shuffled, y[ask], spread)
    return explained, lost


def _score(trees: list[forest.Tree], X: Matrix, y: Matrix, spread: float) -> float:
    mean = sum(forest.predict(one, X) for one in trees) / len(trees)
    return 1.0 - float(((y - mean) ** 2).mean()) / spread


def _together(params: list[_Param]) -> dict[str, list[str]]:
    """Params whose levels go together: Cramér's V, corrected for bias (Bergsma 2013)."""
    found: dict[str, list[str]] = {}
    for place, one in enumerate(params):
        for other in params[place + 1 :]:
            if _association(one.levels, other.levels) >= _TOGETHER:
                found.setdefault(one.name, []).append(other.name)
                found.setdefault(other.name, []).append(one.name)
    return found


def _association(a: NDArray[np.intp], b: NDArray[np.intp]) -> float:
    table = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(table, (a, b), 1.0)
    table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    n, (rows, columns) = len(a), table.shape
    expected = table.sum(axis=1)[:, None] * table.sum(axis=0)[None, :] / n
    phi = float(((table - expected) ** 2 / expected).sum()) / n
    phi = max(0.0, phi - (rows - 1) * (columns - 1) / (n - 1))
    least = min(rows - (rows - 1) ** 2 / (n - 1), columns - (columns - 1) ** 2 / (n - 1)) - 1
    return float(np.sqrt(phi / least)) if least > 0 else 0.0


def _levels(ranks: Matrix, present: NDArray[np.bool_]) -> NDArray[np.intp]:
    whole = len(ranks)
    found = np.minimum((ranks * _LEVELS / whole).astype(np.intp), _LEVELS - 1)
    return np.where(present, found, _LEVELS)


def _ranks(values: Matrix) -> Matrix:
    """Ranks from 0, ties share their mean; NaN last."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    middle: Matrix = (ends - (counts + 1) / 2.0).astype(np.float64)
    return middle[inverse]


def _correlation(a: Matrix, b: Matrix) -> float:
    x, y = a - a.mean(), b - b.mean()
    spread = float(np.sqrt((x**2).sum() * (y**2).sum()))
    return float((x * y).sum()) / spread if spread else 0.0
