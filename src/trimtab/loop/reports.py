"""What the loop's operations answer with: frozen records for the CLI, the API and the page."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from trimtab.store.records import Action, Endpoint, Incident, Rollout, Run, Verdict, Version


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The base of every answer."""


class Parity(Report, frozen=True, kw_only=True):
    """How far the packaged model is from the estimator it was made of; `reason` is why it is no graph."""

    engine: str
    rows: int
    max_abs_diff: float
    share_off: float
    flipped: int
    reason: str = ""


class Decision(Report, frozen=True, kw_only=True):
    """What the gate decided on a packaged candidate; a refused one has no version."""

    subject: str
    allowed: bool
    provisional: bool
    verdicts: list[Verdict]
    version: Version | None = None


class Trained(Report, frozen=True, kw_only=True):
    """The end of `trimtab run`: the flow's run, its steps, the packaged candidate and the gate."""

    run: Run
    nothing_to_do: bool
    steps_run: int
    steps_cached: int
    trials: int
    subject: str
    parity: Parity | None
    decision: Decision
    metrics: dict[str, float] = {}


class Admission(Report, frozen=True, kw_only=True):
    """Whether a data version may be trained on, and what it does to the champion.

    `status` is "accept", "refuse", "warn" or, where nothing could be measured, "missing". `value` is the
    change of the loss on golden rows, `word` a person's: its "reason", who it is "by" and when, "at".
    """

    version: str
    status: str
    reason: str = ""
    champion: str = ""
    value: float | None = None
    lo: float | None = None
    hi: float | None = None
    n: int = 0
    rows: int = 0
    probes: list[dict[str, Any]] = []
    measured_at: int = 0
    word: dict[str, Any] = {}


class Applied(Report, frozen=True, kw_only=True):
    """A configuration that controller and monitor now go by."""

    digest: str
    changed: bool


class Deployed(Report, frozen=True, kw_only=True):
    """A model behind an address."""

    endpoint: Endpoint
    url: str
    version: str
    rollout: Rollout | None = None
    message: str = ""


class Pass(Report, frozen=True, kw_only=True):
    """One pass of the controller: what it saw and what it did.

    `blind` says that nothing tells whether an endpoint's model is right.
    """

    observed: list[str]
    acted: list[Action]
    waiting: list[str]
    settled: bool
    blind: bool = False


class Node(Report, frozen=True, kw_only=True):
    """One stage of the loop on the overview: "good", "bad", "busy", "idle" or "unknown"."""

    name: str
    state: str
    title: str
    detail: str = ""
    link: str = ""


class RequirementState(Report, frozen=True, kw_only=True):
    """A requirement and its newest verdict at each place."""

    text: str
    gate: Verdict | None = None
    rollout: Verdict | None = None
    monitor: Verdict | None = None


class Outlook(Report, frozen=True, kw_only=True):
    """What the controller sees, will do next and why not more: in a paragraph, and line by line."""

    text: str
    sees: list[str]
    next: list[str]
    held: list[str]


class Overview(Report, frozen=True, kw_only=True):
    """A project's loop at a glance; `ending` says of endpoints that are to retire where they stand."""

    project: str
    purpose: str
    sentence: str
    outlook: Outlook
    nodes: list[Node]
    requirements: list[RequirementState]
    versions: list[Version]
    aliases: dict[str, str]
    endpoints: list[Endpoint]
    rollouts: list[Rollout]
    incidents: list[Incident]
    actions: list[Action]
    runs: list[Run]
    ending: dict[str, str] = {}


class Event(Report, frozen=True, kw_only=True):
    """Something that happened: in words, with its cause.

    `lane` is what it happened to: champion, model, rollout, retrain, incident, labels, data,
    endpoint or controller. `tone` is good, bad, warn, busy or plain; `id` what `trimtab why` takes,
    the same for all that happened to one thing. `ends` says that what began under that id is over,
    `short` is it in two words, for a picture.
    """

    time: int
    lane: str
    said: str
    cause: str = ""
    tone: str = "plain"
    id: str = ""
    short: str = ""
    endpoint: str = ""
    ends: bool = False


class Timeline(Report, frozen=True, kw_only=True):
    """What happened between two moments (microseconds), oldest first."""

    since: int
    until: int
    events: list[Event]


class Lineage(Report, frozen=True, kw_only=True):
    """Why something is as it is: a sentence, facts, and what it came from."""

    title: str
    facts: dict[str, Any] = {}
    because: list[Lineage] = []


class Check(Report, frozen=True, kw_only=True):
    """One thing that `trimtab doctor` looked at."""

    name: str
    ok: bool
    message: str


class Health(Report, frozen=True, kw_only=True):
    """What `trimtab doctor` found."""

    ok: bool
    entries: int
    head: str
    blobs: int
    checks: list[Check]


class ColumnDrift(msgspec.Struct, frozen=True, kw_only=True):
    """How far one column moved: `p` of its test alone, `effect` with its 95 % interval.

    `drifted` is the discovery among all columns together (Benjamini and Hochberg at 5 %). Shares of
    rows that were `missing`, and that had a level or lay beyond the ends that the bins know
    (`unseen`), each before and after.
    """

    column: str
    drifted: bool
    test: str
    p: float
    effect: float
    lo: float
    hi: float
    unit: Literal["sd", "share"]
    missing: tuple[float, float]
    unseen: tuple[float, float]


class Drift(Report, frozen=True, kw_only=True):
    """All columns that both versions have, those that moved and moved most first.

    `said` names what was found in words; `reason` says why nothing could be compared.
    """

    columns: list[ColumnDrift] = []
    said: list[str] = []
    reason: str = ""


class Delivery(Report, frozen=True, kw_only=True):
    """What became of an alert; `at` is when it arrived, or when it is tried next.

    `failing` is one that was tried in vain, `text` says all of it in a sentence.
    """

    text: str
    channel: str = ""
    event: str = ""
    state: str = ""
    attempts: int = 0
    at: int = 0
    failing: bool = False
