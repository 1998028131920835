"""Runs as points over two fields, and shares of params as bars: numbers for SVG."""

from __future__ import annotations

import math
from typing import Final

import msgspec
import numpy as np

from trimtab.server import shown, words
from trimtab.store.workspace import Workspace
from trimtab.track.reports import Importance
from trimtab.track.search import fields, finding, parse
from trimtab.track.search.columns import Column
from trimtab.track.search.fault import QueryError
from trimtab.track.search.finding import Wanted
from trimtab.track.search.order import Places
from trimtab.track.search.tree import Field

WIDTH: Final = 640
HEIGHT: Final = 300
LEFT: Final = 76
BOTTOM: Final = 34
MOST: Final = 1_500
_WORDS: Final = 12
_BARS: Final = 12
_DAY: Final = 86_400_000_000
_FIRST: Final = 190
_LONG: Final = 300


class Tick(msgspec.Struct, frozen=True):
    """A mark of an axis."""

    at: float
    text: str


class Dot(msgspec.Struct, frozen=True):
    """A run; `text` is what it says."""

    x: float
    y: float
    run: str
    text: str


class Scatter(msgspec.Struct, frozen=True, kw_only=True):
    """Runs over two fields. `left_out` runs lack one; `thinned` says whether only some are drawn."""

    x: str
    y: str
    dots: list[Dot]
    across: list[Tick]
    up: list[Tick]
    left_out: int
    thinned: bool


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """A param's share: from zero to `end`, its interval from `lo` to `hi`."""

    name: str
    y: float
    start: float
    length: float
    lo: float
    hi: float
    text: str
    note: str


class Bars(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of the first params, and where zero stands."""

    zero: float
    height: float
    bars: list[Bar]


def scatter(ws: Workspace, wanted: Wanted, x: str, y: str) -> Scatter:
    """Runs over two fields; raises QueryError where there is nothing to place by."""
    across, up = _field(x), _field(y)
    table, rows = finding.every(ws, wanted)
    columns = table.column(across), table.column(up)
    as_words = [_is_words(column, rows) for column in columns]
    places = [_places(one, rows, named) for one, named in zip(columns, as_words, strict=True)]
    # NaN compares as false; what is written as infinite has no place among numbers
    has = (np.abs(places[0]) < words.UNKNOWN) & (np.abs(places[1]) < words.UNKNOWN)
    thinned = int(has.sum()) > MOST
    kept = np.flatnonzero(has)
    if thinned:
        kept = kept[np.linspace(0, len(kept) - 1, MOST).astype(np.intp)]
    xs, xticks = _scale(columns[0], across, as_words[0], places[0][kept], LEFT, WIDTH - 12)
    ys, yticks = _scale(columns[1], up, as_words[1], places[1][kept], HEIGHT - BOTTOM, 10)
    dots = []
    for at, row in enumerate(rows[kept].tolist()):
        one = table.records[row]
        said = [
            f"{name} {shown.written(field, column.value(row))}"
            for name, field, column in ((x, across, columns[0]), (y, up, columns[1]))
        ]
        dots.append(Dot(round(xs[at], 1), round(ys[at], 1), one.id, ", ".join([one.name, *said])))
    return Scatter(
        x=x,
        y=y,
        dots=dots,
        across=xticks,
        up=yticks,
        left_out=int((~has).sum()),
        thinned=thinned,
    )


def bars(found: Importance) -> Bars:
    """The greatest shares, on one scale."""
    some = found.shares[:_BARS]
    low = min([0.0, *(one.lo for one in some)])
    high = max([0.01, *(one.hi for one in some)])

    def x(value: float) -> float:
        return round(_FIRST + (value - low) / (high - low) * _LONG, 1)

    drawn = [
        Bar(
            name=one.param,
            y=24.0 * place,
            start=min(x(0.0), x(one.share)),
            length=round(abs(x(one.share) - x(0.0)), 1),
            lo=x(one.lo),
            hi=x(one.hi),
            text=f"{words.number(one.share)} {words.interval(one.lo, one.hi)}",
            note=f"varies with {', '.join(one.together)}" if one.together else "",
        )
        for place, one in enumerate(some)
    ]
    return Bars(zero=x(0.0), height=24.0 * len(some), bars=drawn)


def _field(text: str) -> Field:
    found = parse.field(text)
    if fields.kind(found) == "several":
        raise QueryError("a run has any number of these: no place", text, 0)
    return found


def _is_words(column: Column, rows: Places) -> bool:
    return bool(column.is_number[rows].sum() * 2 < column.present[rows].sum())


def _places(
    column: Column, rows: Places, is_words: bool
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Numbers where most runs have one, else the places of the most common words."""
    number, code = column.number[rows], column.code[rows]
    if not is_words:
        return np.where(column.is_number[rows], number, np.nan)
    common, counts = np.unique(code[code >= 0], return_counts=True)
    chosen = np.sort(common[np.argsort(-counts, kind="stable")][:_WORDS])
    return np.where(np.isin(code, chosen), code.astype(np.float64), np.nan)


def _scale(
    column: Column,
    field: Field,
    is_words: bool,
    values: np.ndarray[tuple[int], np.dtype[np.float64]],
    begin: float,
    end: float,
) -> tuple[list[float], list[Tick]]:
    if not len(values):
        return [], []
    if is_words:
        chosen = np.unique(values)
        step = (end - begin) / (len(chosen) + 1)
        at = [begin + step * (1 + place) for place in np.searchsorted(chosen, values).tolist()]
        ticks = [
            Tick(round(begin + step * (1 + place), 1), str(column.words[int(code)])[:14])
            for place, code in enumerate(chosen.tolist())
        ]
        return at, ticks
    low, high = float(values.min()), float(values.max())
    spread = high - low or max(abs(high), 1.0)
    low, high = low - 0.03 * spread, high + 0.03 * spread
    at = (begin + (values - low) / (high - low) * (end - begin)).tolist()
    return at, [
        Tick(
            round(begin + (value - low) / (high - low) * (end - begin), 1),
            _tick(field, value, high - low),
        )
        for value in _round_values(low, high)
    ]


def _round_values(low: float, high: float) -> list[float]:
    """A handful of round numbers of a range."""
    raw = (high - low) / 4
    size = 10.0 ** math.floor(math.log10(raw)) if raw > 0 and math.isfinite(raw) else 1.0
    step = next((size * one for one in (1, 2, 5, 10) if size * one >= raw), size)
    first = math.ceil(low / step)
    return [step * (first + place) for place in range(12) if step * (first + place) <= high]


def _tick(field: Field, value: float, width: float) -> str:
    kind = fields.kind(field)
    if kind == "moment":
        told = words.moment(int(value))
        return told[:10] if width > 5 * _DAY else told[5:16] if width > _DAY / 24 else told[11:]
    return shown.written(field, value) if kind == "span" else words.number(round(value, 12))
