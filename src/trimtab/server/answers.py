"""What operations on nouns answer with; the loop's own answers are `trimtab.loop.reports`."""

from __future__ import annotations

from typing import Any

from trimtab.access import Scope
from trimtab.config import Config
from trimtab.loop.reports import Admission, Delivery, Drift, Report
from trimtab.profile.shape import Shape
from trimtab.serve.access.consumers import Consumer
from trimtab.store.records import (
    Action,
    Alert,
    Artifact,
    Endpoint,
    Evidence,
    Incident,
    LabelRequest,
    Link,
    Point,
    RequestedLabel,
    Rollout,
    Run,
    SliceMetric,
    Verdict,
    Version,
    Window,
    WindowEstimate,
)


class Submitted(Report, frozen=True, kw_only=True):
    """A command that was begun in a process of its own; `log` is the file it writes to."""

    pid: int
    log: str


class TriggerState(Report, frozen=True, kw_only=True):
    """A trigger: on what it starts, its next moments, open firings, and the newest of all."""

    name: str
    flow: str
    on: list[str]
    overlap: str
    next: list[int]
    open: int
    last: Action | None = None


class Triggers(Report, frozen=True, kw_only=True):
    """The triggers of the configuration in force."""

    triggers: list[TriggerState]


class TriggerShown(Report, frozen=True, kw_only=True):
    """A trigger and its firings, newest first."""

    trigger: TriggerState
    firings: list[Action]


class Fired(Report, frozen=True, kw_only=True):
    """Firings that were written down; the next pass of the controller begins their jobs."""

    actions: list[Action]


class Paused(Report, frozen=True, kw_only=True):
    """Whether the controller rests, why, and since when."""

    paused: bool
    reason: str = ""
    since: int = 0


class PlannedStep(Report, frozen=True, kw_only=True):
    """A step of a plan: "cached" or "run", and why; `weak` is what its key cannot see."""

    step: str
    action: str
    reason: str
    weak: list[str] = []


class Planned(Report, frozen=True, kw_only=True):
    """What a run of the flow would do. `data` is each source's version, "" where it would be new."""

    flow: str
    steps: list[PlannedStep]
    data: dict[str, str]
    nothing_to_do: bool


class DataAdded(Report, frozen=True, kw_only=True):
    """What `data add` did; `new` is False where these bytes had a version already.

    `changes` are those accepted in the schema, `quarantined` the reasons of batches kept aside.
    """

    version: Version
    new: bool
    rows: int
    columns: int
    changes: list[str] = []
    notes: list[str] = []
    quarantined: list[str] = []


class Versions(Report, frozen=True, kw_only=True):
    """Versions, newest first, and aliases as `NAME@ALIAS` -> digest."""

    versions: list[Version]
    aliases: dict[str, str]


class DataShown(Report, frozen=True, kw_only=True):
    """A data version, what is known of its table, and the runs that read or made it.

    `admission` is whether the loop may train on it, `quarantine` what lies there of it: cells too.
    `shapes` are the distributions of its columns, those in `left_out` have none, with why.
    """

    version: Version
    aliases: list[str]
    artifact: Artifact | None
    users: list[Link]
    admission: Admission | None = None
    quarantine: dict[str, Any] = {}
    shapes: list[Shape] = []
    left_out: dict[str, str] = {}


class CellDiff(Report, frozen=True, kw_only=True):
    """A changed cell of the row that `key` names."""

    key: Any
    column: str
    before: Any
    after: Any


class DataDiff(Report, frozen=True, kw_only=True):
    """Rows that came, went and changed from one data version to another.

    `columns` counts the changed rows a column; `sample` are the first changed cells. Without a key
    nothing is `changed`: another value is one row removed and one added. `drift` is how far the
    distribution of each column moved, whatever rows it is in.
    """

    before: str
    after: str
    key: str
    rows_before: int
    rows_after: int
    added: int
    removed: int
    changed: int
    columns: dict[str, int]
    sample: list[CellDiff]
    schema: list[str]
    drift: Drift | None = None


class Runs(Report, frozen=True, kw_only=True):
    """A page of runs, and the last value of each of their series by run and key.

    `matched` counts the runs of all pages, `next` is the token of the page after this, "" at the end.
    `notes` say what a filter asks about that no run has.
    """

    runs: list[Run]
    metrics: dict[str, dict[str, float]] = {}
    matched: int = 0
    next: str = ""
    notes: list[str] = []


class RunShown(Report, frozen=True, kw_only=True):
    """A run with its last metrics, what it read and made, and the runs inside it.

    `deleted_at` is 0 where it is not deleted.
    """

    run: Run
    metrics: dict[str, float]
    links: list[Link]
    children: list[Run]
    deleted_at: int = 0


class Series(Report, frozen=True, kw_only=True):
    """One metric's points by step."""

    key: str
    points: list[Point]


class RunMetrics(Report, frozen=True, kw_only=True):
    """The metric series of a run."""

    run: str
    series: list[Series]


class PastWindows(Report, frozen=True, kw_only=True):
    """The windows that a model's package knows ordinary variation from: times in microseconds."""

    number: int
    span: int
    first: int
    last: int
    least_rows: int
    most_rows: int


class ModelShown(Report, frozen=True, kw_only=True):
    """A packaged model: its version (none where the gate refused it), verdicts and evidence.

    `attachments` are what is linked to it: name -> digest. `slices` and `windows` are what its package
    says of the withheld rows' slices and of the days before it.
    """

    digest: str
    version: Version | None
    aliases: list[str]
    artifact: Artifact
    attachments: dict[str, str]
    verdicts: list[Verdict]
    evidence: list[Evidence]
    slices: list[SliceMetric] = []
    windows: PastWindows | None = None


class Endpoints(Report, frozen=True, kw_only=True):
    """Every endpoint."""

    endpoints: list[Endpoint]


class EndpointShown(Report, frozen=True, kw_only=True):
    """An endpoint with its address, rollouts, incidents and newest windows of traffic.

    `held` is what the open rollout's candidate was held to at the last look; `error` is why the endpoint
    goes on with older routes than it was given.
    """

    endpoint: Endpoint
    url: str
    rollouts: list[Rollout]
    incidents: list[Incident]
    windows: list[Window]
    held: list[Verdict] = []
    error: str = ""


class Consumers(Report, frozen=True, kw_only=True):
    """Who called an endpoint since a moment, who called last first."""

    endpoint: str
    since: int
    consumers: list[Consumer]


class KeyShown(Report, frozen=True, kw_only=True):
    """What may be told of a key; `expires_at` is 0 for never."""

    id: str
    name: str
    scopes: list[Scope]
    created_at: int
    expires_at: int
    rate: str


class LogCompacted(Report, frozen=True, kw_only=True):
    """What compaction did: `segments` became `files` of `rows` rows; `removed` files were too old.

    Bytes are those of the segments before and of the files after.
    """

    segments: int = 0
    rows: int = 0
    files: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    removed: int = 0


class Keys(Report, frozen=True, kw_only=True):
    """The keys of an endpoint; `asked` is whether it asks for one at all."""

    endpoint: str
    asked: bool
    keys: list[KeyShown]


class KeyMade(Report, frozen=True, kw_only=True):
    """A new key. `secret` is the key itself: it is told here and kept nowhere."""

    endpoint: str
    key: KeyShown
    secret: str


class KeyRemoved(Report, frozen=True, kw_only=True):
    """A key that opens nothing any more, and how many are left."""

    endpoint: str
    key: KeyShown
    left: int


class Incidents(Report, frozen=True, kw_only=True):
    """Incidents, newest first; `occurrences` counts the windows in which each was seen, `deliveries` says
    who was told of the open ones, `undelivered` which channels did not take their alerts.
    """

    incidents: list[Incident]
    occurrences: dict[str, int] = {}
    deliveries: dict[str, list[Delivery]] = {}
    undelivered: list[str] = []


class IncidentShown(Incident, frozen=True, kw_only=True):
    """An incident, in how many windows it was seen, and what was told of it to whom."""

    occurrences: int = 1
    seen_at: int = 0
    alerts: list[Alert] = []


class WatchedThing(Report, frozen=True, kw_only=True):
    """An endpoint, embedded monitor or recorded file: what it is held against and its windows.

    `known` says in a sentence what is known of its quality, `estimates` are of quality without
    labels, `requests` the open ones for labels.
    """

    name: str
    against: str
    model: str
    windows: list[Window]
    known: str = ""
    estimates: list[WindowEstimate] = []
    requests: list[LabelRequest] = []


class Monitored(Report, frozen=True, kw_only=True):
    """Everything that is watched, with its newest model and the one before; `undelivered` says which
    channels did not take their alerts.
    """

    watched: list[WatchedThing]
    undelivered: list[str] = []


class LabelRequests(Report, frozen=True, kw_only=True):
    """Requests for labels, newest first."""

    requests: list[LabelRequest]


class LabelRequestShown(Report, frozen=True, kw_only=True):
    """A request with its rows in the order to label them in.

    `target` is the column that a label file calls the truth, `labelled` the predictions among the
    rows whose label has come and can be a truth.
    """

    request: LabelRequest
    target: str
    rows: list[RequestedLabel]
    labelled: list[str]


class ConfigShown(Report, frozen=True, kw_only=True):
    """The project file as it was read, defaults filled in."""

    path: str
    digest: str
    config: Config


class ConfigSchema(Report, frozen=True, kw_only=True):
    """The JSON schema of the project file."""

    schema: dict[str, Any]
