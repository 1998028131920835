"""A project in a folder whose code can be rewritten between runs of one process."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from trimtab import config
from trimtab.config import Config
from trimtab.pipeline import driver, load, plan
from trimtab.pipeline.events import Event
from trimtab.pipeline.plan import Plan
from trimtab.pipeline.result import FlowResult
from trimtab.store.workspace import Workspace, open_workspace


@dataclass
class Project:
    folder: Path
    ws: Workspace
    config: Config
    events: list[Event] = field(default_factory=list)

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    def code(self, text: str, name: str = "pipeline.py") -> None:
        """Write a module with the usual imports, and forget what was imported before."""
        self.write(name, "from trimtab import Dataset, flow, step\n" + textwrap.dedent(text))
        load.forget(self.folder)

    def run(self, params: dict[str, Any] | None = None, **options: Any) -> FlowResult:
        return driver.run(
            self.ws, self.config, params=params, on_event=self.events.append, **options
        )

    def plan(self, params: dict[str, Any] | None = None) -> Plan:
        load.forget(self.folder)
        return plan.plan(self.ws, self.config, params=params)

    def calls(self) -> list[str]:
        """What steps noted by `open("calls", "a")`."""
        path = self.folder / "calls"
        return path.read_text().split() if path.exists() else []


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    ws = open_workspace(tmp_path, "demo")
    found = config.parse({"project": {"name": "demo"}, "data": {"rows": {"source": "rows.csv"}}})
    (tmp_path / "rows.csv").write_text("id,x\n1,10\n2,20\n3,\n")
    before = list(sys.path)
    yield Project(tmp_path, ws, found)
    load.forget(tmp_path)
    sys.path[:] = before
    ws.close()
