import re
from pathlib import Path

import pytest

from trimtab.loop.project import open_project
from trimtab.store import metrics, runs
from trimtab.store.records import Point
from trimtab.track.search import exporting, fields, groups
from trimtab.track.search.fault import QueryError
from trimtab.track.search.parse import parse
from trimtab.track.search.tree import UNITS

DOCS = (Path(__file__).parents[4] / "docs" / "search.md").read_text(encoding="utf-8")


def test_every_field_unit_function_and_ending_is_documented():
    named = [*fields.ATTRIBUTES, *fields.STATUSES, *groups.FUNCTIONS, *exporting.WRITERS]
    assert [one for one in named if f"`{one}`" not in DOCS] == []
    assert [one for one in fields.DATA if f"`data.{one}`" not in DOCS] == []
    assert [unit for unit in UNITS if not re.search(rf"`[\d.]+{unit}`", DOCS)] == ["min"]


def test_the_example_in_python_works(tmp_path, monkeypatch, capsys):
    (tmp_path / "trimtab.toml").write_text('[project]\nname = "demo"\n', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    ws = open_project().ws
    run = runs.start(ws, "run", "fit", params={"depth": 6})
    metrics.append(ws, run.id, [Point(key="auc", step=0, time=0, value=0.9)])
    ws.close()
    (code,) = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)
    given = {}
    exec(code, given)
    given["ws"].close()
    assert capsys.readouterr().out == f"{run.id} {{'depth': 6}} 0.9\n"


def test_the_error_that_is_shown_is_the_error():
    (where, said) = re.findall(r'--where "([^"]*)"\nerror: (.*?)\nhint', DOCS, re.DOTALL)[0]
    with pytest.raises(QueryError) as caught:
        parse(where)
    assert caught.value.message == said
    assert f"hint: {caught.value.hint}\n" in DOCS
