"""What a replay answers with: frozen records, light enough for the server to read."""

from __future__ import annotations

from typing import Literal

from trimtab.loop.reports import Report

REPORT = "report.json"
PICTURE = "replay.svg"


class Figure(Report, frozen=True, kw_only=True):
    """A mean over rows with its interval over windows."""

    value: float
    lo: float
    hi: float


class Window(Report, frozen=True, kw_only=True):
    """A tested window: its number, first row, rows and first moment (0 without times)."""

    number: int
    row: int
    rows: int
    start: int = 0


class Fit(Report, frozen=True, kw_only=True):
    """A retraining before window `window`, on `rows` rows from `row` on, and why."""

    window: int
    row: int
    rows: int
    why: str


class Outcome(Report, frozen=True, kw_only=True):
    """What a policy did. `losses` by name, `windows` the deciding loss in each window.

    `gain` is what it saved of `never`'s loss. `updates` are steps of `partial_fit`. `seconds` are of
    fitting and learning, the first training among them; `rows_fitted` counts rows in the same way.
    `kappa_temporal` is accuracy above the no-change classifier as a share of what that leaves;
    `waits` is what the policy still waited for when history ended.
    """

    policy: str
    about: str
    losses: dict[str, Figure]
    windows: list[float]
    retrains: list[Fit]
    updates: int
    seconds: float
    rows_fitted: int
    cost: float | None = None
    gain: Figure | None = None
    better: bool = False
    kappa_temporal: float | None = None
    waits: str = ""


class Guess(Report, frozen=True, kw_only=True):
    """A predictor that learns nothing from features: no-change, or majority (or median)."""

    name: str
    about: str
    losses: dict[str, Figure]
    windows: list[float]


class Replayed(Report, frozen=True, kw_only=True):
    """A whole replay. `loss` is the one that decides, `margin` the gain that is too small to count.

    `training` is "static" or "dynamic", `recommends` the policy. `unknown` says what this history
    cannot tell, `warnings` what is wrong with the models as they stand.
    """

    source: str
    estimator: str
    task: str
    target: str
    rows: int
    first_rows: int
    loss: str
    level: float
    margin: float
    seed: int
    windows: list[Window]
    policies: list[Outcome]
    guesses: list[Guess]
    training: Literal["static", "dynamic"]
    recommends: str
    because: str
    warnings: list[str]
    unknown: list[str]
    notes: list[str]
    run: str = ""
