"""The command line called in this process, with what it printed and how it ended."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from trimtab.cli.main import main
from trimtab.loop.project import open_project


@dataclass(frozen=True)
class Ended:
    """A command's exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def body(self):
        """The one JSON document on stdout."""
        return json.loads(self.out)


@pytest.fixture
def call(capfd, monkeypatch, tmp_path):
    """`call("status", "--json")` in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = main([str(one) for one in arguments])
        out, err = capfd.readouterr()
        return Ended(code, out, err)

    return run


@pytest.fixture
def project(tmp_path):
    """A project file in the folder, with a source of three rows."""
    (tmp_path / "houses.csv").write_text("rooms,town,price\n3,A,10\n4,B,12\n5,A,15\n", "utf-8")
    (tmp_path / "trimtab.toml").write_text(
        '[project]\nname = "houses"\n[data.houses]\nsource = "houses.csv"\ntarget = "price"\n'
        '[require]\nrmse = { better_than = "baseline" }\n',
        encoding="utf-8",
    )
    return tmp_path


@pytest.fixture
def loans(tmp_path):
    """A project whose store holds a whole life of a model: the one that the server's tests show."""
    path = Path(__file__).parents[1] / "server" / "conftest.py"
    spec = importlib.util.spec_from_file_location("life_of_a_model", path)
    life = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(life)
    (tmp_path / "trimtab.toml").write_text(life.FILE, encoding="utf-8")
    opened = open_project(tmp_path)
    life.fill(opened)
    yield opened
    opened.ws.close()
