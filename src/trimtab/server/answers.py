"""What operations on nouns answer with; the loop's own answers are `trimtab.loop.reports`."""

from __future__ import annotations

from typing import Any

from trimtab.config import Config
from trimtab.loop.reports import Report
from trimtab.store.records import (
    Artifact,
    Endpoint,
    Evidence,
    Incident,
    Link,
    Point,
    Rollout,
    Run,
    Verdict,
    Version,
    Window,
)


class Submitted(Report):
    """A command that was begun in a process of its own; `log` is the file it writes to."""

    pid: int
    log: str


class PlannedStep(Report):
    """A step of a plan: "cached" or "run", and why; `weak` is what its key cannot see."""

    step: str
    action: str
    reason: str
    weak: list[str] = []


class Planned(Report):
    """What a run of the flow would do on those data versions."""

    flow: str
    steps: list[PlannedStep]
    data: dict[str, str]
    nothing_to_do: bool


class DataAdded(Report):
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


class Versions(Report):
    """Versions, newest first, and aliases as `NAME@ALIAS` -> digest."""

    versions: list[Version]
    aliases: dict[str, str]


class DataShown(Report):
    """A data version, what is known of its table, and the runs that read or made it."""

    version: Version
    aliases: list[str]
    artifact: Artifact | None
    users: list[Link]


class Runs(Report):
    """Runs, newest first."""

    runs: list[Run]


class RunShown(Report):
    """A run with its last metrics, what it read and made, and the runs inside it."""

    run: Run
    metrics: dict[str, float]
    links: list[Link]
    children: list[Run]


class Series(Report):
    """One metric's points by step."""

    key: str
    points: list[Point]


class RunMetrics(Report):
    """The metric series of a run."""

    run: str
    series: list[Series]


class ModelShown(Report):
    """A packaged model: its version (none where the gate refused it), verdicts and evidence."""

    digest: str
    version: Version | None
    aliases: list[str]
    artifact: Artifact
    verdicts: list[Verdict]
    evidence: list[Evidence]


class Endpoints(Report):
    """Every endpoint."""

    endpoints: list[Endpoint]


class EndpointShown(Report):
    """An endpoint with its address, rollouts, incidents and newest windows of traffic."""

    endpoint: Endpoint
    url: str
    rollouts: list[Rollout]
    incidents: list[Incident]
    windows: list[Window]


class Incidents(Report):
    """Incidents, newest first."""

    incidents: list[Incident]


class ConfigShown(Report):
    """The project file as it was read, defaults filled in."""

    path: str
    digest: str
    config: Config


class ConfigSchema(Report):
    """The JSON schema of the project file."""

    schema: dict[str, Any]
