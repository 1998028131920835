"""A package made by hand, as the tests of serving make it, and tables for it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from trimtab.deploy.batch.job import Job
from trimtab.model.load import load


def _serving():
    path = Path(__file__).parents[1] / "serve" / "conftest.py"
    spec = importlib.util.spec_from_file_location("packages_by_hand", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def package(tmp_path_factory):
    """The folder of a package that answers sigmoid(debt + car)."""
    folder = tmp_path_factory.mktemp("package") / "model"
    _serving().write_package(folder)
    return folder


@pytest.fixture(scope="session")
def model(package):
    return load(package)


@pytest.fixture
def job(model, tmp_path):
    """A job of a source, to `out.parquet` unless told otherwise."""

    def make(source, output="out.parquet", **fields):
        values = {"model": model, "digest": "blake3:m", "label": "loans@v1", "keep": ("id",)}
        return Job(source=str(source), output=tmp_path / output, **(values | fields))

    return make


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Chunks of a few rows, so that small tables have many."""
    from trimtab.deploy.batch import delimited, documents, frames

    monkeypatch.setattr(frames, "ROWS", 64)
    monkeypatch.setattr(delimited, "BLOCK", 4096)
    monkeypatch.setattr(documents, "BLOCK", 4096)
