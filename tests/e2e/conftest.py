"""trimtab as its users meet it: the command line in processes of its own, and real tables."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from sklearn import datasets

PATIENCE = 180


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def body(self):
        """The one JSON document on stdout."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Shell:
    """The command line in one folder."""

    folder: Path

    def __call__(self, *arguments, code=0):
        """Run `trimtab ...`; fails where it does not end with `code`."""
        done = subprocess.run(
            [sys.executable, "-m", "trimtab", *map(str, arguments)],
            cwd=self.folder, capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert done.returncode == code, f"{arguments} ended with {done.returncode}\n{done.stderr}"
        return Ended(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def shell(tmp_path):
    """The command line in an empty folder; whatever it started is stopped at the end."""
    found = Shell(tmp_path)
    yield found
    if (tmp_path / ".trimtab").exists():
        found("down")


@pytest.fixture(scope="session")
def cancer(tmp_path_factory):
    """A stranger's project that was taken to a live endpoint: breast cancer, 569 rows."""
    folder = tmp_path_factory.mktemp("cancer")
    bundled("breast_cancer", "diagnosis").write_csv(folder / "cancer.csv")
    found = Shell(folder)
    found("init", "--from", "cancer.csv", "--target", "diagnosis")
    found("run")
    found("deploy")
    yield found
    found("down")


@pytest.fixture(scope="session", name="bundled")
def bundled_fixture():
    """`bundled("wine", "cultivar")` is one of scikit-learn's tables."""
    return bundled


def bundled(name, target):
    """A data set of scikit-learn as a table, classes by their names where they have some."""
    loaded = getattr(datasets, f"load_{name}")()
    columns = [str(column) for column in loaded.feature_names]
    frame = pl.DataFrame(loaded.data, schema=columns, orient="row")
    names = getattr(loaded, "target_names", None)
    values = loaded.target if names is None else [str(names[label]) for label in loaded.target]
    return frame.with_columns(pl.Series(target, values))
