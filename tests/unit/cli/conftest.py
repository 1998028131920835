"""The command line called in this process, with what it printed and how it ended."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from trimtab.cli.main import main


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
