"""Six virtual weeks of a real project: nobody looks, and every promise is kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parents[2]


@pytest.mark.slow
def test_six_weeks_keep_every_promise(tmp_path: Path) -> None:
    """A broken column, a sudden change of the concept, a killed endpoint and weeks without labels."""
    done = subprocess.run(
        [sys.executable, str(HERE / "benchmarks" / "weeks.py"), "--weeks", "6", "--json",
         "--keep", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(HERE / "src")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout, done.stderr[-2_000:]
    found = json.loads(done.stdout.splitlines()[-1])
    broken = {one["promise"]: one["failures"] for one in found["promises"] if not one["kept"]}
    assert broken == {}
    assert done.returncode == 0
    assert found["sent"] > 14_000
    assert found["resent"] > 0
    assert [one["state"] for one in found["rollouts"]] == ["promoted"]
