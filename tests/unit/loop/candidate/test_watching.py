"""The reference of a candidate: withheld rows, and what training rows say of ordinary variation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from trimtab import config as project_file
from trimtab.errors import ConfigError
from trimtab.loop.candidate import watching
from trimtab.model.signature import Column, Signature
from trimtab.monitor.log import traffic
from trimtab.profile import reference as references
from trimtab.tune.candidate import Candidate

SIGNED = Signature(
    task="binary",
    engine="onnx",
    inputs=(Column(name="x", kind="number"), Column(name="word", kind="text")),
    target="good",
    classes=("no", "yes"),
    positive="yes",
    threshold=0.5,
)


class Model:
    """As much of a loaded model as a reference needs."""

    signature = SIGNED


def rows(days: int, a_day: int, *, swing: float = 0.0, seed: int = 0) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    day = np.arange(days).repeat(a_day)
    begin = datetime(2025, 1, 6, tzinfo=UTC)
    return pl.DataFrame(
        {
            "x": random.normal(swing * (day % 7 >= 5), 1),
            "word": random.choice(["a", "b"], len(day)),
            "user": (np.arange(len(day)) // 10).tolist(),
            "region": random.choice(["north", "south"], len(day)),
            "at": [begin + timedelta(days=int(one), hours=5) for one in day],
            "good": random.choice(["yes", "no"], len(day)),
        }
    ).with_columns(pl.col("at").cast(pl.Datetime("us", "UTC")))


def candidate(table: pl.DataFrame, withheld: int) -> Candidate:
    cut = table.height - withheld
    return Candidate(
        estimator=None, params={}, task="binary", target="good", fit_on="good",
        classes=("no", "yes"), positive="yes", threshold=0.5,
        features={"x": "number", "word": "text"}, train=table.head(cut),
        withheld=table.tail(withheld), trials=(), baseline={},
    )  # fmt: skip


def fitted(
    table: pl.DataFrame, withheld: int, monitor: str = "", time: str = "at",
    more: pl.DataFrame | None = None,
):  # fmt: skip
    config = project_file.parse(
        {
            "project": {"name": "goods"},
            "data": {"goods": {"source": "x.csv", "target": "good", "time": time}},
            "require": {"accuracy": {"min": 0.1, "by": "region"}},
            "monitor": dict(one.split("=") for one in monitor.split()),
        }
    )

    def answered(some: pl.DataFrame):
        score = 1 / (1 + np.exp(-some["x"].to_numpy()))
        decision = np.where(score >= 0.5, "yes", "no").tolist()
        inputs = {
            "x": some["x"].to_numpy(),
            "word": np.array(some["word"].to_list(), dtype=object),
        }
        return inputs | traffic.watched(score, decision, SIGNED)

    raw = watching.reference(config, candidate(table, withheld), Model(), answered, more)
    return references.decode(raw)


def test_windows_of_training_rows_show_ordinary_variation():
    found = fitted(rows(60, 60), 900)
    assert found.profile.rows == 900
    assert found.dispersion is not None
    assert (found.dispersion.chunks, found.dispersion.rows) == (59, 60)
    assert found.seasons is None
    assert found.bins.names == ("x", "word", "__score__", "__decision__")
    assert found.profile.confidence.sum() == 900


def test_free_text_is_watched_by_its_length_and_characters():
    table = rows(30, 60)
    said = [f"please call me back about {i}" for i in range(table.height)]
    found = fitted(table.with_columns(word=pl.Series(said)), 600)
    assert set(found.bins.names) >= {"word:length", "word:characters"}
    assert found.bins.needed == ("x", "__score__", "__decision__", "word")


def test_slices_that_requirements_name_are_counted_with_the_score():
    found = fitted(rows(30, 60), 600)
    assert [joint.slice.name for joint in found.bins.joints] == ["region"]
    assert found.profile.joints[0].sum() == 600


@pytest.mark.slow
def test_a_week_that_shows_is_kept_by_weekday():
    table = rows(70, 100, swing=1.0)
    found = fitted(table, 3_500)
    assert found.seasons is not None
    assert len(found.seasons.keys) == 7
    assert max(found.seasons.dispersion.shape) < 2
    assert max(found.dispersion.shape) > 5
    pooled = fitted(table, 3_500, "season=none")
    assert pooled.seasons is None
    assert max(pooled.dispersion.shape) > 5


def test_too_few_weeks_are_pooled_and_their_swing_is_ordinary():
    found = fitted(rows(70, 100, swing=1.0), 1_400)
    assert found.seasons is None
    assert max(found.dispersion.shape) > 5


@pytest.mark.slow
@pytest.mark.parametrize("time", ["at", ""])
def test_entities_are_bursts_in_all_rows(time):
    table = rows(60, 60).with_columns(x=pl.col("user").hash(seed=3) % 1_000 / 500.0)
    found = fitted(table, 900, "entity=user", time)
    assert found.clusters is not None
    assert found.clusters.shape[0] > 4
    assert found.clusters.shape[1] < 2
    assert (found.dispersion is None) == (not time)


def test_an_entity_that_is_no_column_is_refused():
    with pytest.raises(ConfigError, match="entity = 'who' is no column"):
        fitted(rows(10, 60), 100, "entity=who")


def test_no_time_and_no_entity_is_one_pool():
    found = fitted(rows(60, 60), 900, time="")
    assert (found.dispersion, found.clusters, found.seasons) == (None, None, None)


def test_answers_to_rows_that_were_fitted_to_are_no_variation():
    """An overfitted model is surer of training rows than of others: no two days differ by that."""
    table = rows(60, 100)
    config = project_file.parse(
        {
            "project": {"name": "goods"},
            "data": {"goods": {"source": "x.csv", "target": "good", "time": "at"}},
        }
    )
    cut = table["at"][4_800]

    def answered(some: pl.DataFrame):
        sure = np.where((some["at"] < cut).to_numpy(), 4.0, 1.0)
        score = 1 / (1 + np.exp(-sure * some["x"].to_numpy()))
        word = np.array(some["word"].to_list(), dtype=object)
        decision = np.where(score >= 0.5, "yes", "no").tolist()
        inputs = {"x": some["x"].to_numpy(), "word": word}
        return inputs | traffic.watched(score, decision, SIGNED)

    raw = watching.reference(config, candidate(table, 1_200), Model(), answered)
    found = references.decode(raw)
    assert found.dispersion.chunks == 59
    assert found.dispersion.shape[found.bins.names.index(traffic.SCORE)] < 1.6


def test_rows_that_are_ordinary_as_well_count_like_withheld_ones():
    """A model made from a Monday to a Friday knows the weekend by the weeks before."""
    weeks = rows(40, 100, swing=3.0)
    plain = fitted(weeks.head(500), 100)
    more = weeks.tail(3_500).with_columns(pl.lit(None, dtype=pl.String).alias("good"))
    knowing = fitted(weeks.head(500), 100, more=more)
    assert (plain.profile.rows, knowing.profile.rows) == (100, 3_600)
    assert plain.seasons is None
    assert knowing.seasons is not None
