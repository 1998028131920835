"""The servers of `mlflow-tracking`, for an older client."""

from __future__ import annotations

import importlib.util
from pathlib import Path

_PATH = Path(__file__).parents[1] / "mlflow-tracking" / "conftest.py"
_SPEC = importlib.util.spec_from_file_location("tracking_servers", _PATH)
assert _SPEC is not None
assert _SPEC.loader is not None
_MODULE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_MODULE)

mlflow, ours, project = _MODULE.mlflow, _MODULE.ours, _MODULE.project
serve, told = _MODULE.serve, _MODULE.told
