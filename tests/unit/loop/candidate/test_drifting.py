from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from trimtab.data import snapshot, tables
from trimtab.loop.candidate import drifting
from trimtab.loop.project import Project, open_project
from trimtab.loop.retiring import erase
from trimtab.store.records import Version

FILE = '[project]\nname = "loans"\n[data.loans]\nsource = "loans.csv"\nkey = "id"\n'


@pytest.fixture
def project(tmp_path: Path):
    (tmp_path / "trimtab.toml").write_text(FILE, encoding="utf-8")
    opened = open_project(tmp_path)
    yield opened
    opened.ws.close()


def add(project: Project, seed: int, rows: int = 2_000, shift: float = 0.0, gaps: float = 0.0):
    random = np.random.default_rng(seed)
    income = random.normal(3_000 * (1 + shift), 500, rows).round(2)
    missing = random.random(rows) < gaps
    pl.DataFrame(
        {
            "id": np.arange(rows),
            "income": [None if gone else one for gone, one in zip(missing, income, strict=True)],
            "age": random.integers(18, 80, rows),
            "region": random.choice(["north", "south", *(["moon"] if shift else [])], rows),
        }
    ).write_csv(project.folder / "loans.csv")
    return snapshot.add(project.ws, project.config, "loans").version


def drift(project: Project, before: Version, after: Version):
    frames = (tables.read(project.ws, before), tables.read(project.ws, after))
    return drifting.drift(project, before, after, frames)


@pytest.mark.slow
def test_what_moved_is_named_with_effect_and_p_and_what_did_not_is_not(project):
    first, second = add(project, 1), add(project, 2)
    third = add(project, 3, shift=0.2, gaps=0.1)
    assert [one.column for one in drift(project, first, second).columns if one.drifted] == []
    found = drift(project, first, third)
    moved = {one.column: one for one in found.columns if one.drifted}
    assert set(moved) == {"income", "region"}
    assert moved["income"].lo < 1.2 < moved["income"].hi
    assert moved["income"].p < 1e-20
    assert moved["income"].missing == pytest.approx((0, 0.1), abs=0.03)
    assert moved["region"].unseen == pytest.approx((0, 1 / 3), abs=0.05)
    assert any("moon" in line or "region" in line for line in found.said)
    assert not any("window" in line for line in found.said)


@pytest.mark.slow
def test_other_bins_and_lost_profiles_compare_alike(project):
    first, second = add(project, 1), add(project, 2, shift=0.1)
    kept = drift(project, first, second)
    for version in (first, second):
        project.ws.blobs.remove(version.meta["profile"]["reference"])
    made = drift(project, first, second)
    assert made == kept


def test_free_text_moves_in_what_is_made_of_it_and_new_texts_are_no_levels(project):
    first = add(project, 1)
    frame = tables.read(project.ws, first)
    random = np.random.default_rng(7)

    def noted(words: int) -> pl.DataFrame:
        drawn = random.integers(0, 9_999, (frame.height, words)).astype(str)
        return frame.with_columns(note=pl.Series([" ".join(row) for row in drawn.tolist()]))

    project.ws.blobs.remove(first.meta["profile"]["reference"])
    same = drifting.drift(project, first, first, (noted(6), noted(6)))
    assert {"note:length", "note:characters"} <= {one.column for one in same.columns}
    assert not any(one.drifted for one in same.columns)
    longer = drifting.drift(project, first, first, (noted(6), noted(8)))
    assert [one.column for one in longer.columns if one.drifted] == ["note:length"]
    gone = drifting.drift(project, first, first, (noted(6), frame))
    assert not any("note" in one.column for one in gone.columns)


def test_columns_that_came_or_went_are_not_judged(project):
    first = add(project, 1)
    frames = [tables.read(project.ws, first)] * 2
    narrower = frames[1].drop("age").with_columns(new=pl.lit(1))
    found = drifting.drift(project, first, first, (frames[0], narrower))
    assert sorted(one.column for one in found.columns) == ["income", "region"]
    other = pl.DataFrame({"weight": [1.5] * 100})
    assert "no column" in drifting.drift(project, first, first, (frames[0], other)).reason


def test_few_rows_and_gone_bytes_are_said(project):
    first, second = add(project, 1), add(project, 2, rows=20)
    assert "too few" in drift(project, first, second).reason
    shapes, left_out = drifting.shapes(project, first)
    assert [one.name for one in shapes] == ["income", "age", "region"]
    assert left_out == {"id": "key"}


def test_erasing_a_version_takes_its_distributions_along(project):
    first, second = add(project, 1), add(project, 2)
    digest = first.meta["profile"]["reference"]
    assert erase.survey(project, "loans", "data:loans@v1").files == 3
    erase.erase(project, "loans", "data:loans@v1")
    assert not project.ws.blobs.has(digest)
    assert project.ws.blobs.has(second.meta["profile"]["reference"])
    tables.cache_path(project.ws, first).unlink()
    assert drifting.shapes(project, first) == ([], {})


def test_a_level_that_the_version_before_had_too_is_not_new_again(project):
    add(project, 1)
    second, third = add(project, 2, shift=0.2), add(project, 3, shift=0.2)
    for after in (second, third):
        found = drift(project, second, after)
        assert found.said == []
        assert [one.column for one in found.columns if one.drifted] == []
