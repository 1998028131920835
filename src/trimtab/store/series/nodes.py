"""Summaries of neighbouring points, which a chart is drawn from: few numbers whatever they cover.

A node says how many points there are, the first and the last, the least and the greatest finite value
and where those are, and how many are NaN or infinite. Nodes join into nodes of more points.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from trimtab.store.series.points import Series

NODE: Final = np.dtype(
    [
        ("points", "<i8"),
        ("nans", "<i8"),
        ("rises", "<i8"),
        ("falls", "<i8"),
        ("since", "<i8"),
        ("until", "<i8"),
        ("first_step", "<i8"),
        ("first_time", "<i8"),
        ("first", "<f8"),
        ("last_step", "<i8"),
        ("last_time", "<i8"),
        ("last", "<f8"),
        ("low", "<f8"),
        ("low_step", "<i8"),
        ("low_time", "<i8"),
        ("high", "<f8"),
        ("high_step", "<i8"),
        ("high_time", "<i8"),
    ]
)
"""`rises` and `falls` count the infinities; `low` is +inf and `high` -inf where no value is finite.

First and last go by the order of points, `since` and `until` are the earliest and latest time.
"""

Nodes = NDArray[np.void]


def of_series(series: Series, size: int) -> Nodes:
    """Nodes of `size` points each, the last of the rest; the series is in order."""
    return of_groups(series, np.arange(0, len(series), size))


def of_groups(series: Series, starts: NDArray[np.intp]) -> Nodes:
    """A node for the points from each start to the next."""
    found = np.zeros(len(starts), dtype=NODE)
    if not len(starts):
        return found
    value, bounds = series.value, np.r_[starts, len(series)]
    finite, ends = np.isfinite(value), bounds[1:] - 1
    found["points"] = np.diff(bounds)
    if not finite.all():
        found["nans"] = np.add.reduceat(np.isnan(value).astype(np.int64), starts)
        found["rises"] = np.add.reduceat((value == np.inf).astype(np.int64), starts)
        found["falls"] = np.add.reduceat((value == -np.inf).astype(np.int64), starts)
    found["since"] = np.minimum.reduceat(series.time, starts)
    found["until"] = np.maximum.reduceat(series.time, starts)
    low = value if finite.all() else np.where(finite, value, np.inf)
    high = value if finite.all() else np.where(finite, value, -np.inf)
    found["low"], least = _extreme(low, starts, np.minimum)
    found["high"], greatest = _extreme(high, starts, np.maximum)
    for name, at in (("first", starts), ("last", ends), ("low", least), ("high", greatest)):
        found[f"{name}_step"] = series.step[at]
        found[f"{name}_time"] = series.time[at]
    found["first"], found["last"] = value[starts], value[ends]
    return found


def of_points(series: Series) -> Nodes:
    """A node for every point."""
    return of_groups(series, np.arange(len(series)))


def grouped(nodes: Nodes, size: int) -> Nodes:
    """Each `size` neighbours as one, the rest as the last."""
    return _reduced(nodes, np.arange(0, len(nodes), size))


def _reduced(nodes: Nodes, starts: NDArray[np.intp]) -> Nodes:
    """Neighbours as one node each: group i is from starts[i] to the next."""
    if not len(starts):
        return np.zeros(0, dtype=NODE)
    found = np.zeros(len(starts), dtype=NODE)
    ends = np.r_[starts[1:], len(nodes)] - 1
    for name in ("points", "nans", "rises", "falls"):
        found[name] = np.add.reduceat(nodes[name], starts)
    found["since"] = np.minimum.reduceat(nodes["since"], starts)
    found["until"] = np.maximum.reduceat(nodes["until"], starts)
    for name in ("first", "first_step", "first_time"):
        found[name] = nodes[name][starts]
    for name in ("last", "last_step", "last_time"):
        found[name] = nodes[name][ends]
    for name, best in (("low", np.minimum), ("high", np.maximum)):
        found[name], at = _extreme(nodes[name], starts, best)
        found[f"{name}_step"] = nodes[f"{name}_step"][at]
        found[f"{name}_time"] = nodes[f"{name}_time"][at]
    return found


def _extreme(
    values: NDArray[np.float64], starts: NDArray[np.intp], best: np.ufunc
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """The extreme of each group and the first place where it is reached."""
    extreme = best.reduceat(values, starts)
    each = np.repeat(extreme, np.diff(np.r_[starts, len(values)]))
    places = np.flatnonzero(values == each)
    return extreme, places[np.searchsorted(places, starts)]


def merged(nodes: Nodes, groups: NDArray[np.int64]) -> Nodes:
    """The nodes of each group that has any as one, in order; `groups` ascends."""
    return _reduced(nodes, np.unique(groups, return_index=True)[1])
