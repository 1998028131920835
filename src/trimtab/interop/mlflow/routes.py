"""Which request is which: a table of methods and paths, and the pages that say no.

Paths are below `/api/2.0/mlflow/` or `/api/3.0/mlflow/`; `/ajax-api/` mirrors both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple

from trimtab.interop.mlflow import (
    experiments,
    files,
    history,
    inputs,
    logging,
    models,
    registry,
    runs,
    search,
    versions,
)
from trimtab.interop.mlflow.board import Board
from trimtab.interop.mlflow.fault import Fault
from trimtab.interop.mlflow.wire import Asked

Handler = Callable[[Board, Asked], dict[str, Any] | bytes]
How = Literal["quick", "write", "read", "long", "disk"]


class Route(NamedTuple):
    """What answers, and how: a change that costs little, any change, a look at the board, a long one, or
    one that asks the disk.

    Those of the disk look at the board without its lock, so that nobody waits for them.
    """

    handler: Handler
    how: How
    fixed: dict[str, str]


def _server(_board: Board, _asked: Asked) -> dict[str, Any]:
    return {
        "store_type": "SqlStore",
        "workspaces_enabled": False,
        "trace_archival_enabled": False,
        "multipart_uploads_enabled": False,
        "multipart_downloads_enabled": False,
        "presigned_upload_run_id_supported": False,
        "presigned_upload_model_id_supported": False,
        "features_enabled": {"gateway": False},
    }


_TABLE: Final[dict[tuple[str, str], tuple[Handler, How]]] = {
    ("POST", "experiments/create"): (experiments.create, "write"),
    ("GET", "experiments/get"): (experiments.get, "read"),
    ("GET", "experiments/get-by-name"): (experiments.get_by_name, "read"),
    ("GET", "experiments/search"): (experiments.search, "long"),
    ("POST", "experiments/search"): (experiments.search, "long"),
    ("POST", "experiments/delete"): (experiments.delete, "write"),
    ("POST", "experiments/restore"): (experiments.restore, "write"),
    ("POST", "experiments/update"): (experiments.update, "write"),
    ("POST", "experiments/set-experiment-tag"): (experiments.set_tag, "write"),
    ("POST", "experiments/delete-experiment-tag"): (experiments.delete_tag, "write"),
    ("POST", "experiments/search-datasets"): (search.datasets, "long"),
    ("POST", "runs/create"): (runs.create, "quick"),
    ("GET", "runs/get"): (runs.get, "read"),
    ("POST", "runs/update"): (runs.update, "quick"),
    ("POST", "runs/delete"): (runs.delete, "quick"),
    ("POST", "runs/restore"): (runs.restore, "quick"),
    ("POST", "runs/set-tag"): (runs.set_tag, "quick"),
    ("POST", "runs/delete-tag"): (runs.delete_tag, "quick"),
    ("POST", "runs/log-parameter"): (runs.log_parameter, "quick"),
    ("POST", "runs/log-metric"): (logging.metric, "quick"),
    ("POST", "runs/log-batch"): (logging.batch, "quick"),
    ("POST", "runs/log-inputs"): (inputs.log_inputs, "quick"),
    ("POST", "runs/outputs"): (inputs.log_outputs, "quick"),
    ("POST", "runs/log-model"): (inputs.log_model, "quick"),
    ("POST", "runs/search"): (search.search, "long"),
    ("GET", "metrics/get-history"): (history.history, "disk"),
    ("GET", "metrics/get-history-bulk"): (history.bulk, "disk"),
    ("GET", "metrics/get-history-bulk-interval"): (history.interval, "disk"),
    ("GET", "artifacts/list"): (files.list_run, "disk"),
    ("POST", "logged-models"): (models.create, "write"),
    ("POST", "logged-models/search"): (models.search, "long"),
    ("POST", "registered-models/create"): (registry.create, "write"),
    ("POST", "registered-models/rename"): (registry.rename, "write"),
    ("PATCH", "registered-models/update"): (registry.update, "write"),
    ("DELETE", "registered-models/delete"): (registry.delete, "write"),
    ("GET", "registered-models/get"): (registry.get, "read"),
    ("GET", "registered-models/search"): (registry.search, "long"),
    ("GET", "registered-models/get-latest-versions"): (registry.latest, "read"),
    ("POST", "registered-models/get-latest-versions"): (registry.latest, "read"),
    ("POST", "registered-models/set-tag"): (registry.set_tag, "write"),
    ("DELETE", "registered-models/delete-tag"): (registry.delete_tag, "write"),
    ("POST", "registered-models/alias"): (registry.set_alias, "write"),
    ("DELETE", "registered-models/alias"): (registry.delete_alias, "write"),
    ("GET", "registered-models/alias"): (registry.get_alias, "read"),
    ("POST", "model-versions/create"): (versions.create, "write"),
    ("PATCH", "model-versions/update"): (versions.update, "write"),
    ("POST", "model-versions/transition-stage"): (versions.transition, "write"),
    ("DELETE", "model-versions/delete"): (versions.delete, "write"),
    ("GET", "model-versions/get"): (versions.get, "read"),
    ("GET", "model-versions/search"): (versions.search, "long"),
    ("GET", "model-versions/get-download-uri"): (versions.download_uri, "read"),
    ("POST", "model-versions/set-tag"): (versions.set_tag, "write"),
    ("DELETE", "model-versions/delete-tag"): (versions.delete_tag, "write"),
    ("GET", "server-info"): (_server, "read"),
}
_MODEL: Final[dict[tuple[str, str], tuple[Handler, How]]] = {
    ("GET", ""): (models.get, "read"),
    ("PATCH", ""): (models.finalize, "write"),
    ("DELETE", ""): (models.delete, "write"),
    ("PATCH", "tags"): (models.set_tags, "write"),
    ("POST", "params"): (models.log_params, "write"),
    ("GET", "artifacts/directories"): (models.directories, "disk"),
}
_ROUTES: Final = {key: Route(handler, how, {}) for key, (handler, how) in _TABLE.items()}
_PATHS: Final = frozenset(path for _, path in _TABLE)
_ABSENT: Final = (
    "traces",
    "assessments",
    "webhooks",
    "gateway",
    "scorers",
    "datasets",
    "workspaces",
    "prompt-optimization",
    "jobs",
    "users",
    "experiments/permissions",
)


def find(method: str, path: str) -> Route:
    """The route of a request; raises a fault that says what there is not."""
    found = _ROUTES.get((method, path))
    if found is not None:
        return found
    if path.startswith("logged-models/"):
        return _of_model(method, path)
    if path in _PATHS:
        raise Fault(f"{path} does not take {method}.", "ENDPOINT_NOT_FOUND")
    first = path.partition("/")[0]
    if first in _ABSENT or path.startswith(_ABSENT):
        raise Fault(f"trimtab keeps no {first} of MLflow's clients.", "NOT_IMPLEMENTED")
    raise Fault(f"There is nothing at {path[:200]!r}.", "ENDPOINT_NOT_FOUND")


def _of_model(method: str, path: str) -> Route:
    _, id_, *rest = path.split("/", 2)
    inner = rest[0] if rest else ""
    if method == "DELETE" and inner.startswith("tags/"):
        fixed = {"model_id": id_, "tag_key": inner.removeprefix("tags/")}
        return Route(models.delete_tag, "write", fixed)
    found = _MODEL.get((method, inner))
    if found is None:
        raise Fault(f"There is nothing at {path[:200]!r} for {method}.", "ENDPOINT_NOT_FOUND")
    return Route(*found, {"model_id": id_})
