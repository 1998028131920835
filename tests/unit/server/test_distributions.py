from __future__ import annotations

import pytest

from trimtab.data import snapshot
from trimtab.loop.project import open_project
from trimtab.server import distributions

FILE = '[project]\nname = "loans"\n[data.loans]\nsource = "loans.csv"\nkey = "id"\n'


@pytest.fixture
def project(tmp_path):
    rows = [f"{k},{k % 9},{'<b>' if k % 3 else 'two'},\n" for k in range(120)]
    (tmp_path / "loans.csv").write_text("id,years,word,nothing\n" + "".join(rows), "utf-8")
    (tmp_path / "trimtab.toml").write_text(FILE, "utf-8")
    opened = open_project(tmp_path)
    snapshot.add(opened.ws, opened.config, "loans")
    yield opened
    opened.ws.close()


def test_each_column_is_a_picture_with_words(project):
    drawn = distributions.of(project, "loans@v1")
    years, word, nothing = drawn.pictures
    assert (drawn.version, drawn.more) == ("loans@v1", 0)
    assert (years.low, years.high) == ("0", "8")
    assert years.label == "years: from 0 to 8, median 4"
    assert word.label == "word: <b> 67%, two 33%"
    assert (nothing.said, nothing.bars) == ("0 levels, 100.0% missing", [])
    for bar in (*years.bars, *word.bars):
        assert 0 <= bar.x <= bar.x + bar.width <= distributions.WIDTH
        assert 0 <= bar.y < bar.y + bar.height <= distributions.HEIGHT + 0.1


def test_what_is_no_data_version_has_no_pictures(project):
    assert distributions.of(project, "model@v1") is None
    assert distributions.of(project, "step:clean") is None


def test_wide_tables_are_drawn_in_part(project, monkeypatch):
    monkeypatch.setattr(distributions, "MOST", 1)
    drawn = distributions.of(project, "loans@v1")
    assert (len(drawn.pictures), drawn.more) == (1, 2)


def test_new_levels_are_told_apart_from_the_listed_ones(project):
    rows = [f"{k},{k % 9},{'new' if k % 4 else 'two'},\n" for k in range(120)]
    path = project.folder / "loans.csv"
    path.write_text("id,years,word,nothing\n" + "".join(rows), "utf-8")
    snapshot.add(project.ws, project.config, "loans")
    word = distributions.of(project, "loans@v2").pictures[1]
    assert word.said == "2 levels, 75.0% not seen before"
