"""What the tests of the loop share."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parents[1] / "monitor" / "conftest.py"


@pytest.fixture(scope="module")
def made():
    """How the monitor's tests make models by hand."""
    spec = importlib.util.spec_from_file_location("made_by_hand", HERE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]
