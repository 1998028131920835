"""All tests of one feature, reduced to what is worth saying: at most one signal per kind.

A few broken values also move a distribution, and a moved distribution also leaves its old range.
What decides is the rest: if the other values stand still the input is broken, else the data
drifted.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from trimtab.monitor.drift.case import Case, Signal, stronger, sure
from trimtab.monitor.drift.defects import broken, spike
from trimtab.monitor.drift.shapes import known_levels_moved, levels_moved, numbers_moved, rest_moved
from trimtab.monitor.findings import Kind
from trimtab.profile.cells import NumberCells

_TORN: Final = 0.05


def inspect(case: Case) -> list[Signal]:
    """The strongest signal of each kind for one feature."""
    cells = case.cells
    signals = broken(case)
    peak = spike(case)
    if isinstance(cells, NumberCells):
        moved = numbers_moved(case, cells)
        signals = _explained(case, cells, moved, peak, signals)
    else:
        drifted = [signal for signal in (levels_moved(case, cells), peak) if signal]
        unseen = next((signal for signal in signals if signal.test == "unseen"), None)
        # new levels take their share from every other one: drift only if those moved among themselves
        if unseen is None or known_levels_moved(case, cells, unseen.entry):
            signals += drifted
    best: dict[Kind, Signal] = {}
    for signal in signals:
        best[signal.kind] = stronger(best.get(signal.kind), signal)
    return list(best.values())


def _explained(
    case: Case,
    cells: NumberCells,
    moved: Signal | None,
    peak: Signal | None,
    defects: list[Signal],
) -> list[Signal]:
    """A numeric feature's signals, decided between broken values and a moved distribution."""
    local = [signal for signal in defects if signal.test in {"infinite", "far", "outside"}]
    if peak is not None and peak.kind == "broken input":
        local.append(peak)
    if not local:
        return [*defects, *(signal for signal in (moved, peak) if signal)]
    codes = tuple({code for signal in local for code in signal.codes})
    entry = moved.entry if moved else max(signal.entry for signal in local)
    others = [signal for signal in defects if signal not in local]
    if rest_moved(case, cells, entry, codes):
        # values outside are the front of a moving distribution, unless they tear away from it
        kept = [signal for signal in local if _beyond_drift(signal) or moved is None]
        drifted = [
            replace(signal, kind="data drift") if signal.test == "spike" else signal
            for signal in kept
        ]
        torn = any(_beyond_drift(signal) for signal in drifted)
        return [*others, *drifted, *([moved] if moved and not torn else [])]
    return [*others, *(replace(signal, kind="broken input") for signal in local)]


def _beyond_drift(signal: Signal) -> bool:
    """Whether no drift is a fair name: infinities, or many rows a whole training range away."""
    return signal.test == "infinite" or (signal.test == "far" and sure(signal.effect) > _TORN)
