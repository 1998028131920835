"""Which paths are MLflow's: known without loading what answers them."""

from __future__ import annotations

from typing import Final

PREFIXES: Final = (
    "/api/2.0/mlflow/",
    "/ajax-api/2.0/mlflow/",
    "/api/3.0/mlflow/",
    "/ajax-api/3.0/mlflow/",
)
ARTIFACTS: Final = ("/api/2.0/mlflow-artifacts/", "/ajax-api/2.0/mlflow-artifacts/")
VERSION: Final = "3.17.2"
"""The version of the protocol, which clients ask for."""
PLAIN: Final = {"/health": b"OK", "/version": VERSION.encode()}
OTHER: Final = ("/v1/traces", "/get-artifact", "/model-versions/get-artifact")


def is_ours(path: str) -> bool:
    """Whether a path is one of MLflow's."""
    return path.startswith((*PREFIXES, *ARTIFACTS)) or path in PLAIN or path in OTHER
