"""Gives what was seen its name: data drift, broken input, skew, broken join or concept drift.

One finding per kind. Concept drift is what is left when errors exceed what the model itself expects
on these very rows and no defect of the inputs explains the excess.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from trimtab.monitor.budget import Margins
from trimtab.monitor.drift.case import Signal, sure
from trimtab.monitor.findings import (
    DEFECTS,
    FeatureFinding,
    Finding,
    Form,
    Kind,
    Severity,
    Test,
    called,
)
from trimtab.monitor.outcomes.concept import Alarm
from trimtab.monitor.outcomes.strata import Excess


class Naming(NamedTuple):
    """The concept drift that is named, or None, and the sentence that says why."""

    finding: Finding | None
    reason: str


CALM: Final = "where labels have come, errors are as the model's own probabilities expect them"

Onset = dict[tuple[str, str], int]

_ORDER: Final[tuple[Kind, ...]] = (*DEFECTS, "data drift")
_LISTED: Final = 3
_BROKEN: Final[dict[str, Form]] = {
    "missing": "null burst",
    "mistyped": "type",
    "infinite": "range",
    "far": "range",
    "outside": "range",
    "spike": "stuck value",
}
_STREAMS: Final = {
    "errors": "wrong decisions",
    "more": "events",
    "fewer": "rows without the event",
}


def name_inputs(
    signals: Iterable[Signal], onsets: Onset, features: int, margins: Margins
) -> tuple[Finding, ...]:
    """One finding per kind of input trouble, features ranked by p and then by sure effect.

    `onsets` holds the first affected window per (feature, test); a finding begins with its worst
    feature.
    """
    by_kind: dict[Kind, list[Signal]] = {}
    for signal in signals:
        by_kind.setdefault(signal.kind, []).append(signal)
    return tuple(
        _finding(kind, by_kind[kind], onsets, features, margins)
        for kind in _ORDER
        if kind in by_kind
    )


def name_errors(
    alarm: Alarm | None,
    inputs: Iterable[Finding],
    excesses: Mapping[str, Excess] | None = None,
    *,
    margin: float = 0.01,
    outcome: str = "",
    began: str = "",
    form: Form = "",
    said: str = "",
    slices: tuple[str, ...] = (),
) -> Naming:
    """Whether errors that rose beyond expectation are concept drift, and why (or why not).

    `inputs` are the findings on the same rows' inputs. A defect that touches a share of the rows
    explains an excess of at most that share. `excesses` (feature -> `strata.excess` since the
    alarm's `since`) must hold the features that drifted: where rows of equal score and equal value
    of a drifted feature err no more than before, the drift explains the errors. `outcome` says in the plural
    what rose, where it is not wrong decisions or events; `began` is `since` in words, `form` how it
    came, `said` more on that, `slices` where it shows.
    """
    if alarm is None:
        return Naming(None, CALM)
    found = {finding.kind: finding for finding in inputs}
    rate = (alarm.seen - alarm.expected) / max(alarm.rows, 1)
    drift = found.get("data drift")
    moved = [feature.feature for feature in drift.features] if drift else []
    explained = _explained(found, rate, moved, excesses or {}, margin)
    if explained:
        return Naming(None, explained)
    cause = (
        "more than the moved inputs explain" if moved else "while no move of the inputs was found"
    )
    what = outcome or _STREAMS[alarm.stream]
    title = f"Concept drift ({form}{said})" if form else "Concept drift"
    where = f" It shows in {', '.join(slices[:_LISTED])}." if slices else ""
    text = (
        f"{title}: {what} rose {cause}: {alarm.seen:.0f} in {alarm.rows} labelled rows since "
        f"{began or f'row {alarm.since}'}, {alarm.expected:.0f} were expected.{where}"
    )
    finding = Finding(
        kind="concept drift",
        severity="alarm",
        features=(),
        since=alarm.since if alarm.since_time is None else alarm.since_time,
        text=text,
        detail={
            "rows": float(alarm.rows),
            "seen": alarm.seen,
            "expected": alarm.expected,
            "excess": rate,
        },
        form=form,
        share=max(rate, 0.0),
        slices=slices,
    )
    return Naming(finding, text)


def _explained(
    found: Mapping[Kind, Finding],
    rate: float,
    moved: Iterable[str],
    excesses: Mapping[str, Excess],
    margin: float,
) -> str:
    """Why an excess `rate` of errors is no concept drift; empty where nothing explains it."""
    for kind, defect in found.items():
        if kind in DEFECTS and defect.detail["rows_touched"] >= rate:
            return f"errors rose, and {kind} explains it: mend the input first"
    for name in moved:
        if name in excesses and excesses[name].lo <= margin:
            return (
                f"errors rose because {name} moved to where the model is less accurate, or to where "
                "no withheld row can tell"
            )
    return ""


def _finding(
    kind: Kind, signals: list[Signal], onsets: Onset, features: int, margins: Margins
) -> Finding:
    ranked = sorted(signals, key=lambda signal: (signal.p, -sure(signal.effect), signal.feature))
    since = onsets[ranked[0].feature, ranked[0].test]
    names = list(dict.fromkeys(signal.feature for signal in ranked))
    form = form_of(kind, ranked[0].test)
    found = tuple(_feature(one, onsets[one.feature, one.test]) for one in ranked)
    return Finding(
        kind=kind,
        severity=severity(kind, found, margins),
        features=found,
        since=since,
        text=sentence(kind, form, found, features, since),
        detail={
            "features": float(len(names)),
            "of": float(features),
            "p": ranked[0].p,
            "effect": ranked[0].effect.value,
            "rows_touched": _touched(ranked),
        },
        form=form,
        share=_share(ranked),
    )


def form_of(kind: Kind, test: Test) -> Form:
    """How an input broke, by the test that found it; "" for other kinds."""
    return _BROKEN.get(test, "") if kind == "broken input" else ""


def sentence(
    kind: Kind,
    form: Form,
    found: Sequence[FeatureFinding],
    features: int,
    since: int,
    *,
    apart: bool = False,
) -> str:
    """A finding in words: its features worst first, of so many, since a window by its position; with
    `apart` those that began in another one say so.
    """
    names = dict.fromkeys(one.feature for one in found)
    said = "; ".join(
        f"{called(one.feature)} {one.note}"
        + (f" (since window {one.since})" if apart and one.since not in (None, since) else "")
        for one in found[:_LISTED]
    )
    more = f"; and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
    what = "features" if features > 1 else "feature"
    title = f"{kind.capitalize()} ({form})" if form else kind.capitalize()
    return f"{title} in {len(names)} of {features} {what} since window {since}: {said}{more}."


def _share(signals: list[Signal]) -> float | None:
    """The largest share of rows that a signal says moved or broke; None where none is in rows."""
    return max((abs(one.effect.value) for one in signals if one.unit == "share"), default=None)


def _feature(signal: Signal, since: int) -> FeatureFinding:
    return FeatureFinding(
        feature=signal.feature,
        statistic=signal.test,
        p=signal.p,
        effect=signal.effect.value,
        lo=signal.effect.lo,
        hi=signal.effect.hi,
        unit=signal.unit,
        note=signal.note,
        partner=signal.partner,
        since=since,
    )


def severity(
    kind: Kind, found: Sequence[FeatureFinding], margins: Margins | None = None
) -> Severity:
    """Whether what these features show calls somebody: drift is a notice while all of it is small."""
    if kind != "data drift":
        return "alarm"
    known = margins or Margins()
    limits = {"sd": known.strong_shift, "share": known.strong_share, "correlation": 0.0}
    strong = any(max(one.lo, -one.hi, 0.0) > limits[one.unit] for one in found)
    return "alarm" if strong else "notice"


def _touched(signals: list[Signal]) -> float:
    """An upper bound on the share of rows that hold a broken value; 1 where it has none."""
    if any(signal.unit != "share" for signal in signals):
        return 1.0
    return min(1.0, sum(max(signal.effect.hi, 0.0) for signal in signals))
