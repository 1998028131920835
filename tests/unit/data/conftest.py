"""An open workspace, a project file of one table, and files to put into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from trimtab.config import Config, parse
from trimtab.store.workspace import Workspace, open_workspace

Configure = Callable[..., Config]
Put = Callable[[str, bytes | str], Path]


@pytest.fixture
def ws(tmp_path: Path) -> Iterator[Workspace]:
    workspace = open_workspace(tmp_path, "demo")
    yield workspace
    workspace.close()


@pytest.fixture
def put(tmp_path: Path) -> Put:
    def write(name: str, content: bytes | str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture
def configure() -> Configure:
    def make(source: str = "loans.csv", timezone: str = "UTC", **fields: Any) -> Config:
        return parse(
            {
                "project": {"name": "demo", "timezone": timezone},
                "data": {"loans": {"source": source, **fields}},
            }
        )

    return make
