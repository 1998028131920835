from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from trimtab.errors import NotFoundError, PipelineError
from trimtab.tune import learner, stock
from trimtab.tune.frames import features, kinds


def rows(count=200, seed=0):
    noise = np.random.default_rng(seed)
    label = noise.integers(0, 2, count)
    frame = pl.DataFrame(
        {
            "a": noise.normal(size=count) + label,
            "gap": np.where(noise.random(count) < 0.3, np.nan, label),
            "word": np.where(label == 1, "yes", "no"),
            "empty": [None] * count,
        },
        schema_overrides={"empty": pl.Float64},
    )
    return features(frame, kinds(frame, ())), label


@pytest.mark.parametrize("name", stock.NAMES)
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_our_estimators_take_numbers_words_and_gaps(name, task):
    table, label = rows()
    columns = kinds(table, ())
    if (name, task) == ("bayes", "regression"):
        with pytest.raises(NotFoundError, match="is for classes"):
            stock.make(name, columns, task)
        return
    classes = (0, 1) if task == "binary" else ()
    made = learner.fit(stock.make(name, columns, task), table, label, task, classes)
    unseen = table.with_columns(word=pl.lit("new"))
    assert np.isfinite(made.answer(unseen).decision.astype(float)).all()
    assert (made.answer(table).decision.round() == label).mean() > 0.7
    assert learner.can_learn(made.estimator) == (name != "boosting")


def test_a_pipeline_learns_on_by_its_last_step_and_a_copy_leaves_it_alone():
    table, label = rows()
    numbers = table.select("a")
    pipeline = make_pipeline(StandardScaler(), GaussianNB())
    made = learner.fit(pipeline, numbers[:50], label[:50], "binary", (0, 1))
    other = made.copy()
    other.learn(numbers[50:], label[50:])
    assert made.estimator[-1].class_count_.sum() == 50
    assert other.estimator[-1].class_count_.sum() == 200
    assert made.estimator[0].mean_ == other.estimator[0].mean_
    assert not hasattr(pipeline[-1], "class_count_")


def test_a_class_that_was_never_seen_has_no_chance():
    table, label = rows()
    made = learner.fit(GaussianNB(), table.select("a"), label, "multiclass", (0, 1, 2))
    chance = made.answer(table.select("a")).chance
    assert chance.shape == (200, 3)
    assert (chance[:, 2] == 0).all()


def test_random_states_left_open_are_seeded_and_others_are_kept():
    pipeline = make_pipeline(StandardScaler(), SGDClassifier())
    assert learner.seeded(pipeline, 7)[-1].random_state == 7
    assert pipeline[-1].random_state is None
    assert learner.seeded(SGDClassifier(random_state=3), 7).random_state == 3


def test_an_estimator_that_fails_is_named():
    table, label = rows(20)
    with pytest.raises(PipelineError, match="fitting GaussianNB failed: ValueError"):
        learner.fit(GaussianNB(), table, label, "binary", (0, 1))
    made = learner.fit(GaussianNB(), table.select("a"), label, "binary", (0, 1))
    with pytest.raises(PipelineError, match="asking GaussianNB failed"):
        made.answer(table)
    with pytest.raises(PipelineError, match="learning on GaussianNB failed"):
        made.learn(table, label)
