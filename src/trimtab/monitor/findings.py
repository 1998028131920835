"""What a judgement says: findings in words and numbers, and the measures behind them.

Plain frozen records: they go to the store, the API and the alert as they are.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

Kind = Literal[
    "data drift",
    "broken input",
    "skew",
    "broken join",
    "concept drift",
    "traffic change",
    "latency change",
    "errors",
]
Form = Literal[
    "",
    "sudden",
    "gradual",
    "recurring",
    "null burst",
    "type",
    "range",
    "stuck value",
    "stale source",
    "refused",
]
Severity = Literal["notice", "alarm"]
Test = Literal[
    "anderson_darling",
    "chi_square",
    "spike",
    "missing",
    "mistyped",
    "infinite",
    "far",
    "outside",
    "unseen",
    "correlation",
    "errors",
    "volume",
    "latency",
    "stale",
    "refused",
]

_LARGE: Final = 1e15
OUTPUTS: Final = ("__score__", "__decision__")
"""What a model said, among the features of its window."""
DEFECTS: Final[tuple[Kind, ...]] = ("broken input", "skew", "broken join")
"""Kinds that somebody upstream has to mend."""
EACH_A_CAUSE: Final[tuple[Kind, ...]] = ("broken input", "skew")
"""Kinds of which each feature breaks, ends and is told by itself."""


def called(feature: str) -> str:
    """A feature's name for people: a model's own outputs are profiled as `__score__` and the like."""
    return feature.strip("_") if feature.startswith("__") and feature.endswith("__") else feature


def figure(value: float, digits: int = 4) -> str:
    """A number for people: large ones whole, with their thousands apart, and no power of ten."""
    whole = 10**digits - 0.5 <= abs(value) < _LARGE
    return f"{value:,.0f}" if whole else f"{value:.{digits}g}"


class FeatureFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One feature of a finding.

    `statistic` names the test, `p` its corrected probability under no change. `effect` with its
    interval is in `unit`: "sd" (reference standard deviations), "share" (of rows), "correlation".
    `note` says it in words, `partner` is a correlation's other feature. `since` is when it began for
    this feature, told as that of its finding.
    """

    feature: str
    statistic: Test
    p: float
    effect: float
    lo: float
    hi: float
    unit: Literal["sd", "share", "correlation"]
    note: str
    partner: str = ""
    since: int | None = None


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of trouble, its features worst first.

    `since` is the index, in the windows judged, of the first one that is affected, or its moment where
    people are told of it (for concept drift the row or time at which errors rose, as fed to the detector).
    `form` says how it came, or how the input broke; "" where that cannot be told yet. `share` is the share
    of rows concerned, as far as it can be told, `slices` where it shows (`column=value`; none: everywhere
    or unknown). `detail` holds numbers for machines, `text` one sentence for people.
    """

    kind: Kind
    severity: Severity
    features: tuple[FeatureFinding, ...]
    since: int | None
    text: str
    detail: dict[str, float] = {}
    form: Form = ""
    share: float | None = None
    slices: tuple[str, ...] = ()


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """How far one feature of the newest window lies from the reference, alarming or not.

    `p` is for this test alone, uncorrected for the number of tests. `js` is the Jensen-Shannon
    divergence in bits and `ks` the largest difference of cumulative shares (numbers only), each
    with its interval; `psi` the population stability index over tenths of the reference (levels),
    `psi_usual` its mean at these sizes where nothing changed. For charts and heat maps.
    """

    feature: str
    statistic: Test
    value: float
    p: float
    effect: float
    lo: float
    hi: float
    unit: Literal["sd", "share"]
    js: float = 0.0
    js_lo: float = 0.0
    js_hi: float = 0.0
    ks: float = 0.0
    ks_lo: float = 0.0
    ks_hi: float = 0.0
    psi: float = 0.0
    psi_usual: float = 0.0


class SliceMeasure(msgspec.Struct, frozen=True, kw_only=True):
    """How far the scores of one slice of the newest window lie from the reference's.

    `share` of the window's rows are in it, `was` of the reference's. `effect`, with its interval, is
    the share of its rows whose score sits in another twentieth now; `p` is for this test alone.
    """

    column: str
    value: str
    rows: int
    share: float
    was: float
    p: float
    effect: float
    lo: float
    hi: float


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """A judgement: at most one finding per kind, a measure per feature and per watched slice.

    `rows` and `windows` were judged; `alpha` was the level of one feature at one scale. `reason`
    says why nothing was judged, where that is so. `drifted` lists the features of the newest window
    that differ from the reference, surest first, of which a share of `false_discoveries` may be
    chance; a list to look at under the alarms, which are far stricter.
    """

    findings: tuple[Finding, ...] = ()
    measures: tuple[Measure, ...] = ()
    slices: tuple[SliceMeasure, ...] = ()
    rows: int = 0
    windows: int = 0
    alpha: float = 0.0
    reason: str = ""
    drifted: tuple[str, ...] = ()
    false_discoveries: float = 0.05

    def kind(self, kind: Kind) -> Finding | None:
        """The finding of a kind, or None."""
        return next((finding for finding in self.findings if finding.kind == kind), None)
