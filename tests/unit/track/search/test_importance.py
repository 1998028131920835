import random

import numpy as np
import pytest

from trimtab.errors import NotFoundError, UndecidedError, UsageError
from trimtab.store import metrics, runs
from trimtab.store.records import Point
from trimtab.track.search import forest
from trimtab.track.search.finding import Wanted
from trimtab.track.search.importance import importance


def fit(ws, count, auc, **params):
    draw = random.Random(3)
    with ws.transaction():
        for _ in range(count):
            given = {name: make(draw) for name, make in params.items()}
            run = runs.start(ws, "trial", "fit", params=given)
            value = auc(given, draw)
            metrics.append(ws, run.id, [Point(key="auc", step=0, time=0, value=value)])


@pytest.mark.slow
def test_what_explains_a_metric_is_found_and_what_goes_with_it_is_told(own):
    fit(
        own,
        80,
        lambda given, draw: given["depth"] ** 2 + 20 * (given["opt"] == "adam") + draw.gauss(0, 1),
        depth=lambda draw: draw.randint(1, 9),
        opt=lambda draw: draw.choice(["adam", "sgd"]),
        noise=lambda draw: draw.random(),
        fixed=lambda draw: 1,
        path=lambda draw: str(draw.random()) + "x",
    )
    for run in runs.find(own):
        runs.update(own, run.id, params={**run.params, "leaf": 2 * run.params["depth"]})
    found = importance(own, Wanted(), "auc")
    shares = {one.param: one for one in found.shares}
    assert found.n == 80
    assert found.lo > 0.5
    assert {found.shares[0].param, found.shares[1].param} == {"depth", "leaf"}
    assert shares["opt"].lo > shares["noise"].hi
    assert shares["noise"].lo < 0.05
    assert (shares["depth"].together, shares["leaf"].together) == (["leaf"], ["depth"])
    assert shares["opt"].together == []
    assert shares["depth"].trend > 0.7
    assert shares["opt"].trend is None
    assert found.left_out == {
        "fixed": "it has one value",
        "path": "it has 80 values in 80 runs",
    }
    assert importance(own, Wanted(), "metrics.auc") == found


def test_noise_is_called_noise(own):
    fit(
        own,
        40,
        lambda given, draw: draw.random(),
        a=lambda draw: draw.random(),
        b=lambda draw: draw.choice("xyz"),
    )
    run = runs.find(own, limit=1)[0]
    metrics.append(own, run.id, [Point(key="auc", step=1, time=0, value=float("nan"))])
    found = importance(own, Wanted(), "auc")
    assert found.lo < 0
    assert any("may explain nothing" in note for note in found.notes)
    assert any("not finite" in note for note in found.notes)
    assert found.n == 39


def test_too_few_runs_say_so(own):
    fit(own, 25, lambda given, draw: 1.0, a=lambda draw: draw.random())
    with pytest.raises(UndecidedError, match="the same in all 25"):
        importance(own, Wanted(), "auc")
    with pytest.raises(UndecidedError, match="too few runs: 0"):
        importance(own, Wanted(where="params.a > 2"), "auc")
    with pytest.raises(NotFoundError) as caught:
        importance(own, Wanted(), "acu")
    assert "'auc'" in caught.value.hint


def test_runs_whose_params_are_all_the_same_explain_nothing(own):
    fit(own, 25, lambda given, draw: draw.random(), a=lambda draw: 1)
    with pytest.raises(UndecidedError, match="no param varies"):
        importance(own, Wanted(), "auc")


@pytest.mark.parametrize("unit", [1e-200, 1e200])
def test_the_unit_of_a_metric_does_not_matter(own, unit):
    fit(own, 40, lambda given, draw: unit * given["a"], a=lambda draw: draw.randint(1, 9))
    assert importance(own, Wanted(), "auc").lo > 0.5


def test_a_seed_is_no_negative_number(own):
    with pytest.raises(UsageError, match="seed -1"):
        importance(own, Wanted(), "auc", seed=-1)


def test_a_tree_splits_where_the_values_do():
    rng = np.random.default_rng(0)
    X = rng.random((200, 3))
    y = np.where(X[:, 1] > 0.5, 1.0, 0.0)
    tree = forest.grow(X, y, rng)
    assert np.abs(forest.predict(tree, X) - y).mean() < 0.02
    alone = forest.grow(X[:1], y[:1], rng)
    assert forest.predict(alone, X).tolist() == [y[0]] * 200
