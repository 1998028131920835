from __future__ import annotations

import difflib
from importlib.resources import files

import pytest

from trimtab import config
from trimtab.config import Requirement
from trimtab.demo.loans import World

PROJECT = files("trimtab.demo") / "project"
VERSIONS = ("first", "corrected")


def read(version, name):
    return (PROJECT / version / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_project_is_a_screenful(version):
    code = read(version, "pipeline.py").splitlines()
    assert len(read(version, "trimtab.toml").splitlines()) <= 25
    assert sum(not line.startswith(("import ", "from ")) for line in code) <= 40


@pytest.mark.parametrize("version", VERSIONS)
def test_the_file_names_columns_that_the_world_has(version, tmp_path):
    path = tmp_path / "trimtab.toml"
    path.write_text(read(version, "trimtab.toml"), encoding="utf-8")
    found = config.load(path)
    data = found.data["applications"]
    columns = World().history(10).columns
    named = {data.key, data.time, data.target, *data.protected, found.model.fit_on} - {""}
    named |= {requirement.across for requirement in found.require} - {""}
    assert named <= set(columns)
    assert found.model.decide == "P(True) >= 0.5"
    assert Requirement(metric="roc_auc", min=0.76) in found.require
    assert Requirement(metric="selection_rate", ratio=0.8, across="group") in found.require
    assert found.serve.event_time == "client"
    assert found.monitor.window == "1d"


def test_the_correction_is_what_it_says():
    assert changed("trimtab.toml") == ['-fit_on = "approved"', "+min_rows = 1800"]
    lines = [line for line in changed("pipeline.py") if '"""' not in line]
    assert [line[0] for line in lines] == ["-", "+"]
    assert lines[0][1:].replace(', "neighbourhood"', "") == lines[1][1:]


def changed(name):
    both = (read(version, name).splitlines() for version in VERSIONS)
    return [
        line
        for line in difflib.unified_diff(*both, n=0, lineterm="")
        if not line.startswith(("---", "+++", "@@"))
    ]
