"""The distributions of a data version as small pictures: a row of bars for each column."""

from __future__ import annotations

from typing import Final, NamedTuple

from trimtab.errors import NotFoundError
from trimtab.loop.project import Project
from trimtab.profile.shape import Shape
from trimtab.server import operations, words
from trimtab.server.requests import Reference

WIDTH: Final = 320
HEIGHT: Final = 84
MOST: Final = 60
_GAP: Final = 2


class Bar(NamedTuple):
    """A bar from the floor up."""

    x: float
    y: float
    width: float
    height: float


class Picture(NamedTuple):
    """A column: what is written above its bars, below them, and said to who cannot see them."""

    name: str
    said: str
    bars: list[Bar]
    low: str
    high: str
    label: str


class Drawn(NamedTuple):
    """The pictures of a version; `more` columns are not drawn."""

    version: str
    pictures: list[Picture]
    more: int


def of(project: Project, what: str) -> Drawn | None:
    """The pictures of what `what` names; None where that is no data version."""
    try:
        shown = operations.DATA_SHOW.call(project, Reference(reference=what))
    except NotFoundError:
        return None
    found = [_picture(one) for one in shown.shapes[:MOST]]
    return Drawn(shown.version.label, found, max(0, len(shown.shapes) - MOST))


def _picture(shape: Shape) -> Picture:
    missing = f"{shape.missing:.1%} missing" if shape.missing else ""
    unseen = f"{shape.unseen:.1%} not seen before" if shape.unseen else ""
    if shape.kind == "number":
        shares = shape.bars
        middle = shape.quantiles[2] if shape.quantiles else None
        said = "" if middle is None else f"median {words.number(middle)}"
        ends = (shape.bars_from, shape.bars_to)
        low, high = ("" if one is None else words.number(one) for one in ends)
        label = f"{shape.name}: from {low} to {high}, {said}" if shares else shape.name
    else:
        shares = tuple(share for _, share in shape.top)
        said = "" if shape.distinct is None else f"{shape.distinct:,.0f} levels"
        named = [f"{name[:20]} {share:.0%}" for name, share in shape.top]
        low, high = ", ".join(named[:3]), ""
        label = f"{shape.name}: {', '.join(named)}"
    spoken = ", ".join(one for one in (said, missing, unseen) if one)
    return Picture(shape.name, spoken, _bars(shares), low, high, label)


def _bars(shares: tuple[float, ...]) -> list[Bar]:
    top = max(shares, default=0.0)
    if not top:
        return []
    step = WIDTH / max(len(shares), 4)
    return [
        Bar(round(place * step, 1), round(HEIGHT - height, 1), round(step - _GAP, 1), height)
        for place, share in enumerate(shares)
        if (height := round(max(share / top * (HEIGHT - 4), 1.0 if share else 0.0), 1))
    ]
