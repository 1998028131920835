"""What is told of rollouts, A/B tests and drills: frozen records for the CLI, the API and the page.

Light: reading them loads no table or database library.
"""

from __future__ import annotations

from trimtab.loop.reports import Report
from trimtab.store.records import Action, Evidence, Rollout, Verdict


class Hold(Report, frozen=True, kw_only=True):
    """Who keeps a rollout where it is, why, and since when (microseconds)."""

    by: str
    reason: str
    since: int


class Terms(Report, frozen=True, kw_only=True):
    """An A/B test: the share of B, and when a person is asked to decide (0: at no set time)."""

    share: float
    until: int = 0


class RolloutShown(Report, frozen=True, kw_only=True):
    """A rollout with its newest verdicts; `waits` says what it waits for, or how it ended.

    `candidate` and `champion` are labels such as `loans@v2`, `share` is the candidate's of the
    traffic. `drills` are the newest rollback drills of the endpoint.
    """

    rollout: Rollout
    candidate: str
    champion: str
    stage: str
    share: float
    waits: str
    verdicts: list[Verdict]
    hold: Hold | None = None
    ab: Terms | None = None
    drills: list[Evidence] = []


class RolloutsListed(Report, frozen=True, kw_only=True):
    """Rollouts, newest first."""

    rollouts: list[RolloutShown]


class Steered(Report, frozen=True, kw_only=True):
    """What a person did to a rollout; `changed` is false where it was so already."""

    rollout: Rollout
    message: str
    changed: bool = True
    action: Action | None = None


class Measured(Report, frozen=True, kw_only=True):
    """A measurement with an interval that holds at any look; `note` says why there is none."""

    metric: str
    value: float | None = None
    lo: float | None = None
    hi: float | None = None
    n: int = 0
    note: str = ""


class Arm(Report, frozen=True, kw_only=True):
    """One side of an A/B test: "A" is the champion, "B" the candidate.

    `share` is of the requests that either answered, `failed` the share of its own that ended in an
    error of the endpoint (status 500 and above), latencies are in milliseconds, to 1 %.
    """

    name: str
    model: str
    requests: int
    rows: int
    share: float
    labelled: int
    failed: Measured
    latency: list[Measured]
    metrics: list[Measured]


class Mismatch(Report, frozen=True, kw_only=True):
    """Whether the arms got the shares that they should; `p` holds at any number of looks."""

    expected: float
    seen: float
    n: int
    p: float | None
    fired: bool
    sentence: str


class Difference(Report, frozen=True, kw_only=True):
    """By how much B is better than A in a metric; negative where it is worse."""

    metric: str
    value: float | None
    lo: float | None
    hi: float | None
    n: int
    level: float
    sentence: str
    more_rows: int = 0


class ArmsCompared(Report, frozen=True, kw_only=True):
    """The report of an A/B test, or of any rollout that has answered at a share of the traffic."""

    rollout: Rollout
    terms: Terms
    arms: list[Arm]
    mismatch: Mismatch
    differences: list[Difference]
    agreement: str
    sentence: str
    asks: str


class Drilled(Report, frozen=True, kw_only=True):
    """A rollback drill: times in seconds from the decision, one for each round.

    `written` is when the routes were on disk, `answered` when the first answer by the right model
    came over HTTP, `settled` when the other model had answered for the last time. `sent` requests ran
    all the while; `lost` of them had no good answer.
    """

    endpoint: str
    model: str
    other: str
    share: float
    written: list[float]
    answered: list[float]
    settled: list[float]
    sent: int
    lost: int
    evidence: Evidence
    message: str
