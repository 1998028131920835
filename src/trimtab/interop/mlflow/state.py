"""What MLflow's clients see, as records that change: experiments, runs, models and their versions.

Times are milliseconds since 1970, as on the wire. `board` holds them, `rows` turns them into rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

ACTIVE: Final = "active"
DELETED: Final = "deleted"
Latest = tuple[float, int, int]
"""Value, time and step of a series' last point."""


@dataclass(slots=True)
class Experiment:
    """A name for runs; `location` is the root of what they store."""

    number: int
    name: str
    location: str
    created: int
    updated: int
    stage: str = ACTIVE
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class TrackedRun:
    """A run. `metrics` has the last point of every series, packed where the run is over.

    `inputs` are datasets as they came, `model_inputs` and `outputs` logged models.
    """

    id: str
    experiment: int
    name: str
    user: str
    start: int
    location: str
    status: str = "RUNNING"
    stage: str = ACTIVE
    end: int | None = None
    deleted: int = 0
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: Mapping[str, Latest] = field(default_factory=dict)
    inputs: list[dict[str, Any]] = field(default_factory=list)
    model_inputs: list[dict[str, Any]] = field(default_factory=list)
    outputs: list[dict[str, Any]] = field(default_factory=list)
    is_summed: bool = False
    """Whether the row of the run says its last points."""
    is_followed: bool = False
    """Whether trimtab itself writes the run, so that clients only read it."""

    @property
    def started(self) -> int:
        """When it began, as a table of runs calls it."""
        return self.start

    @property
    def is_deleted(self) -> bool:
        """Whether a client deleted it."""
        return self.stage == DELETED


@dataclass(slots=True)
class LoggedModel:
    """A model as a client logged it: its files lie below `location`."""

    id: str
    experiment: int
    name: str
    location: str
    created: int
    updated: int
    kind: str = ""
    run: str = ""
    status: str = "LOGGED_MODEL_PENDING"
    stage: str = ACTIVE
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    digest: str = ""


@dataclass(slots=True)
class Registered:
    """A registered model. `last` is the highest number that a version of it ever had."""

    name: str
    created: int
    updated: int
    description: str | None = None
    last: int = 0
    tags: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class RegisteredVersion:
    """A version of a registered model; `source` is where its files are."""

    name: str
    number: int
    source: str
    created: int
    updated: int
    run: str = ""
    run_link: str = ""
    description: str | None = None
    stage: str = "None"
    model: str = ""
    location: str = ""
    tags: dict[str, str] = field(default_factory=dict)
