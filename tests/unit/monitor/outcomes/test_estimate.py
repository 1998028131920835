from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from trimtab.errors import DataError, ModelError
from trimtab.loop.candidate import teaching
from trimtab.model.signature import Signature
from trimtab.monitor import basis
from trimtab.monitor.drift import coarse
from trimtab.monitor.findings import FeatureFinding, Finding
from trimtab.monitor.log import traffic
from trimtab.monitor.outcomes import estimate, loss, weights
from trimtab.monitor.outcomes.estimate import Asked
from trimtab.profile.reference import fit_reference
from trimtab.tune import losses

GOLDEN = Path(__file__).parents[3] / "golden" / "monitor-basis-v1.json"
BINARY = Signature(
    task="binary", engine="onnx", inputs=(), classes=("no", "yes"), positive="yes", threshold=0.5
)
MANY = Signature(task="multiclass", engine="onnx", inputs=(), classes=("a", "b", "c"))
VALUE = Signature(task="regression", engine="onnx", inputs=())
MOVED = Finding(
    kind="data drift",
    severity="alarm",
    features=(
        FeatureFinding(
            feature="place", statistic="chi_square", p=1e-9, effect=0.2, lo=0.1, hi=0.3,
            unit="share", note="moved",
        ),
    ),
    since=0,
    text="",
)  # fmt: skip


def sigmoid(odds):
    return 1 / (1 + np.exp(-odds))


def world(noise, rows, share=0.5, far=0.0):
    """A model that is right at place b and too sure at place a; `share` of the rows are at a."""
    x = noise.normal(size=rows) * 1.5 + far
    place = np.where(noise.random(rows) < share, "a", "b").astype(object)
    score = sigmoid(x)
    truth = noise.random(rows) < sigmoid(np.where(place == "a", 0.3, 1.0) * x)
    return {"x": x, "place": place}, score, truth


def fitted(signed, columns, score, decision, truth, **how):
    table = columns | traffic.outputs(score, decision, signed)
    known = fit_reference(table)
    return known, basis.fit(signed, known, table, score, decision, truth, **how)


def said(flags):
    return np.where(flags, "yes", "no").tolist()


def binary(noise, rows=6_000):
    columns, score, truth = world(noise, rows, 0.2)
    return fitted(BINARY, columns, score, said(score >= 0.5), said(truth))


def asked(known, found, columns, score, signed=BINARY, decision=None):
    decision = said(score >= 0.5) if decision is None else decision
    table = columns | traffic.outputs(score, decision, signed)
    groups = coarse.table(found.coarse, known.bins, table)
    return Asked(score=score, decided=score >= 0.5, groups=groups)


def test_weights_mend_what_one_curve_cannot():
    noise = np.random.default_rng(0)
    known, found = binary(noise)
    columns, score, truth = world(noise, 3_000, 0.8)
    rows = asked(known, found, columns, score)
    plain = estimate.estimate(found, "binary", rows)
    better = estimate.estimate(found, "binary", rows, [MOVED])
    right = np.mean((score >= 0.5) == truth)
    errors = [abs(one.estimates[0].value - right) for one in (plain, better)]
    assert [one.estimates[0].method for one in (plain, better)] == ["cbpe", "cbpe-weighted"]
    assert errors[1] < errors[0] / 2
    assert 0.1 < better.effective < 0.9
    assert better.estimates[0].lo <= right <= better.estimates[0].hi


def test_rows_a_little_outside_count_as_those_beside_them():
    """A group of their own would have no withheld row, and would pull weights away from the run beside it."""
    noise = np.random.default_rng(0)
    known, found = binary(noise)
    columns, score, _ = world(noise, 3_000, 0.8)
    least, most = known.bins.feature("x").low, known.bins.feature("x").high
    beside, outside = columns["x"].copy(), columns["x"].copy()
    top, low = np.argsort(columns["x"])[-60:], np.argsort(columns["x"])[:60]
    beside[top], beside[low] = most, least
    outside[top], outside[low] = most + 0.1, least - 0.1
    outside[top[0]], outside[low[0]] = np.inf, -np.inf
    said_of = [
        estimate.estimate(found, "binary", asked(known, found, columns | {"x": x}, score), [MOVED])
        for x in (beside, outside)
    ]
    assert [one.reason for one in said_of] == ["", ""]
    assert said_of[0].estimates[0].value == said_of[1].estimates[0].value
    assert ["where no withheld row" in one.untrusted for one in said_of] == [False, True]


def test_only_what_lies_outside_of_a_number_is_counted_to_the_run_beside_it():
    columns = {"x": np.arange(100.0), "place": np.array(["a", "b"] * 50, dtype=object)}
    bins = fit_reference(columns).bins
    groups = coarse.fit(bins, columns)
    odd = [-np.inf, -1e9, -1.0, 0.0, 99.0, 100.0, 1e9, np.inf, np.nan]
    place = np.array(["a", "b", "new", None, "a", "b", "new", None, "a"], dtype=object)
    found = coarse.table(groups, bins, {"x": np.array(odd), "place": place})
    near = coarse.within(groups, found)
    numbers = [one.feature for one in groups].index("x")
    assert len(set(found[:, numbers].tolist())) == 9
    assert near[:4, numbers].tolist() == [found[3, numbers]] * 4
    assert near[4:8, numbers].tolist() == [found[4, numbers]] * 4
    assert near[8, numbers] == found[8, numbers]
    assert np.array_equal(near[:, 1 - numbers], found[:, 1 - numbers])


@pytest.mark.slow
def test_a_small_share_of_many_withheld_rows_is_enough():
    noise = np.random.default_rng(5)
    columns, score, truth = world(noise, 30_000, 0.05)
    known, found = fitted(BINARY, columns, score, said(score >= 0.5), said(truth))
    columns, score, truth = world(noise, 3_000, 0.98)
    result = estimate.estimate(found, "binary", asked(known, found, columns, score), [MOVED])
    assert result.effective < weights.LEAST_EFFECTIVE
    assert result.effective * 30_000 >= weights.ENOUGH_ROWS
    assert {one.method for one in result.estimates} == {estimate.WEIGHTED}
    assert result.estimates[0].value == pytest.approx(np.mean((score >= 0.5) == truth), abs=0.03)


def test_where_support_moves_weights_are_not_used_and_that_is_said():
    noise = np.random.default_rng(1)
    known, found = binary(noise)
    columns, score, _ = world(noise, 3_000, 0.2, far=6.0)
    result = estimate.estimate(found, "binary", asked(known, found, columns, score), [MOVED])
    assert {one.method for one in result.estimates} == {"cbpe"}
    assert "weights" in result.reason
    assert "data drift in place" in result.untrusted
    assert all(one.untrusted for one in result.estimates)


def test_an_estimate_is_trusted_while_nothing_moved():
    noise = np.random.default_rng(2)
    known, found = binary(noise)
    columns, score, _ = world(noise, 1_000, 0.2)
    result = estimate.estimate(found, "binary", asked(known, found, columns, score))
    assert result.untrusted == ""
    assert [one.metric for one in result.estimates] == [
        "accuracy", "roc_auc", "average_precision", "f1", "precision", "recall",
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("moved", [False, True])
def test_intervals_cover_what_labels_show(moved):
    hits = {"accuracy": 0, "roc_auc": 0, "f1": 0}
    for seed in range(40):
        noise = np.random.default_rng([seed, 11])
        known, found = binary(noise, 4_000)
        columns, score, truth = world(noise, 600, 0.6 if moved else 0.2)
        rows = asked(known, found, columns, score)
        result = estimate.estimate(found, "binary", rows, [MOVED] if moved else [])
        realised = {
            "accuracy": np.mean((score >= 0.5) == truth),
            "roc_auc": roc_auc_score(truth, score),
            "f1": f1_score(truth, score >= 0.5),
        }
        for one in result.estimates:
            if one.metric in hits:
                hits[one.metric] += one.lo <= realised[one.metric] <= one.hi
    assert min(hits.values()) >= 32, hits


@pytest.mark.slow
def test_several_classes_are_estimated_and_covered():
    hits = 0
    for seed in range(30):
        noise = np.random.default_rng([seed, 12])

        def rows(count, noise=noise):
            lean = noise.normal(size=(count, 3))
            score = np.exp(1.5 * lean)
            score /= score.sum(axis=1, keepdims=True)
            true = np.exp(lean)
            true /= true.sum(axis=1, keepdims=True)
            pick = (noise.random((count, 1)) > true.cumsum(axis=1)).sum(axis=1).clip(0, 2)
            return {"x": lean[:, 0]}, score, pick

        columns, score, truth = rows(3_000)
        names = np.array(["a", "b", "c"], dtype=object)
        decision = names[score.argmax(axis=1)].tolist()
        _, found = fitted(MANY, columns, score, decision, names[truth].tolist())
        _, score, truth = rows(500)
        new = Asked(score=score, decided=score.argmax(axis=1), groups=None)
        result = estimate.estimate(found, "multiclass", new)
        value = result.estimates[0]
        hits += value.lo <= np.mean(score.argmax(axis=1) == truth) <= value.hi
        assert {one.metric for one in result.estimates} >= {"roc_auc_ovr", "macro_f1"}
    assert hits >= 26


def regression(noise, rows, wide=0.3):
    """Errors are three times as large at place a; `wide` of the rows are there."""
    place = np.where(noise.random(rows) < wide, "a", "b").astype(object)
    x = noise.normal(size=rows)
    truth = x + noise.normal(size=rows) * np.where(place == "a", 3.0, 1.0)
    return {"x": x, "place": place}, x, truth


@pytest.mark.slow
def test_the_error_of_a_regression_follows_the_inputs():
    hits = {"mae": 0, "rmse": 0}
    for seed in range(8):
        noise = np.random.default_rng([seed, 13])
        columns, score, truth = regression(noise, 1_500)
        known, found = fitted(
            VALUE, columns, score, score.tolist(), truth.tolist(), teach=teaching.trees
        )
        columns, score, truth = regression(noise, 600, wide=0.8)
        rows = asked(known, found, columns, score, VALUE, score.tolist())
        result = estimate.estimate(found, "regression", rows)
        errors = np.abs(truth - score)
        realised = {"mae": errors.mean(), "rmse": (errors**2).mean() ** 0.5}
        for one in result.estimates:
            hits[one.metric] += one.lo <= realised[one.metric] <= one.hi
            assert "blind to concept drift" in one.note
            assert one.method == "dle"
        calm = np.abs(found.limit)
        assert realised["mae"] > 1.5 > calm / 2
    assert min(hits.values()) >= 6, hits


def uneven(noise, rows, far=0.0, wide=1.0):
    """Errors grow with x; `far` and `wide` move x."""
    x = noise.normal(size=rows) * wide + far
    return {"x": x, "z": noise.normal(size=rows)}, x, x + noise.normal(size=rows) * np.exp(0.6 * x)


@pytest.fixture(scope="module")
def taught():
    """Models of rows whose errors grow with x, each from withheld rows of its own."""
    found = []
    for seed in range(5):
        columns, score, truth = uneven(np.random.default_rng([seed, 23]), 3_000)
        found.append(
            fitted(VALUE, columns, score, score.tolist(), truth.tolist(), teach=teaching.trees)
        )
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("far", "method", "least"),
    [(0.0, "dle", 0.78), (-0.8, "dle-weighted", 0.9), (1.5, "dle", 0.75)],
)
def test_intervals_of_a_regressions_error_cover_what_labels_show(taught, far, method, least):
    """Inside of the withheld rows' range; at 1.5 weights cannot carry it, so intervals widen."""
    held = {"mae": [], "rmse": []}
    for seed in range(50):
        noise = np.random.default_rng([seed, 24])
        known, found = taught[seed % len(taught)]
        columns, score, truth = uneven(noise, 2_000, far, 0.6 if far else 1.0)
        rows = asked(known, found, columns, score, VALUE, score.tolist())
        moved = [MOVED] if far else []
        errors = np.abs(truth - score)
        realised = {"mae": errors.mean(), "rmse": (errors**2).mean() ** 0.5}
        result = estimate.estimate(found, "regression", rows, moved)
        for one in result.estimates:
            held[one.metric].append(one.lo <= realised[one.metric] <= one.hi)
            assert one.method == method
            assert bool(one.untrusted) == bool(far)
        assert bool(result.reason) == (far == 1.5)
    assert min(np.mean(one) for one in held.values()) >= least, held


@pytest.mark.slow
@pytest.mark.parametrize("far", [5.0, -6.0, 40.0])
def test_outside_of_what_withheld_rows_showed_an_error_is_not_trusted(taught, far):
    """Nothing was found yet, as in a window too small to tell: the estimate alone must say it."""
    known, found = taught[0]
    columns, score, _ = uneven(np.random.default_rng(1), 300)
    calm = asked(known, found, columns, score, VALUE, score.tolist())
    assert estimate.estimate(found, "regression", calm).untrusted == ""
    columns["x"][:60] += far
    columns["x"][60:] = columns["x"][60:].clip(-1, 1)
    rows = asked(known, found, columns, columns["x"], VALUE, score.tolist())
    result = estimate.estimate(found, "regression", rows)
    assert "of rows lie where no withheld row was" in result.untrusted
    assert all(one.untrusted == result.untrusted for one in result.estimates)


@pytest.mark.slow
def test_an_older_package_of_a_regression_is_estimated_without_weights(taught):
    known, found = taught[0]
    losses = {k: msgspec.structs.replace(one, rest=b"") for k, one in found.losses.items()}
    older = msgspec.structs.replace(found, sample=None, losses=losses)
    columns, score, _ = uneven(np.random.default_rng(2), 1_000, -0.8, 0.6)
    rows = asked(known, found, columns, score, VALUE, score.tolist())
    for one in estimate.estimate(older, "regression", rows, [MOVED]).estimates:
        assert one.method == "dle"
        assert one.lo < one.value < one.hi


@pytest.mark.slow
def test_trees_walk_as_scikit_learns_do():
    noise = np.random.default_rng(0)
    groups = noise.integers(0, 30, (400, 3)).astype(np.uint8)
    size = groups[:, 0] / 10 + noise.random(400)
    made = losses._boosted(groups, size, 0)
    walked = loss.predict(teaching.trees(groups, size), groups)
    # `fit` shuffles rows before it fits, so only the trees of the same rows are the same
    flat = losses._flat(made, size, 0.1, size)
    trees = msgspec.structs.replace(
        teaching.trees(groups, size), start=flat.start, roots=tuple(flat.roots),
        feature=flat.feature.tobytes(), cut=flat.cut.tobytes(), left=flat.left.tobytes(),
        right=flat.right.tobytes(), value=flat.value.tobytes(),
    )  # fmt: skip
    assert loss.predict(trees, groups) == pytest.approx(made.predict(groups), abs=1e-5)
    assert np.corrcoef(walked, size)[0, 1] > 0.9


@pytest.mark.slow
def test_one_absurd_truth_does_not_spoil_the_trees():
    noise = np.random.default_rng(9)
    columns, score, truth = regression(noise, 600)
    truth[0] = 1e308
    known, found = fitted(
        VALUE, columns, score, score.tolist(), truth.tolist(), teach=teaching.trees
    )
    rows = asked(known, found, columns, score, VALUE, score.tolist())
    values = {one.metric: one for one in estimate.estimate(found, "regression", rows).estimates}
    assert all(np.isfinite([one.value, one.lo, one.hi]).all() for one in values.values())
    assert values["mae"].value < 100 * np.abs(truth - score)[1:].mean()


def test_few_rows_teach_the_mean_alone():
    trees = teaching.trees(np.zeros((5, 2), np.uint8), np.arange(5.0))
    assert loss.predict(trees, np.zeros((3, 2), np.uint8)).tolist() == [2.0, 2.0, 2.0]
    with pytest.raises(DataError, match="no row"):
        loss.estimate("mae", trees, np.zeros((0, 2), np.uint8))


def test_equal_distributions_have_equal_weights_and_disjoint_ones_none():
    noise = np.random.default_rng(0)
    old = noise.integers(0, 10, (4_000, 4)).astype(np.uint8)
    same = noise.integers(0, 10, (2_000, 4)).astype(np.uint8)
    found = weights.weights(old, same)
    assert weights.effective(found) > 0.9
    assert weights.imbalance(old, same, found) < 0.02
    other = np.full((2_000, 4), 12, dtype=np.uint8)
    found = weights.weights(old, other)
    assert weights.effective(found) < 0.1 or weights.imbalance(old, other, found) > 0.5
    assert weights.unsupported(old, other) == 1.0
    assert weights.effective(np.zeros(3)) == 0.0


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_hardly_any_rows_break_nothing(rows):
    noise = np.random.default_rng(3)
    known, found = binary(noise, 400)
    columns, score, _ = world(noise, rows)
    result = estimate.estimate(found, "binary", asked(known, found, columns, score), [MOVED])
    assert bool(result.estimates) == bool(rows)
    assert all(0 <= one.lo <= one.hi <= 1 for one in result.estimates)


def test_scores_that_are_no_probabilities_are_not_estimated():
    noise = np.random.default_rng(4)
    columns, score, truth = world(noise, 500)
    _, found = fitted(BINARY, columns, score * 9 - 4, said(score >= 0.5), said(truth))
    rows = Asked(score=score, decided=score >= 0.5, groups=None)
    assert "no probabilities" in estimate.estimate(found, "binary", rows).reason


def test_what_is_private_is_not_coded():
    noise = np.random.default_rng(5)
    columns, score, truth = world(noise, 500)
    table = columns | traffic.outputs(score, said(score >= 0.5), BINARY)
    found = basis.fit(
        BINARY, fit_reference(table), table, score, said(score >= 0.5), said(truth),
        private={"place"},
    )  # fmt: skip
    assert [one.feature for one in found.coarse] == ["x", traffic.SCORE]


def test_a_basis_of_the_first_format_is_read_and_estimates_nothing():
    found = basis.decode(GOLDEN.read_bytes())
    assert (found.format, found.known, found.sample) == (1, (), None)
    assert found.calibration.total == 600
    rows = Asked(score=np.array([0.5]), decided=np.array([True]), groups=None)
    assert estimate.estimate(found, "binary", rows).estimates == ()


def test_a_basis_of_this_format_is_read_as_it_was_written():
    found = basis.decode((GOLDEN.parent / "monitor-basis-v2.json").read_bytes())
    groups, score, truth = found.sample.open()
    assert groups.shape == (200, 2) and score.shape == truth.shape == (200,)
    rows = Asked(score=score, decided=score >= 0.5, groups=groups)
    value = estimate.estimate(found, "binary", rows).estimates[0]
    assert (value.metric, round(value.value, 6)) == ("accuracy", 0.719545)


def test_a_basis_comes_back_and_a_newer_one_is_refused():
    noise = np.random.default_rng(6)
    _, found = binary(noise, 400)
    data = basis.encode(found)
    assert basis.decode(data) == found
    with pytest.raises(ModelError, match="format 3"):
        basis.decode(data.replace(b'"format":2', b'"format":3'))
    with pytest.raises(ModelError, match="cannot be read"):
        basis.decode(b"{")


def test_several_classes_are_weighted_too():
    """At place a every answer is a guess: where most rows are there, weights know."""
    noise = np.random.default_rng(8)
    names = np.array(["a", "b", "c"], dtype=object)

    def rows(count, share):
        place = np.where(noise.random(count) < share, "a", "b").astype(object)
        lean = 2 * noise.normal(size=(count, 3))
        score = np.exp(lean) / np.exp(lean).sum(axis=1, keepdims=True)
        true = np.where((place == "a")[:, None], 1 / 3, score)
        pick = (noise.random((count, 1)) > true.cumsum(axis=1)).sum(axis=1).clip(0, 2)
        return {"place": place}, score, pick

    columns, score, truth = rows(6_000, 0.2)
    decision = names[score.argmax(axis=1)].tolist()
    known, found = fitted(MANY, columns, score, decision, names[truth].tolist())
    columns, score, truth = rows(2_000, 0.8)
    decided = score.argmax(axis=1)
    table = columns | traffic.outputs(score, names[decided].tolist(), MANY)
    new = Asked(score=score, decided=decided, groups=coarse.table(found.coarse, known.bins, table))
    right = np.mean(decided == truth)
    plain = estimate.estimate(found, "multiclass", new)
    better = estimate.estimate(found, "multiclass", new, [MOVED])
    assert {one.method for one in better.estimates} == {"cbpe-weighted"}
    assert better.estimates[0].lo <= right <= better.estimates[0].hi
    assert plain.estimates[0].lo > right
