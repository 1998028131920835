"""`search`: what is withheld, what is learned, how it resumes, and what it says of unfit input."""

from __future__ import annotations

import copy
import datetime
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from trimtab import config, flow, search, step
from trimtab.errors import ConfigError, DataError, PipelineError
from trimtab.model import codec  # noqa: F401  (registers how a candidate is stored)
from trimtab.pipeline import driver, plan
from trimtab.pipeline.events import Event, Progress
from trimtab.pipeline.handle import Dataset
from trimtab.store import metrics, runs
from trimtab.store.workspace import Workspace, open_workspace
from trimtab.tune import roles as naming
from trimtab.tune import space as spaces
from trimtab.tune.candidate import Candidate
from trimtab.tune.frames import features, kinds
from trimtab.tune.roles import Roles

START = datetime.datetime(2024, 1, 1)


def table(n: int = 200, seed: int = 0, target: str = "yes") -> pl.DataFrame:
    random = np.random.default_rng(seed)
    x = random.normal(size=n)
    chance = 1 / (1 + np.exp(-2 * x))
    good = random.random(n) < chance
    labels = {
        "yes": np.where(good, "yes", "no"),
        "bool": good,
        "int": good.astype(int),
        "float": good.astype(float),
        "three": np.where(x > 0.5, "c", np.where(good, "b", "a")),
        "number": 3 * x + random.normal(size=n),
    }[target]
    return pl.DataFrame(
        {
            "id": [f"r{i}" for i in range(n)],
            "at": [START + datetime.timedelta(hours=i) for i in range(n)],
            "x": x,
            "z": random.normal(size=n),
            "group": random.choice(["a", "b"], n),
            "target": labels,
        }
    )


def number(alpha: float = 1.0):
    return make_pipeline(StandardScaler(), Ridge(alpha=alpha))


def logistic(c: float = 1.0):
    return LogisticRegression(C=c)


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@dataclass
class Fits:
    """Every fit of the library's estimator, and after how many more the process is to die."""

    seen: list[tuple[tuple[str, ...], int]] = field(default_factory=list)
    left: int = 10**9


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> Fits:
    found, real = Fits(), LogisticRegression.fit

    def fit(self, X, y, *rest):
        found.left -= 1
        if found.left < 0:
            raise KeyboardInterrupt
        found.seen.append((tuple(X.columns), len(y)))
        return real(self, X, y, *rest)

    monkeypatch.setattr(LogisticRegression, "fit", fit)
    return found


def plain(rows: pl.DataFrame, factory=logistic, **options) -> Candidate:
    return search(factory, rows.drop("id", "at", "group"), target="target", cv=3, **options)


def test_a_plain_call_gives_a_candidate() -> None:
    rows = table().drop("id", "at", "group")
    found = search(logistic, rows, space={"c": (0.01, 10.0)}, trials=3, cv=3, target="target")
    assert found.task == "binary"
    assert found.classes == ("no", "yes")
    assert (found.positive, found.threshold) == ("yes", 0.5)
    assert found.features == {"x": "number", "z": "number"}
    assert len(found.trials) == 3
    best = max(found.trials, key=lambda trial: trial.score)
    assert found.params == best.params
    assert found.params.keys() == {"c"}
    assert best.score == pytest.approx(np.mean(best.folds))
    assert found.train.height + found.withheld.height == 200
    assert found.withheld.height == 40
    shares = found.baseline["shares"]
    assert sum(shares.values()) == pytest.approx(1)
    assert set(found.estimator.predict(features(found.withheld, found.features))) <= {"no", "yes"}


@pytest.mark.parametrize(
    ("target", "task", "classes", "positive"),
    [
        ("bool", "binary", (False, True), True),
        ("int", "binary", (0, 1), 1),
        ("float", "binary", (0, 1), 1),
        ("three", "multiclass", ("a", "b", "c"), None),
        ("number", "regression", (), None),
    ],
)
def test_the_task_is_told_from_the_target(target, task, classes, positive) -> None:
    factory = number if task == "regression" else logistic
    found = plain(table(target=target), factory)
    assert (found.task, found.classes, found.positive) == (task, classes, positive)
    assert [type(one) for one in found.classes] == [type(one) for one in classes]
    assert len(found.trials) == 1
    if task == "regression":
        assert found.baseline["value"] == pytest.approx(found.train["target"].mean())


@pytest.mark.slow
def test_the_same_seed_gives_the_same_candidate() -> None:
    one, two, other = (
        plain(table(), space={"c": (0.01, 10.0)}, trials=3, seed=seed) for seed in (1, 1, 2)
    )
    assert [t.params for t in one.trials] == [t.params for t in two.trials]
    assert one.trials == two.trials
    assert one.withheld.equals(two.withheld)
    assert not one.withheld.equals(other.withheld)


def test_without_time_the_withheld_fifth_is_stratified() -> None:
    rows = table(400).with_columns(target=pl.Series(["rare"] * 40 + ["often"] * 360))
    found = plain(rows)
    assert (found.withheld["target"] == "rare").sum() == 8


@pytest.mark.parametrize(
    ("rows", "options", "error", "said"),
    [
        (
            table(),
            {"target": "tarket"},
            DataError,
            "no target column 'tarket', did you mean 'target'",
        ),
        (table(), {"target": ""}, ConfigError, "no target column is named"),
        (table().with_columns(target=pl.lit("yes")), {}, DataError, "only the value 'yes'"),
        (
            table().with_columns(target=pl.lit(None, pl.String)),
            {},
            DataError,
            "no value at all|too few",
        ),
        (table(8), {"cv": 9}, DataError, "fewer than the 9 folds"),
        (table(200), {"cv": 1}, PipelineError, "at least 2 folds"),
        (
            table(),
            {"space": {"d": (1, 2)}},
            PipelineError,
            "names 'd', which logistic does not take",
        ),
        (table(), {"space": {"c": (2, 1)}}, PipelineError, r"search space of 'c' is \(2, 1\)"),
        (table(), {"space": {"c": []}}, PipelineError, "search space of 'c' is empty"),
        ([1, 2], {}, PipelineError, "needs a polars DataFrame"),
    ],
)
def test_unfit_input_is_told(rows, options, error, said) -> None:
    wanted = {"target": "target", "cv": 3, **options}
    with pytest.raises(error, match=said):
        search(logistic, rows, **wanted)


def test_a_class_with_fewer_rows_than_folds_is_told() -> None:
    rows = table().with_columns(target=pl.Series(["a"] * 3 + ["b"] * 197))
    with pytest.raises(DataError, match="class 'a' has . training rows, fewer than the 5 folds"):
        search(logistic, rows.drop("id", "at", "group"), target="target", cv=5)


def test_unfit_estimators_are_told_with_their_parameters() -> None:
    with pytest.raises(PipelineError, match="returned dict, which is no estimator"):
        plain(table(), dict)

    def broken(c: float = 1.0):
        return LogisticRegression(C=-c)

    with pytest.raises(PipelineError, match=r"fitting broken with \{'c': 2.0\} failed"):
        plain(table(), broken, space={"c": [2.0]}, trials=1)


def test_rows_without_a_target_are_left_out() -> None:
    rows = table().with_columns(
        target=pl.when(pl.int_range(pl.len()) % 4 == 0).then(None).otherwise(pl.col("target"))
    )
    found = plain(rows)
    assert found.train.height + found.withheld.height == 150
    numbers = table(target="number").with_columns(
        target=pl.when(pl.int_range(pl.len()) % 4 == 0).then(float("nan")).otherwise("target")
    )
    assert plain(numbers, number).train["target"].is_nan().sum() == 0


# ---- in a flow


@step
def clean(raw: pl.DataFrame) -> pl.DataFrame:
    return raw.filter(pl.col("x") > -10)


def from_environment(c: float = 1.0):
    return LogisticRegression(C=c * float(os.environ["STRENGTH"]))


@flow
def reading(rows: Dataset):
    return search(from_environment, clean(rows), cv=3)


@flow
def train(rows: Dataset, trials: int = 4, seed: int = 0):
    return search(logistic, clean(rows), space={"c": (0.01, 10.0)}, trials=trials, cv=3, seed=seed)


@pytest.fixture
def ws(tmp_path: Path) -> Iterator[Workspace]:
    table().write_csv(tmp_path / "rows.csv")
    found = open_workspace(tmp_path, "demo")
    yield found
    found.close()


def project(**changes: Any) -> config.Config:
    data = {
        "source": "rows.csv",
        "key": "id",
        "time": "at",
        "target": "target",
        "protected": ["group"],
    }
    return config.parse(
        {
            "project": {"name": "demo"},
            "data": {"rows": {**data, **changes.pop("data", {})}},
            "model": changes,
        }
    )


def run(ws: Workspace, told: list[Progress] | None = None, **params: Any) -> Candidate:
    def listen(event: Event) -> None:
        if told is not None and isinstance(event, Progress):
            told.append(event)

    found: Candidate = driver.run(ws, project(), train, params, on_event=listen).value
    return found


@pytest.mark.slow
def test_roles_keep_columns_out_and_the_last_fifth_by_time_is_withheld(ws, fits) -> None:
    found = run(ws)
    assert {columns for columns, _ in fits.seen} == {("x", "z")}
    assert found.withheld["at"].min() > found.train["at"].max()
    assert found.withheld.height == 40
    # three folds of the 160 other rows each trial, then one fit on all of them
    rows = [rows for _, rows in fits.seen]
    assert set(rows) <= {106, 107, 160}
    assert rows.count(160) == 1
    assert len(rows) == 4 * 3 + 1
    assert found.fit_on == "target"


@pytest.mark.slow
def test_each_trial_is_a_run_with_its_folds(ws) -> None:
    candidate = run(ws)
    step_run = runs.find(ws, kind="step", name="search")[0]
    trials = runs.find(ws, kind="trial")
    assert len(trials) == 4
    assert {one.parent for one in trials} == {step_run.id}
    by_id = {one.id: one for one in trials}
    for trial in candidate.trials:
        found = by_id[trial.run]
        assert found.status == "done"
        assert found.params == trial.params
        points = metrics.read(ws, found.id, "cv_roc_auc")
        assert [point.value for point in points] == trial.folds


@pytest.mark.slow
def test_a_search_that_died_repeats_no_finished_trial(ws, fits) -> None:
    fits.left = 7
    with pytest.raises(KeyboardInterrupt):
        run(ws)
    statuses = sorted(one.status for one in runs.find(ws, kind="trial"))
    assert statuses == ["cancelled", "done", "done"]
    fits.left = 10**9
    fits.seen.clear()
    told: list[Progress] = []
    resumed = run(ws, told)
    assert len(fits.seen) == 2 * 3 + 1  # the two missing trials, and the refit
    assert ["known already" in event.text for event in told] == [True, True, False, False]
    assert [trial.number for trial in resumed.trials] == [0, 1, 2, 3]


@pytest.mark.slow
def test_more_trials_go_on_from_those_that_are_known(ws) -> None:
    four = run(ws)
    told: list[Progress] = []
    six = run(ws, told, trials=6)
    assert ["known already" in event.text for event in told] == [True] * 4 + [False] * 2
    assert six.trials[:4] == four.trials


@pytest.mark.slow
def test_a_trial_knows_what_it_read(ws, monkeypatch) -> None:
    run_once = lambda told: driver.run(ws, project(), reading, on_event=told.append)  # noqa: E731
    monkeypatch.setenv("STRENGTH", "1")
    run_once([])
    monkeypatch.setenv("STRENGTH", "2")
    told: list[Event] = []
    run_once(told)
    texts = [event.text for event in told if isinstance(event, Progress)]
    assert len(texts) == 1
    assert "known already" not in texts[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"data": {"protected": ["group", "z"]}},
        {"data": {"time": ""}},
        {"decide": "P(no) >= 0.3"},
        {"fit_on": "target"},
    ],
)
def test_a_role_that_changes_searches_again(ws, changes) -> None:
    run(ws)
    assert plan.plan(ws, project(), train).nothing_to_do
    planned = plan.plan(ws, project(**copy.deepcopy(changes)), train).steps
    assert [one.status for one in planned] == ["cached", "run"]
    assert planned[1].reasons == ("setting changed: roles",)


@pytest.mark.slow
def test_the_key_covers_the_factory_and_the_space(ws) -> None:
    def other(c: float = 1.0):
        return LogisticRegression(C=c + 0.0)

    def with_factory(factory, space):
        @flow
        def train(rows: Dataset):
            return search(factory, clean(rows), space=space, trials=4, cv=3)

        return [one.reasons for one in plan.plan(ws, project(), train).steps][1]

    run(ws)
    assert with_factory(logistic, {"c": (0.01, 10.0)}) == ()
    assert with_factory(logistic, {"c": (0.01, 20.0)}) == ("param changed: space",)
    assert any("other" in reason for reason in with_factory(other, {"c": (0.01, 10.0)}))


# ---- the parts


def test_features_have_two_types() -> None:
    frame = pl.DataFrame(
        {"n": [1, None], "b": [True, None], "t": ["a", None], "d": [START, None], "f": [0.5, None]}
    )
    wanted = kinds(frame, without={"f"})
    assert wanted == {"n": "number", "b": "boolean", "t": "text"}
    found = features(frame, wanted)
    assert found.schema == {"n": pl.Float64, "b": pl.Float64, "t": pl.String}
    assert found["t"].to_list() == ["a", ""]
    assert found["b"][0] == 1.0
    assert np.isnan(found["b"][1])
    assert np.isnan(found["n"][1])
    with pytest.raises(DataError, match="no column 'q'"):
        features(frame, {"q": "number"})


@pytest.mark.parametrize(
    ("decide", "classes", "task", "expected"),
    [
        ("P(yes) >= 0.3", ("no", "yes"), "binary", ("yes", 0.3)),
        ("P(no)>=0.5", ("no", "yes"), "binary", ("no", 0.5)),
        ("P(1) >= 0.5", (0, 1), "binary", (1, 0.5)),
        ("P(true) >= 0.5", (False, True), "binary", (True, 0.5)),
        ("", ("bad", "good"), "binary", ("good", 0.5)),
        ("", (1, 2), "binary", (1, 0.5)),
        ("", ("no", "yes"), "binary", ("yes", 0.5)),
        ("", ("a", "b", "c"), "multiclass", (None, None)),
    ],
)
def test_the_decision_is_read(decide, classes, task, expected) -> None:
    found = naming.decision(decide, classes, task)
    assert found == expected
    assert type(found[0]) is type(expected[0])


@pytest.mark.parametrize(
    ("decide", "task", "said"),
    [
        ("yes >= 0.5", "binary", "cannot be read"),
        ("P(maybe) >= 0.5", "binary", "names the class 'maybe'"),
        ("P(yes) >= 1.5", "binary", "must lie between 0 and 1"),
        ("P(yes) >= 0.5", "regression", "is for two classes"),
    ],
)
def test_a_wrong_decision_is_told(decide, task, said) -> None:
    with pytest.raises(ConfigError, match=said):
        naming.decision(decide, ("no", "yes"), task)


def test_a_space_becomes_distributions() -> None:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    found = spaces.distributions(
        {
            "i": (2, 8),
            "j": (1, 500),
            "f": (0.5, 2),
            "g": (1e-4, 1.0),
            "h": (0, 1.0),
            "c": ["a", None],
        }
    )
    assert found["i"] == IntDistribution(2, 8)
    assert found["j"] == IntDistribution(1, 500, log=True)
    assert found["f"] == FloatDistribution(0.5, 2.0)
    assert found["g"] == FloatDistribution(1e-4, 1.0, log=True)
    assert found["h"] == FloatDistribution(0.0, 1.0)
    assert found["c"] == CategoricalDistribution(["a", None])


def test_many_distinct_integers_are_a_regression() -> None:
    assert naming.task_of(pl.Series("t", list(range(30)))) == "regression"
    assert naming.task_of(pl.Series("t", [1, 2, 3] * 5)) == "multiclass"
    assert naming.task_of(pl.Series("t", [1.0, 2.0, 3.0] * 5)) == "multiclass"
    assert naming.task_of(pl.Series("t", [1.5, 2.0, 3.0] * 5)) == "regression"
    assert Roles(target="t", fit_on="f").learned == "f"


def test_a_score_that_is_no_number_is_told() -> None:
    class Vast(DummyRegressor):
        def predict(self, X):
            return np.full(len(X), 1e200)

    warnings.simplefilter("ignore", RuntimeWarning)  # numpy's own: the square of 1e200
    with pytest.raises(PipelineError, match=r"trial 0 with \{\} scored .*not all numbers"):
        plain(table(target="number"), Vast)
