"""What the newest client is tested with, by the client of a year before."""

from __future__ import annotations

import importlib.util
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "mlflow-tracking"
SHARED = ("client", "data", "name")


def _take(file: str) -> None:
    spec = importlib.util.spec_from_file_location(f"newest_{file}", FOLDER / f"{file}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, thing in vars(module).items():
        if name.startswith("test_") or name in SHARED:
            assert name in SHARED or name not in globals(), f"two tests are called {name}"
            globals()[name] = thing


_take("test_tracking")
_take("test_models")


def test_the_client_is_the_older_one():
    import mlflow

    assert mlflow.__version__.startswith("3.6.")
