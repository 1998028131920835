"""Distributions of columns and how far they moved, as tables with small bars."""

from __future__ import annotations

from typing import Final

from trimtab.loop.reports import ColumnDrift, Drift
from trimtab.profile.shape import Shape

_BLOCKS: Final = " ▁▂▃▄▅▆▇█"
_WORD: Final = 24
_NAMED: Final = 8


def bars(shares: tuple[float, ...]) -> str:
    """Shares as blocks, the largest full; what is there at all is seen."""
    top = max(shares, default=0.0)
    steps = len(_BLOCKS) - 1
    return "".join(_BLOCKS[max(1, round(one / top * steps)) if one > 0 else 0] for one in shares)


def render_shapes(shapes: list[Shape], left_out: dict[str, str]) -> None:
    """Numbers with their quantiles and bars, categories with their commonest levels."""
    from trimtab.cli import paper  # rich is loaded only to print

    numbers = [one for one in shapes if one.kind == "number"]
    if numbers:
        ends = ["lowest", "5 %", "median", "95 %", "highest", "mean"]
        paper.table(
            ["number", "missing", *ends, "distribution"],
            [(one.name, _percent(one.missing), *_ends(one), bars(one.bars)) for one in numbers],
            right=["missing", *ends],
        )
    categories = [one for one in shapes if one.kind == "category"]
    if categories:
        paper.table(
            ["category", "missing", "unseen", "levels", "commonest"],
            [
                (
                    one.name,
                    _percent(one.missing),
                    _percent(one.unseen),
                    _levels(one),
                    _commonest(one),
                )
                for one in categories
            ],
            right=["missing", "unseen", "levels"],
        )
    for why in dict.fromkeys(left_out.values()):
        names = [name for name, reason in left_out.items() if reason == why]
        more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
        paper.say(f"no distribution of {', '.join(names[:_NAMED])}{more}: {why}")


def render_drift(found: Drift) -> None:
    """The columns that moved; one line where none did."""
    from trimtab.cli import paper  # rich is loaded only to print

    if found.reason:
        paper.say(f"distributions: {found.reason}")
        return
    moved = [one for one in found.columns if one.drifted]
    if not moved:
        paper.say(f"no distribution moved ({len(found.columns)} columns)")
        return
    paper.table(
        ["moved", "effect", "95 % from", "to", "in", "p", "missing", "unseen"],
        [_moved(one) for one in moved],
        right=["effect", "95 % from", "to", "p", "missing", "unseen"],
    )
    for line in found.said:
        paper.say(line)


def _moved(one: ColumnDrift) -> tuple[str, ...]:
    return (
        one.column, f"{one.effect:.3f}", f"{one.lo:.3f}", f"{one.hi:.3f}",
        "sd" if one.unit == "sd" else "share of rows", f"{one.p:.2g}",
        _change(one.missing), _change(one.unseen),
    )  # fmt: skip


def _change(both: tuple[float, float]) -> str:
    return " to ".join(_percent(one) or "0%" for one in both) if any(both) else ""


def _percent(share: float) -> str:
    return "" if not share else f"{share:.1%}" if share >= 0.001 else "< 0.1%"


def _ends(one: Shape) -> tuple[str, ...]:
    if not one.quantiles:
        return ("",) * 6
    low, _, middle, _, high = one.quantiles
    values = (one.low, low, middle, high, one.high, one.mean)
    return tuple("" if value is None else f"{value:.4g}" for value in values)


def _levels(one: Shape) -> str:
    if one.distinct is None:
        return ""
    return f"{one.distinct:,.0f}" if one.distinct < 100 else f"about {one.distinct:,.0f}"


def _commonest(one: Shape) -> str:
    return ", ".join(f"{name[:_WORD]!r} {share:.0%}" for name, share in one.top)
