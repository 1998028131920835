"""What a judgement says: findings in words and numbers, and the measures behind them.

Plain frozen records: they go to the store, the API and the alert as they are.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Kind = Literal["data drift", "broken input", "skew", "broken join", "concept drift"]
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
]


class FeatureFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One feature of a finding.

    `statistic` names the test, `p` its corrected probability under no change. `effect` with its
    interval is in `unit`: "sd" (reference standard deviations), "share" (of rows), "correlation".
    `note` says it in words.
    """

    feature: str
    statistic: Test
    p: float
    effect: float
    lo: float
    hi: float
    unit: Literal["sd", "share", "correlation"]
    note: str


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of trouble, its features worst first.

    `since` is the index, in the windows judged, of the first one that is affected (for concept
    drift the row or time at which errors rose, as fed to the detector). `detail` holds numbers for
    machines, `text` one sentence for people.
    """

    kind: Kind
    severity: Severity
    features: tuple[FeatureFinding, ...]
    since: int | None
    text: str
    detail: dict[str, float] = {}


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """How far one feature of the newest window lies from the reference, alarming or not.

    `p` is for this test alone, uncorrected for the number of tests. For charts and heat maps.
    """

    feature: str
    statistic: Test
    value: float
    p: float
    effect: float
    lo: float
    hi: float
    unit: Literal["sd", "share"]


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """A judgement: at most one finding per kind, and a measure per feature.

    `rows` and `windows` were judged; `alpha` was the level of one feature at one scale. `reason`
    says why nothing was judged, where that is so.
    """

    findings: tuple[Finding, ...] = ()
    measures: tuple[Measure, ...] = ()
    rows: int = 0
    windows: int = 0
    alpha: float = 0.0
    reason: str = ""

    def kind(self, kind: Kind) -> Finding | None:
        """The finding of a kind, or None."""
        return next((finding for finding in self.findings if finding.kind == kind), None)
