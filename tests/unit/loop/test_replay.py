from __future__ import annotations

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.errors import DataError, NotFoundError, UsageError
from trimtab.loop.replay import engine, guesses, history, judge, picture
from trimtab.loop.replay.engine import Ask
from trimtab.loop.replay.history import Cut
from trimtab.loop.replay.policies import Settings
from trimtab.loop.replay.source import Wish, of_file
from trimtab.loop.replay.walk import Trace
from trimtab.testing import histories
from trimtab.tune import stock
from trimtab.tune.frames import kinds


def quiet(*_):
    pass


def cut_up(frame, target="y", time="", **cut):
    return history.build(
        frame, target=target, time=time, features=kinds(frame, {target, time}), cut=Cut(**cut)
    )


def replayed(frame, estimator="linear", target="y", time="", cut=None, **asked):
    known = cut_up(frame, target, time, **(cut or {}))
    template = (
        stock.make(estimator, kinds(frame, {target, time}), known.task)
        if isinstance(estimator, str)
        else estimator
    )
    return engine.replay(known, template, Ask(**asked), source="t", target=target, tell=quiet)


def by_name(found):
    return {one.policy: one for one in found.policies}


@pytest.fixture(scope="module")
def sudden():
    return replayed(histories.history("sudden", 1, 6000))


@pytest.fixture(scope="module")
def stationary():
    return replayed(histories.history("stationary", 1, 6000))


def test_a_calm_history_is_for_training_once(stationary):
    assert (stationary.training, stationary.recommends) == ("static", "never")
    assert by_name(stationary)["drift"].retrains == []
    assert "what one would cost cannot be known" in " ".join(stationary.unknown)


def test_a_sudden_change_is_for_training_on_drift(sudden):
    assert (sudden.training, sudden.recommends) == ("dynamic", "drift")
    assert len(by_name(sudden)["drift"].retrains) == 1
    fit = by_name(sudden)["drift"].retrains[0]
    assert 2800 < fit.row < 3300  # the change came at row 3,000
    assert by_name(sudden)["drift"].gain.lo > 0
    assert "rests on one change" in " ".join(sudden.unknown)


def test_each_policy_trains_as_often_as_it_says(sudden):
    found = by_name(sudden)
    tested = [one.number for one in sudden.windows]
    assert found["never"].retrains == []
    due = [number for number in tested[1:] if (number - tested[0]) % 5 == 0]
    assert [fit.window for fit in found["schedule"].retrains] == due
    assert found["continuous"].updates == len(tested)
    assert found["continuous"].retrains == []
    assert found["never"].rows_fitted < found["drift"].rows_fitted < found["schedule"].rows_fitted


def test_the_losses_of_windows_are_those_of_the_whole(sudden):
    for one in sudden.policies:
        rows = [window.rows for window in sudden.windows]
        mean = np.average(one.windows, weights=rows)
        assert mean == pytest.approx(one.losses[sudden.loss].value)
        assert one.losses[sudden.loss].lo < mean < one.losses[sudden.loss].hi


@pytest.mark.slow
def test_the_same_seed_gives_the_same_replay(sudden):
    again = replayed(histories.history("sudden", 1, 6000))
    still = {"policies": []}
    assert msgspec.structs.replace(again, **still) == msgspec.structs.replace(sudden, **still)
    for one, other in zip(again.policies, sudden.policies, strict=True):
        assert msgspec.structs.replace(one, seconds=0.0) == msgspec.structs.replace(
            other, seconds=0.0
        )


@pytest.mark.slow
def test_labels_that_come_late_make_the_answer_late():
    frame = histories.history("sudden", 1, 6000)
    prompt = by_name(replayed(frame, policies=("drift",)))["drift"]
    late = by_name(replayed(frame, policies=("drift",), cut={"delay": "600"}))["drift"]
    assert late.retrains[0].window >= prompt.retrains[0].window + 4
    assert late.losses["log_loss"].value > prompt.losses["log_loss"].value


def test_no_label_is_seen_before_its_delay():
    frame = histories.history("stationary", 1, 2000)
    known = cut_up(frame, delay="100")
    for window in known.windows:
        assert known.seen[window] == known.starts[window] - 100
    assert known.known_at[0] == 0


def test_with_times_a_delay_is_a_time():
    times = pl.datetime_range(
        pl.datetime(2026, 1, 1), pl.datetime(2026, 1, 1, 23, 59), "1m", eager=True
    )
    frame = histories.history("stationary", 1, len(times)).with_columns(at=times)
    known = cut_up(frame, time="at", window="1h", delay="30m")
    assert len(known.starts) == 25
    assert [known.seen[k] for k in (0, 1, 2)] == [0, 31, 91]


@pytest.mark.slow
def test_where_labels_repeat_the_last_one_is_the_one_to_beat():
    noise = np.random.default_rng(0)
    label = np.repeat(noise.integers(0, 2, 300), 10)
    frame = pl.DataFrame({"x": noise.normal(size=3000) + 0.3 * label, "y": label})
    found = replayed(frame)
    assert found.warnings[0].startswith("repeating the last label is better than the best policy")
    assert all(one.kappa_temporal < 0 for one in found.policies)


def test_kappa_temporal_is_the_papers():
    assert guesses.kappa_temporal(0.1, 0.2) == pytest.approx(0.5)
    assert guesses.kappa_temporal(0.2, 0.2) == pytest.approx(0.0)
    assert guesses.kappa_temporal(0.1, 0.0) is None


def test_of_policies_that_are_alike_the_one_that_trains_least_is_chosen():
    known = cut_up(histories.history("stationary", 1, 1000))
    noise = np.random.default_rng(0)
    size = known.rows - known.tested
    never = 1 + noise.normal(0, 0.01, size)
    values = {"never": never, "schedule": never - 0.2, "drift": never - 0.2001}
    others = {name: one for name, one in values.items() if name != "never"}
    compared = judge.compare(known, never, others, 0.95)
    fits = {"schedule": 7, "drift": 12}
    assert judge.choose(known, values, compared, fits, 0.95).policy == "schedule"
    values["drift"] = never - 0.5
    others["drift"] = values["drift"]
    compared = judge.compare(known, never, others, 0.95)
    assert judge.choose(known, values, compared, fits, 0.95).policy == "drift"


def test_a_gain_too_small_to_count_is_none():
    known = cut_up(histories.history("stationary", 1, 1000))
    never = np.ones(known.rows - known.tested)
    compared = judge.compare(known, never, {"schedule": never * 0.995}, 0.95)
    assert compared["schedule"].gain.lo > 0
    assert not compared["schedule"].better


@given(st.integers(0, 10_000), st.integers(90, 400))
def test_figures_hold_their_mean_and_windows_their_rows(seed, rows):
    known = cut_up(histories.history("stationary", seed, rows), window="10")
    values = np.random.default_rng(seed).normal(size=known.rows - known.tested)
    found = judge.figure(known, values, 0.95)
    assert found.lo <= found.value <= found.hi
    assert found.value == pytest.approx(values.mean())
    assert known.starts[-1] == rows
    assert list(known.starts) == sorted(set(known.starts))
    assert all(known.seen[k] <= known.starts[k] for k in range(len(known.starts) - 1))


def test_intervals_cover_what_they_should():
    known = cut_up(histories.history("stationary", 0, 2500))
    noise = np.random.default_rng(5)
    size = known.rows - known.tested
    steps = (np.arange(size) > size / 2) * 3.0  # a change is no noise
    hits = 0
    for _ in range(400):
        found = judge.figure(known, steps + noise.normal(size=size), 0.95)
        hits += found.lo <= steps.mean() <= found.hi
    assert hits >= 372


@pytest.mark.slow
def test_numbers_are_replayed_by_absolute_error():
    noise = np.random.default_rng(2)
    x = noise.normal(size=(3000, 2))
    turned = np.arange(3000) > 1500
    y = np.where(turned, 5 - 2 * x[:, 0], 2 * x[:, 0] + x[:, 1]) + noise.normal(0, 0.3, 3000)
    frame = pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": y})
    found = replayed(frame, settings=Settings(min_rows=200))
    assert (found.task, found.loss, found.training) == ("regression", "absolute_error", "dynamic")
    assert set(found.policies[0].losses) == {"absolute_error", "squared_error"}
    assert {one.name for one in found.guesses} == {"no-change", "median"}
    assert by_name(found)["drift"].retrains
    assert found.policies[0].kappa_temporal is None


@pytest.mark.slow
def test_three_classes_and_words_are_replayed():
    noise = np.random.default_rng(3)
    word = noise.choice(["a", "b", "c"], 3000)
    turned = np.arange(3000) > 1500
    label = np.where(turned, np.roll(np.array(["p", "q", "r"]), 1)[np.searchsorted(["a", "b", "c"], word)],
                     np.array(["p", "q", "r"])[np.searchsorted(["a", "b", "c"], word)])  # fmt: skip
    label = np.where(noise.random(3000) < 0.1, "p", label)
    found = replayed(pl.DataFrame({"word": word, "y": label}), settings=Settings(min_rows=200))
    assert (found.task, found.training) == ("multiclass", "dynamic")
    assert len(by_name(found)["drift"].retrains) >= 1


@pytest.mark.slow
def test_an_estimator_without_chances_is_judged_by_its_errors():
    from sklearn.linear_model import Perceptron

    found = replayed(
        histories.history("sudden", 2, 4000), Perceptron(), settings=Settings(min_rows=200)
    )
    assert found.loss == "error"
    assert list(found.policies[0].losses) == ["error"]
    assert found.training == "dynamic"
    with pytest.raises(UsageError, match="no log loss"):
        replayed(histories.history("sudden", 2, 1000), Perceptron(), loss="log_loss")


@pytest.mark.slow
def test_without_partial_fit_continuous_is_left_out_or_fits_anew():
    frame = histories.history("stationary", 1, 1200)
    from sklearn.tree import DecisionTreeClassifier

    tree = DecisionTreeClassifier(max_depth=2)
    found = replayed(frame, tree)
    assert "continuous" not in by_name(found)
    assert "DecisionTreeClassifier has no partial_fit" in " ".join(found.notes)
    again = replayed(frame, tree, settings=Settings(refit=True))
    assert len(by_name(again)["continuous"].retrains) == len(again.windows) - 1


@pytest.mark.slow
def test_a_first_part_of_one_class_is_made_longer():
    frame = histories.history("stationary", 1, 2000)
    calm = frame.with_columns(y=pl.when(pl.int_range(pl.len()) < 700).then(0).otherwise("y"))
    found = replayed(calm)
    assert found.first_rows > 700
    assert "first part was made longer" in " ".join(found.notes)


def test_rows_without_a_label_or_a_time_are_counted_and_left_out():
    frame = histories.history("stationary", 1, 1000).with_columns(
        y=pl.when(pl.int_range(pl.len()) % 10 == 3).then(None).otherwise("y"),
        at=pl.when(pl.int_range(pl.len()) % 10 == 4).then(None).otherwise(pl.int_range(pl.len())),
    )
    known = cut_up(frame, time="at")
    assert known.rows == 800
    assert known.notes == (
        "100 of 1,000 rows have no y and are left out",
        "100 rows have no at and are left out",
    )


def test_times_that_go_back_are_sorted_and_said():
    frame = histories.history("stationary", 1, 1000).with_columns(at=pl.int_range(pl.len()))
    mixed = pl.concat([frame[500:], frame[:500]])
    known = cut_up(mixed, time="at")
    assert "at goes back 1 times: the rows are sorted by it" in known.notes
    assert known.labels.tolist() == frame["y"].to_list()


@pytest.mark.parametrize(
    ("cut", "error", "words"),
    [
        ({"window": "100"}, DataError, "6 are needed"),
        ({"window": "1d"}, UsageError, "the rows have no dates"),
        ({"delay": "1d"}, UsageError, "the rows have no dates"),
        ({"window": "0"}, UsageError, "holds no row"),
    ],
)
def test_cuts_that_do_not_fit_are_refused(cut, error, words):
    with pytest.raises(error, match=words):
        cut_up(histories.history("stationary", 1, 300), **cut)


def test_windows_or_delays_that_cannot_be_read_are_refused():
    times = pl.datetime_range(pl.datetime(2026, 1, 1), pl.datetime(2026, 1, 2), "1m", eager=True)
    frame = histories.history("stationary", 1, len(times)).with_columns(at=times)
    for cut, words in (
        ({"window": "soon"}, "neither rows nor a length of time"),
        ({"delay": "-3"}, "neither rows nor a length of time"),
        ({"window": "0d"}, "holds nothing"),
    ):
        with pytest.raises(UsageError, match=words) as caught:
            cut_up(frame, time="at", **cut)
        assert "such as 500" in caught.value.hint


def test_a_delay_longer_than_the_first_part_is_refused():
    with pytest.raises(DataError, match="0 labels are known when testing begins"):
        replayed(histories.history("stationary", 1, 1000), cut={"delay": "400"})


def test_a_text_for_a_time_and_a_lone_class_are_refused():
    frame = histories.history("stationary", 1, 300).with_columns(at=pl.lit("now"))
    with pytest.raises(DataError, match="holds String, no times"):
        cut_up(frame, time="at")
    with pytest.raises(DataError, match="only the value 1"):
        cut_up(frame.with_columns(y=pl.lit(1)).drop("at"))
    with pytest.raises(DataError, match="no row has a y"):
        cut_up(frame.with_columns(y=pl.lit(None, pl.Int64)).drop("at"))


def test_unknown_policies_losses_and_estimators_are_refused():
    frame = histories.history("stationary", 1, 600)
    with pytest.raises(UsageError, match="no policy 'hourly'"):
        replayed(frame, policies=("hourly",))
    with pytest.raises(UsageError, match="no policy is named"):
        replayed(frame, policies=())
    with pytest.raises(UsageError, match="has no loss 'mae'"):
        replayed(frame, loss="mae")
    with pytest.raises(NotFoundError, match="did you mean 'linear'"):
        replayed(frame, "linar")


def test_a_file_needs_a_target_and_an_order(tmp_path):
    path = tmp_path / "t.csv"
    histories.history("stationary", 1, 300).with_columns(at=pl.lit("2026-01-01")).write_csv(path)
    with pytest.raises(UsageError, match="needs a target"):
        of_file(path, Wish(), tmp_path)
    with pytest.raises(DataError, match="no time column") as caught:
        of_file(path, Wish(target="y"), tmp_path)
    assert "--time at" in caught.value.hint
    with pytest.raises(UsageError, match="name one"):
        of_file(path, Wish(target="y", time="at", in_order=True), tmp_path)
    with pytest.raises(NotFoundError, match="no file"):
        of_file(tmp_path / "u.csv", Wish(target="y"), tmp_path)


def test_the_picture_is_one_document_with_a_mark_for_each_retraining(sudden):
    from xml.etree import ElementTree

    text = picture.svg(msgspec.structs.replace(sudden, source='<a> & "b"'))
    tree = ElementTree.fromstring(text)
    lines = tree.findall("{http://www.w3.org/2000/svg}polyline")
    marks = [one for one in tree.iter() if one.get("class", "").startswith("mark")]
    assert len(lines) == 5  # four policies and the majority's log loss
    assert len(marks) == sum(len(one.retrains) for one in sudden.policies)
    assert "<style>" in text
    assert "<style>" not in picture.svg(sudden, style=False)


@pytest.mark.slow
@pytest.mark.parametrize("kind", histories.KINDS)
def test_the_right_training_is_recommended_for_nine_of_ten_seeds(kind):
    wanted = "static" if kind in histories.STATIC else "dynamic"
    found = [replayed(histories.history(kind, seed, 6000)).training for seed in range(10)]
    assert found.count(wanted) >= 9


@pytest.mark.slow
def test_electricity_is_drifting_and_its_labels_follow_each_other(real_data, need):
    path = real_data / "electricity.csv"
    need(path.is_file(), "electricity.csv is not there")
    frame = pl.read_csv(path)
    found = replayed(frame, target="class")
    assert (found.training, found.recommends) == ("dynamic", "continuous")
    assert "repeating the last label is better" in found.warnings[0]
    error = {one.name: one.losses["error"].value for one in found.guesses}["no-change"]
    assert error == pytest.approx(0.15, abs=0.02)  # as published: accuracy 85 %


@pytest.mark.slow
def test_decisions_go_by_the_projects_threshold():
    frame = histories.history("stationary", 1, 1500).with_columns(
        y=pl.when(pl.col("y") == 1).then(pl.lit("yes")).otherwise(pl.lit("zero"))
    )
    features = kinds(frame, {"y"})
    template = stock.make("linear", features, "binary")
    errors, drift = {}, {}
    for limit in (0.5, 0.99):
        known = history.build(
            frame, target="y", time="", features=features, cut=Cut(), decide=f"P(yes) >= {limit}"
        )
        found = engine.replay(known, template, Ask(), source="t", target="y", tell=quiet)
        errors[limit] = found.policies[0].losses["error"].value
        drift[limit] = by_name(found)["drift"].retrains
    assert errors[0.5] < 0.3 < errors[0.99] < 0.6
    assert drift == {0.5: [], 0.99: []}


def test_a_training_that_fails_leaves_the_old_model():
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.linear_model import LogisticRegression

    class Picky(ClassifierMixin, BaseEstimator):
        def fit(self, X, y):
            if len(y) < 300:
                raise ValueError("too few for me")
            self.model_ = LogisticRegression().fit(X, y)
            self.classes_ = self.model_.classes_
            return self

        def predict(self, X):
            return self.model_.predict(X)

        def predict_proba(self, X):
            return self.model_.predict_proba(X)

    frame = histories.history("sudden", 1, 2000)
    found = replayed(frame, Picky(), settings=Settings(min_rows=100), policies=("drift",))
    assert any("drift: " in one and "too few for me" in one for one in found.notes)
    assert all(fit.rows >= 375 for fit in by_name(found)["drift"].retrains)


def test_another_loss_that_would_decide_otherwise_is_named():
    known = cut_up(histories.history("stationary", 1, 1000))
    noise = np.random.default_rng(0)
    size = known.rows - known.tested
    sure, wrong = np.ones(size), (noise.random(size) < 0.4).astype(float)
    traces = {
        "never": Trace(losses={"log_loss": sure, "error": wrong}),
        "drift": Trace(
            losses={"log_loss": sure + 0.1, "error": wrong * (noise.random(size) < 0.5)}
        ),
    }
    fits = {"never": 0, "drift": 2}
    told = engine._otherwise(known, traces, fits, "log_loss", "never", 0.95)
    assert len(told) == 1
    assert "by the share of wrong decisions it would be dynamic, drift" in told[0]
    assert "--loss error" in told[0]
    told = engine._otherwise(known, traces, fits, "error", "drift", 0.95)
    assert told == ["by the log loss no policy is surely better than never (1)"]


@pytest.mark.slow
def test_a_model_that_guesses_is_said_to_guess():
    noise = np.random.default_rng(0)
    frame = pl.DataFrame({"x": noise.normal(size=2000), "y": noise.integers(0, 2, 2000)})
    found = replayed(frame)
    assert any("always saying the majority" in one for one in found.warnings)
    assert all("the features tell too little" in one for one in found.warnings)


@pytest.mark.slow
def test_a_change_with_too_few_rows_after_it_is_not_called_none():
    frame = histories.history("sudden", 1, 3000)
    found = replayed(frame, policies=("drift",), settings=Settings(min_rows=2000))
    assert by_name(found)["drift"].retrains == []
    assert "of the 2,000 labelled rows" in by_name(found)["drift"].waits
    assert "--min-rows" in found.unknown[0]
    assert "no change" not in " ".join(found.unknown)
