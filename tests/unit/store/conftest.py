"""A fresh workspace for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from trimtab.store.workspace import Workspace, open_workspace


@pytest.fixture
def ws(tmp_path: Path) -> Iterator[Workspace]:
    opened = open_workspace(tmp_path, "demo")
    yield opened
    opened.close()


@pytest.fixture
def other(tmp_path: Path, ws: Workspace) -> Iterator[Workspace]:
    """Another project in the same store."""
    opened = open_workspace(tmp_path, "other")
    yield opened
    opened.close()
