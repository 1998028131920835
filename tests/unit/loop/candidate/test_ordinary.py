"""Which of an endpoint's past rows are ordinary for a model that was made of a part of them."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from trimtab.loop.candidate import ordinary
from trimtab.loop.project import open_project
from trimtab.model.signature import Column, Signature
from trimtab.monitor.log.traffic import Answers
from trimtab.store import operations
from trimtab.store.records import Incident, Window
from trimtab.tune.candidate import Candidate

DAY = 86_400_000_000
SINCE = 100 * DAY


@pytest.fixture
def project(tmp_path):
    (tmp_path / "trimtab.toml").write_text('[project]\nname = "goods"\n', "utf-8")
    found = open_project(tmp_path)
    yield found
    found.ws.close()


def windows(moved, days=range(110)):
    """A window a day; those in `moved` differ from their reference."""
    return [
        Window(
            endpoint="goods", model="m", role="champion", start=day * DAY, end=(day + 1) * DAY, rows=9,
            profile="", features={"drifted": ["x"] if day in moved else ["__score__"]},
        )
        for day in days
    ]  # fmt: skip


def days(project, moved):
    found = ordinary._ordinary(project, "goods", windows(moved), SINCE)
    return sorted(one.start // DAY for one in found)


def test_five_weeks_before_are_ordinary_but_for_those_that_were_not(project):
    assert days(project, ()) == list(range(65, 100))
    assert days(project, range(70, 80)) == [*range(65, 70), *range(80, 100)]


def test_where_the_population_has_moved_only_what_leads_there_is_like_it(project):
    assert days(project, range(95, 110)) == list(range(95, 100))
    assert days(project, range(100, 110)) == []


def test_days_on_which_an_input_was_broken_are_left_out(project):
    operations.open_incident(project.ws, Incident(
        id="i" * 32, kind="broken input", key="k", endpoint="goods", title="x is missing",
        state="resolved", since=80 * DAY, opened_at=81 * DAY, resolved_at=84 * DAY,
    ))  # fmt: skip
    assert days(project, ()) == [*range(65, 80), *range(84, 100)]


def test_logged_rows_get_the_shape_of_the_withheld_ones():
    at = datetime(2026, 1, 5, tzinfo=UTC)
    withheld = pl.DataFrame(
        {"id": ["a"], "at": [at], "x": [1], "word": ["w"], "good": [True]},
        schema_overrides={"at": pl.Datetime("us", "UTC")},
    )
    made = Candidate(
        estimator=None, params={}, task="binary", target="good", fit_on="good",
        classes=(False, True), positive=True, threshold=0.5, features={"x": "number", "word": "text"},
        train=withheld, withheld=withheld, trials=(), baseline={},
    )  # fmt: skip
    signed = Signature(
        task="binary", engine="onnx", target="good", classes=(False, True), positive=True,
        inputs=(Column(name="x", kind="number"), Column(name="word", kind="text")), threshold=0.5,
    )  # fmt: skip
    logged = Answers(
        ids=["p", "q"], times=np.array([SINCE - 1, SINCE]),
        columns={"x": np.array([2.0, np.nan]), "word": np.array(["v", None], dtype=object)},
        score=np.array([0.1, 0.2], dtype=np.float32), decision=[False, False],
        roles=["champion"] * 2, latency_us=np.array([1, 1]), received=np.array([SINCE, SINCE]),
    )  # fmt: skip
    frame = ordinary._frame(logged, signed, made, "at")
    assert frame.schema == withheld.schema
    assert frame["x"].to_list() == [2, None]
    assert frame["word"].to_list() == ["v", None]
    assert frame["good"].null_count() == 2
    assert frame["at"].dt.timestamp("us").to_list() == [SINCE - 1, SINCE]
    assert ordinary._within(logged, [], SINCE).ids == ["q"]
    assert ordinary._within(logged, [(SINCE - 5, SINCE)], SINCE).ids == ["p", "q"]
