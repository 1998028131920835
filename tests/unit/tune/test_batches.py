"""A batch by its effect: what harms is refused, what is honest is not, what cannot be told is said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from trimtab.errors import UndecidedError
from trimtab.tune import batches, study
from trimtab.tune.probe import of_rows, of_shares
from trimtab.tune.roles import Roles

PLAN = study.Plan(trials=1, cv=3)


def rows(n, seed, slope=3.0, shift=0.0):
    draw = np.random.default_rng(seed)
    x, z = draw.normal(shift, 1, n), draw.normal(size=n)
    kind = draw.choice(["a", "b", "c"], n, p=[0.5, 0.3, 0.2])
    odds = slope * x + z + (kind == "b")
    good = np.where(draw.random(n) < 1 / (1 + np.exp(-odds)), "yes", "no")
    price = 10 + 3 * x + z + draw.normal(size=n)
    return pl.DataFrame({"x": x, "z": z, "kind": kind, "good": good, "price": price})


def prepared(last):
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["kind"]),
        remainder="passthrough",
    )
    return make_pipeline(columns, last)


@pytest.fixture(scope="module")
def champion():
    known = rows(4000, 0).drop("price")
    return study.best(
        lambda: prepared(LogisticRegression()), known, Roles(target="good"), space={}, plan=PLAN
    )


@pytest.fixture(scope="module")
def trees():
    known = rows(4000, 0).drop("price")
    return study.best(
        lambda: prepared(HistGradientBoostingClassifier(max_iter=40, max_leaf_nodes=6)),
        known, Roles(target="good"), space={}, plan=PLAN,
    )  # fmt: skip


@pytest.fixture(scope="module")
def batch():
    return rows(1500, 1).drop("price")


def wrong(frame, share, seed=0, only=None):
    draw = np.random.default_rng(seed)
    hit = draw.random(frame.height) < share
    if only is not None:
        hit &= (frame["good"] == only).to_numpy()
    other = pl.when(pl.col("good") == "yes").then(pl.lit("no")).otherwise(pl.lit("yes"))
    return frame.with_columns(pl.when(pl.Series(hit)).then(other).otherwise("good").alias("good"))


def measured(champion, frame, **settings):
    return batches.measure(champion, frame, champion.withheld, **settings)


def names(found):
    return [one.name for one in found.failed]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
def test_clean_batches_are_accepted(champion, seed):
    assert names(measured(champion, rows(1500, seed).drop("price"))) == []


@pytest.mark.slow
def test_an_honest_change_of_the_world_is_accepted(champion):
    for frame in (rows(1500, 3, slope=-2.0), rows(1500, 4, shift=0.8)):
        found = measured(champion, frame.drop("price"))
        assert names(found) == []
    turned = measured(champion, rows(1500, 3, slope=-2.0).drop("price"))
    assert turned.effect.value > 0, "golden rows are of the old world"
    assert turned.effect.details["gain_lo"] > turned.effect.value


@pytest.mark.slow
@pytest.mark.parametrize("only", [None, "yes"])
def test_wrong_labels_are_refused_and_found(champion, batch, only):
    share = 0.06 if only is None else 0.12
    frame = wrong(batch, share, only=only)
    found = measured(champion, frame)
    assert names(found) == ["label_errors"]
    (probe,) = found.failed
    assert probe.lo > probe.tolerated
    assert 0.02 < probe.value < 0.12
    changed = set(np.flatnonzero((frame["good"] != batch["good"]).to_numpy()).tolist())
    hits = [place in changed for place in found.suspects.tolist()]
    assert np.mean(hits) > 0.3, "by chance it were one in seventeen"


@pytest.mark.slow
def test_wrong_labels_in_a_changed_world_are_refused(champion):
    frame = wrong(rows(3000, 5, slope=-3.0).drop("price"), 0.12)
    honest = measured(champion, rows(3000, 5, slope=-3.0).drop("price"))
    assert names(honest) == []
    # The two worlds contradict each other nearly everywhere: few anchors are left to tell by.
    assert names(measured(champion, frame)) in ([], ["label_errors"])


@pytest.mark.slow
def test_a_flood_is_refused(champion, batch):
    one = wrong(batch.head(1), 1.0)
    few = wrong(batch.head(10), 1.0)
    for copies in ([one] * 400, [few] * 40):
        found = measured(champion, pl.concat([batch, *copies]))
        assert "repeated_rows" in names(found)
        assert len(found.suspects) >= 380
        assert set(found.suspects.tolist()) <= {*range(10), *range(1500, 1900)}


@pytest.mark.slow
def test_rows_that_always_repeat_are_no_flood():
    known = rows(4000, 0).select("kind", "good", pl.col("x").round(0))
    champion = study.best(
        lambda: prepared(LogisticRegression()), known, Roles(target="good"), space={}, plan=PLAN
    )
    again = rows(1500, 1).select("kind", "good", pl.col("x").round(0))
    assert names(measured(champion, again)) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stamp", "columns"),
    [({"kind": "gift"}, {"kind"}), ({"z": 3.25, "kind": "c"}, {"kind", "z"})],
)
def test_a_planted_pattern_is_refused_and_named(trees, batch, stamp, columns):
    champion = trees
    hit = pl.Series(np.arange(batch.height) % 25 == 0)
    frame = batch.with_columns(
        pl.when(hit).then(pl.lit(value)).otherwise(pl.col(name)).alias(name)
        for name, value in {**stamp, "good": "no"}.items()
    )
    found = measured(champion, frame)
    assert "planted_pattern" in names(found)
    (probe,) = [one for one in found.failed if one.name == "planted_pattern"]
    assert set(probe.columns) <= columns
    assert probe.seen["label"] == "no"
    assert set(probe.seen["pattern"].values()) <= set(stamp.values())
    assert "gift" not in probe.said, "cells stay out of the ledger"
    assert "3.25" not in probe.said
    assert probe.value > 0.3, "stamped on golden rows it works"
    assert set(np.flatnonzero(hit.to_numpy()).tolist()) <= set(found.suspects.tolist())


@pytest.mark.slow
def test_an_honest_new_word_is_accepted(champion):
    frame = rows(1500, 8).drop("price")
    hit = pl.Series(np.arange(frame.height) % 20 == 0)
    frame = frame.with_columns(pl.when(hit).then(pl.lit("new")).otherwise("kind").alias("kind"))
    assert names(measured(champion, frame)) == []


@pytest.mark.slow
def test_numbers_are_held_against_the_error_that_is_usual():
    known = rows(4000, 0).drop("good")
    champion = study.best(
        lambda: prepared(LinearRegression()), known, Roles(target="price"), space={}, plan=PLAN
    )
    clean = rows(1500, 1).drop("good")
    new = pl.when(pl.int_range(pl.len()) % 20 == 0).then(pl.lit("new")).otherwise("kind")
    for honest in (clean, clean.with_columns(new.alias("kind"))):
        found = measured(champion, honest)
        assert names(found) == []
        assert {one.name: one.status for one in found.probes}["planted_pattern"] == "undecided"
    values = clean["price"].to_numpy().copy()
    values[::15] = values[::15] + 25
    spoilt = clean.with_columns(pl.Series("price", values))
    assert "label_errors" in names(measured(champion, spoilt))
    assert "repeated_rows" in names(measured(champion, pl.concat([clean, *[clean.head(5)] * 100])))


@pytest.mark.slow
def test_the_same_batch_gives_the_same_answer(champion, batch):
    frame = wrong(batch, 0.06)
    first, again = measured(champion, frame), measured(champion, frame)
    assert first.failed == again.failed
    assert first.suspects.tolist() == again.suspects.tolist()


@pytest.mark.slow
def test_rows_without_a_label_are_left_out_and_counted(champion, batch):
    spoilt = batch.with_columns(
        pl.when(pl.int_range(pl.len()) < 100).then(None).otherwise("good").alias("good")
    )
    found = measured(champion, spoilt)
    assert (found.rows, found.used) == (1400, 1400)
    assert names(found) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda one, frame: (one, frame.head(50)), "50 labelled rows"),
        (lambda one, frame: (one, frame.drop("x")), "no column 'x'"),
        (lambda one, frame: (one, frame.with_columns(x=pl.lit("far"))), "of other types"),
        (lambda one, frame: (replace(one, estimator=b"onnx"), frame), "cannot be fitted anew"),
    ],
)
def test_what_cannot_be_told_is_said(champion, batch, change, said):
    one, frame = change(champion, batch)
    with pytest.raises(UndecidedError, match=said):
        measured(one, frame)


def test_a_batch_of_copies_alone_is_a_flood(champion, batch):
    found = measured(champion, pl.concat([batch.head(20)] * 50))
    assert found.effect.status == "undecided"
    assert names(found) == ["repeated_rows"]


@pytest.mark.slow
def test_a_class_that_was_never_there_is_learned(champion, batch):
    more = batch.with_columns(
        pl.when(pl.col("x") > 2).then(pl.lit("later")).otherwise("good").alias("good")
    )
    assert measured(champion, more).used == 1500


def test_bounds_are_one_sided():
    draw = np.random.default_rng(0)
    missed = sum(of_rows(draw.normal(size=200), 0.05).lo > 0 for _ in range(400))
    assert missed < 36, "5 % of 400, with room for chance"
    bound = of_shares(30, 300, 5, 300, level=0.01, tolerated=0.01)
    assert 0 < bound.lo < bound.value < bound.hi
    assert bound.p < 0.01
