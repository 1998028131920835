"""The way from MLflow's registry to an endpoint, by the client of a year before."""

from __future__ import annotations

import importlib.util
from pathlib import Path

_PATH = Path(__file__).parents[1] / "mlflow-tracking" / "test_deploy.py"
_SPEC = importlib.util.spec_from_file_location("newest_test_deploy", _PATH)
assert _SPEC is not None
assert _SPEC.loader is not None
_MODULE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_MODULE)

globals().update(
    {
        name: thing
        for name, thing in vars(_MODULE).items()
        if name.startswith("test_") or name in {"client", "name", "served", "trimtab"}
    }
)
