"""The rows of the store as frozen records, importable without a database library."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Validity = Literal["fixed", "anytime"]
Place = Literal["gate", "rollout", "monitor"]
Status = Literal["pass", "fail", "undecided", "missing"]
RunStatus = Literal["running", "done", "failed", "cached", "cancelled"]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """The base of every stored record."""


class Artifact(Record, frozen=True, kw_only=True):
    """Immutable bytes or tree, known by its digest. `created_at` is in microseconds."""

    digest: str
    kind: str
    size: int
    meta: dict[str, Any] = {}
    run: str = ""
    created_at: int = 0


class Version(Record, frozen=True, kw_only=True):
    """A numbered name for an artifact: `loans@v1`. Numbers start at 1 and are never reused."""

    kind: Literal["data", "model"]
    name: str
    number: int
    digest: str
    run: str = ""
    meta: dict[str, Any] = {}
    created_at: int = 0

    @property
    def label(self) -> str:
        """`NAME@vN`."""
        return f"{self.name}@v{self.number}"


class Run(Record, frozen=True, kw_only=True):
    """One execution. Times are in microseconds, 0 where it has not happened; memory in bytes."""

    id: str
    kind: str
    name: str
    status: RunStatus = "running"
    parent: str = ""
    key: str = ""
    cause: dict[str, Any] = {}
    params: dict[str, Any] = {}
    tags: dict[str, Any] = {}
    code: str = ""
    environment: str = ""
    concurrency_key: str = ""
    pid: int = 0
    started_at: int = 0
    heartbeat_at: int = 0
    ended_at: int = 0
    peak_bytes: int = 0
    error: dict[str, Any] | None = None


class Link(Record, frozen=True, kw_only=True):
    """An artifact that a run read ("in") or made ("out"), under the name it has in the run."""

    run: str
    direction: Literal["in", "out"]
    name: str
    digest: str


class Point(Record, frozen=True, kw_only=True):
    """One point of a metric series; `time` in microseconds."""

    key: str
    step: int
    time: int
    value: float


class CachedStep(Record, frozen=True, kw_only=True):
    """What a step key gave last time: output digests with the codec of each."""

    key: str
    run: str
    name: str
    outputs: list[str]
    codecs: list[str]
    components: dict[str, str] = {}
    observed: dict[str, str] = {}
    weak: list[str] = []
    created_at: int = 0


class Evidence(Record, frozen=True, kw_only=True):
    """A dated measurement of `metric` (and `statistic` of it) on `subject`.

    `subject` is an artifact digest, `endpoint:NAME` or `project:NAME`. `slice` is "" for all rows
    or `column=value`. `window` says which rows: "withheld", "bench", or a half-open range of event
    times `START/END` in RFC 3339. [`lo`, `hi`] covers the truth with probability `level`; where
    `validity` is "anytime" it does so for all looks together. `details` holds group counts and such.
    """

    id: str
    metric: str
    subject: str
    value: float
    lo: float
    hi: float
    n: int
    method: str
    statistic: str = ""
    slice: str = ""
    window: str = ""
    level: float = 0.95
    validity: Validity = "fixed"
    run: str = ""
    measured_at: int = 0
    details: dict[str, Any] = {}


class SliceMetric(Record, frozen=True, kw_only=True):
    """A metric on withheld rows: all of them (`slice` ""), or those of one `column=value`.

    [`lo`, `hi`] covers the truth with probability `level`, which the slices of a column share.
    """

    metric: str
    slice: str
    value: float
    lo: float
    hi: float
    level: float
    rows: int


class Verdict(Record, frozen=True, kw_only=True):
    """A requirement held against evidence. `requirement` is the digest of its text."""

    id: str
    requirement: str
    text: str
    metric: str
    subject: str
    place: Place
    status: Status
    reason: str
    statistic: str = ""
    provisional: bool = False
    value: float | None = None
    lo: float | None = None
    hi: float | None = None
    n: int = 0
    evidence: list[str] = []
    details: dict[str, Any] = {}
    config: str = ""
    run: str = ""
    decided_at: int = 0

    @property
    def allows(self) -> bool:
        """Whether the gate lets this through: a pass, or an undecided that is provisional."""
        return self.status == "pass" or self.provisional


class Endpoint(Record, frozen=True, kw_only=True):
    """A served address. `state` is "starting", "ready", "stopped" or "lost"; port 0 when unbound."""

    name: str
    target: str
    state: str
    pid: int = 0
    pid_started: float = 0.0
    host: str = "127.0.0.1"
    port: int = 0
    folder: str = ""
    routes: dict[str, Any] = {}
    created_at: int = 0
    updated_at: int = 0


class Rollout(Record, frozen=True, kw_only=True):
    """A candidate on its way to an endpoint; `state` is open, promoted, rolled_back or superseded."""

    id: str
    endpoint: str
    candidate: str
    champion: str
    stages: list[str]
    stage: int = 0
    state: str = "open"
    reason: str = ""
    cause: dict[str, Any] = {}
    opened_at: int = 0
    staged_at: int = 0
    closed_at: int = 0


class Incident(Record, frozen=True, kw_only=True):
    """Something that drifted off course; `key` makes one open incident per cause.

    `severity` is "page", "digest" or "notice". It is "open" until it is "resolved"; acknowledged
    means that somebody has it in hand. `reopened` counts how often it came back in its cooldown.
    """

    id: str
    kind: str
    key: str
    endpoint: str
    title: str
    severity: str = "page"
    state: str = "open"
    detail: dict[str, Any] = {}
    opened_at: int = 0
    resolved_at: int = 0
    since: int = 0
    resolution: str = ""
    acknowledged_at: int = 0
    acknowledged_by: str = ""
    reopened: int = 0


class Sighting(Record, frozen=True, kw_only=True):
    """How often an incident's cause was seen, in windows; `seen_at` is the last one's end."""

    incident: str
    occurrences: int
    seen_at: int
    updated_at: int = 0


class Alert(Record, frozen=True, kw_only=True):
    """A message about an incident on its way to one channel: a row before it is sent.

    `id` is the idempotency key that goes with it, so that a receiver can tell a repetition.
    `state` is "waiting", "sent" or "failed" (given up). `event` says what happened: "opened",
    "reopened", "escalated" or "resolved". Times in microseconds of the clock.
    """

    id: str
    incident: str
    event: str
    channel: str
    body: dict[str, Any]
    state: str = "waiting"
    attempts: int = 0
    next_at: int = 0
    error: str = ""
    receipt: str = ""
    created_at: int = 0
    sent_at: int = 0


class Action(Record, frozen=True, kw_only=True):
    """What the controller does, written before it is done; `key` makes it happen once."""

    id: str
    kind: str
    key: str
    state: Literal["planned", "running", "done", "failed", "skipped"]
    cause: dict[str, Any] = {}
    result: dict[str, Any] = {}
    created_at: int = 0
    updated_at: int = 0


class Window(Record, frozen=True, kw_only=True):
    """A closed window of an endpoint's traffic, [start, end) in event time, and what it held."""

    endpoint: str
    model: str
    role: str
    start: int
    end: int
    rows: int
    profile: str
    findings: list[dict[str, Any]] = []
    features: dict[str, Any] = {}
    judged_at: int = 0


class Label(Record, frozen=True, kw_only=True):
    """A late truth, joined by prediction id; times in microseconds."""

    prediction: str
    value: Any
    labelled_at: int
    received_at: int
    extra: dict[str, Any] = {}


class LabelChange(Record, frozen=True, kw_only=True):
    """A second, different label of a prediction; `kept` says whether it is the one that stands."""

    id: str
    prediction: str
    before: Any
    value: Any
    labelled_at: int
    received_at: int
    kept: bool


class LabelRequest(Record, frozen=True, kw_only=True):
    """Which answers' truth would settle what cannot be known; `state` is "open" or "closed".

    The `wanted` rows were answered in event times [`since`, `until`). `detail` tells the strata they
    were drawn from and what the model expects of them.
    """

    id: str
    endpoint: str
    model: str
    reason: str
    since: int
    until: int
    wanted: int
    answered: int = 0
    state: str = "open"
    detail: dict[str, Any] = {}
    opened_at: int = 0
    closed_at: int = 0
    resolution: str = ""


class RequestedLabel(Record, frozen=True, kw_only=True):
    """One row of a label request, at its `place` in the order to label in.

    `probability` is how likely the row was to be drawn from its `stratum`.
    """

    request: str
    place: int
    prediction: str
    stratum: str
    probability: float


class WindowEstimate(Record, frozen=True, kw_only=True):
    """An expected metric of one window, and what its labels showed later (None till then).

    `effective` is the effective sample size of weights as a share of withheld rows, 1 where none
    were used. `labels` counts the rows behind `realised`.
    """

    endpoint: str
    model: str
    metric: str
    start: int
    end: int
    value: float
    lo: float
    hi: float
    level: float
    n: int
    method: str
    note: str
    untrusted: str = ""
    effective: float = 1.0
    measured_at: int = 0
    realised: float | None = None
    realised_lo: float | None = None
    realised_hi: float | None = None
    labels: int = 0
    checked_at: int = 0


class Episode(Record, frozen=True, kw_only=True):
    """A trouble of one kind from `since` on; `until` is 0 while it lasts.

    `features` holds the direction in which each feature had moved (1 or -1).
    """

    endpoint: str
    model: str
    kind: str
    since: int
    until: int = 0
    form: str = ""
    features: dict[str, int] = {}


class LedgerEntry(Record, frozen=True, kw_only=True):
    """One link of the chain: `body` is canonical JSON text, `hash` covers it and `previous`."""

    seq: int
    time: int
    kind: str
    body: str
    previous: str
    hash: str
