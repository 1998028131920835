"""What of a run can be asked about, by its names, and which values each takes."""

from __future__ import annotations

from typing import Final, Literal

from trimtab.track.search.tree import Entity, Field

Kind = Literal["number", "text", "either", "moment", "span", "status", "several"]
"""What is compared: `either` goes by the value, `several` are texts of which any may match."""
ENTITIES: Final[dict[str, Entity]] = {
    **dict.fromkeys(("metric", "metrics"), "metric"),
    **dict.fromkeys(("parameter", "parameters", "param", "params"), "param"),
    **dict.fromkeys(("tag", "tags"), "tag"),
    **dict.fromkeys(("attribute", "attributes", "attr", "run"), "attribute"),
    **dict.fromkeys(("data", "dataset", "datasets"), "data"),
}
ATTRIBUTES: Final[dict[str, Kind]] = {
    "id": "text",
    "name": "text",
    "kind": "text",
    "status": "status",
    "parent": "text",
    "experiment": "text",
    "cause": "text",
    "user": "text",
    "code": "text",
    "environment": "text",
    "error": "text",
    "started": "moment",
    "ended": "moment",
    "duration": "span",
    "peak_memory": "number",
    "made": "several",
}
ALIASES: Final = {
    "run_id": "id",
    "run_name": "name",
    "run name": "name",
    "Run name": "name",
    "Run Name": "name",
    "user_id": "user",
    "start_time": "started",
    "end_time": "ended",
    "created": "started",
    "Created": "started",
    "experiment_name": "experiment",
}
DATA: Final = ("name", "version", "digest")
STATUSES: Final = ("running", "done", "failed", "cached", "cancelled")
_MLFLOW: Final = {
    "finished": "done",
    "killed": "cancelled",
    "scheduled": "running",
    "canceled": "cancelled",
}


def kind(field: Field) -> Kind:
    """What a field is compared as."""
    match field.entity:
        case "metric":
            return "number"
        case "attribute":
            return ATTRIBUTES[field.key]
        case "data":
            return "several"
    return "either"


def status(word: str) -> str | None:
    """A status by our word or MLflow's, None where it is none."""
    found = word.strip().lower()
    found = _MLFLOW.get(found, found)
    return found if found in STATUSES else None
