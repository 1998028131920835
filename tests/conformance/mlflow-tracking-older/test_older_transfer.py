"""Runs on their way to and from a server of the year before, read by its client."""

from __future__ import annotations

import importlib.util
from pathlib import Path

_PATH = Path(__file__).parents[1] / "mlflow-tracking" / "test_transfer.py"
_SPEC = importlib.util.spec_from_file_location("newest_test_transfer", _PATH)
assert _SPEC is not None
assert _SPEC.loader is not None
_MODULE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_MODULE)

test_there_and_back, say = _MODULE.test_there_and_back, _MODULE.say
