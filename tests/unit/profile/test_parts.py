"""What profiles count beside cells: distinct levels, fixed scales, text, embeddings, coded columns."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.monitor.judge import judge
from trimtab.profile import cardinality, scales
from trimtab.profile.cells import level_hash
from trimtab.profile.coder import coder
from trimtab.profile.columns import Coded
from trimtab.profile.derived import Projection, TextParts
from trimtab.profile.fit import fit
from trimtab.profile.frames import columns_of
from trimtab.profile.profile import count, encode
from trimtab.profile.reference import fit_reference


def registers(values) -> np.ndarray:
    found = np.zeros(cardinality.REGISTERS, dtype=np.uint8)
    cardinality.note(found, cardinality.marks(level_hash(str(value)) for value in values))
    return found


@pytest.mark.parametrize("size", [0, 1, 10, 500, 3_000, 20_000])
def test_distinct_values_within_three_standard_errors(size):
    found = cardinality.estimate(registers(range(size)))
    assert found == pytest.approx(size, rel=3 * cardinality.ERROR, abs=0.5)


@pytest.mark.slow
def test_the_standard_error_is_as_stated():
    """40 sets of 5,000 values: the relative errors scatter by 3.3 % and centre on 0."""
    errors = [
        cardinality.estimate(registers(range(5_000 * k, 5_000 * (k + 1)))) / 5_000 - 1
        for k in range(40)
    ]
    assert abs(np.mean(errors)) < 2.5 * cardinality.ERROR / math.sqrt(40)
    assert np.std(errors) == pytest.approx(cardinality.ERROR, rel=0.4)


@given(st.sets(st.integers(0, 500)), st.sets(st.integers(0, 500)))
def test_registers_of_a_union_are_the_larger_ones(a, b):
    assert np.array_equal(registers(a | b), np.maximum(registers(a), registers(b)))


def test_latency_quantiles_are_at_most_a_fifth_too_high():
    random = np.random.default_rng(0)
    times = random.lognormal(7, 2, 20_000)
    counts = scales.latency(times)
    assert counts.shape == (scales.LATENCY_CELLS,)
    for share in (0.01, 0.5, 0.9, 0.99, 0.999):
        exact = np.quantile(times, share, method="inverted_cdf")
        assert 1 <= scales.latency_quantile(counts, share) / exact <= 2**0.25
    assert math.isnan(scales.latency_quantile(scales.latency(np.empty(0)), 0.5))
    assert scales.latency_quantile(scales.latency(np.array([1e300])), 0.5) == math.inf
    assert scales.latency(np.array([0, -3, np.nan, 0.5]))[0] == 4
    assert scales.latency(np.array([1.0, 1.18]))[1] == 2


def test_confidence_in_hundredths():
    counts = scales.confidence(np.array([0.5, 0.505, 0.999, 1.0, 0.0, np.nan, 1.5, -0.1]))
    assert (counts[50], counts[99], counts[0], counts[-1]) == (2, 2, 1, 3)
    assert counts.sum() == 8


def test_text_becomes_length_and_class():
    parts = TextParts(column="note")
    column = np.array(
        ["", "  ", "123", "abc!", "\u00e9t\u00e9", "\u4f60\u597d", None, 7], dtype=object
    )
    found = parts.expand(column)
    assert found["note:length"][:6].tolist() == [0, 2, 3, 4, 3, 2]
    assert np.isnan(found["note:length"][6:]).all()
    assert found["note:characters"].tolist() == [
        "empty", "blank", "digits", "ascii", "latin", "other", None, 7,
    ]  # fmt: skip


def test_texts_that_change_language_or_length_drift():
    random = np.random.default_rng(1)

    def notes(rows: int, words: int, letter: str) -> dict[str, np.ndarray]:
        text = [letter * k for k in random.integers(1, words, rows).tolist()]
        return {"note": np.array(text, dtype=object)}

    reference = fit_reference(notes(4_000, 30, "a"), kinds={"note": "text"})
    assert reference.bins.names == ("note:length", "note:characters")

    def drifted(**how) -> set[str]:
        found = judge(reference, [count(reference.bins, notes(1_000, **how))]).findings
        return {each.feature for one in found for each in one.features}

    assert drifted(words=30, letter="a") == set()
    assert drifted(words=20, letter="a") == {"note:length"}
    assert drifted(words=30, letter="\u0436") == {"note:characters"}


@pytest.mark.slow
def test_embeddings_that_move_drift():
    random = np.random.default_rng(2)

    def vectors(rows: int, shift: float = 0.0) -> dict[str, np.ndarray]:
        found = random.normal(size=(rows, 48))
        found[:, :6] += shift
        return {"e": found}

    reference = fit_reference(vectors(4_000), kinds={"e": "embedding"})
    assert judge(reference, [count(reference.bins, vectors(1_000))]).findings == ()
    (finding,) = judge(reference, [count(reference.bins, vectors(1_000, 1.0))]).findings
    assert finding.kind == "data drift"
    assert len(finding.features) >= 20


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 30))
def test_projections_do_not_depend_on_the_split(seed, width, rows):
    random = np.random.default_rng(seed)
    values = random.normal(size=(rows, width)) * 10.0 ** random.integers(-3, 6)
    projection = Projection(column="e", width=width, step=2.0**-25)
    whole = projection.expand(values)
    alone = [projection.expand(values[place : place + 1]) for place in range(rows)]
    for name in projection.names:
        assert whole[name].tolist() == [one[name][0] for one in alone]


def test_projections_keep_lengths_on_average():
    random = np.random.default_rng(3)
    values = random.normal(size=(200, 300))
    found = Projection(column="e", width=300, step=2.0**-20).expand(values)
    squares = np.mean([column**2 for column in found.values()], axis=0)
    assert squares == pytest.approx((values**2).sum(axis=1) / 300, rel=0.6)
    assert found["e:00"][:2] == pytest.approx(found["e:00"][:2])


def test_projections_are_fixed_for_good():
    """Their values are part of the format: they may never change."""
    found = Projection(column="e", width=4, step=2.0**-10).expand(np.eye(4)[:2])
    assert [int(found[f"e:0{j}"][0] * 2) for j in range(8)] == [-1, -1, 1, 1, -1, 1, 1, 1]
    assert [int(found[f"e:0{j}"][1] * 2) for j in range(8)] == [-1, 1, 1, 1, 1, -1, 1, -1]


LEVELS = st.sampled_from(["a", "b", "rare", "new", "newer", None])


@given(st.lists(LEVELS, max_size=40))
def test_coded_columns_count_like_objects(values):
    reference = np.array(["a"] * 5 + ["b"] * 3 + ["rare"] + [None], dtype=object)
    bins = fit({"c": reference, "x": np.arange(10.0)})
    column = np.array(values, dtype=object)
    names = tuple(sorted({value for value in values if value is not None}))
    places = {name: place for place, name in enumerate(names)}
    coded = Coded(names, np.array([places.get(v, -1) for v in values], dtype=np.int32))
    x = np.zeros(len(values))
    assert coded.tolist() == values
    one, other = count(bins, {"c": column, "x": x}), count(bins, {"c": coded, "x": x})
    assert encode(one) == encode(other)
    code = coder(bins.features[0])
    assert code(column).tolist() == code(coded).tolist()


def test_coded_columns_make_the_same_reference():
    column = np.array(["a", "b", "b", None] * 50, dtype=object)
    coded = Coded(("b", "a"), np.array([1, 0, 0, -1] * 50))
    assert fit({"c": column}) == fit({"c": coded})


def test_a_frame_becomes_columns():
    frame = pl.DataFrame(
        {
            "n": [1, None, 3],
            "flag": [True, None, False],
            "text": ["a", None, "b"],
            "day": [None, "2024-01-02", "1969-12-31"],
            "list": [[1.0], None, [2.0]],
        }
    ).with_columns(pl.col("day").str.to_date())
    found = columns_of(frame)
    assert found["n"][[0, 2]].tolist() == [1.0, 3.0]
    assert np.isnan(found["n"][1])
    assert found["flag"][[0, 2]].tolist() == [1.0, 0.0]
    assert found["text"].tolist() == ["a", None, "b"]
    assert found["day"][1:].tolist() == [19_724 * 86_400.0, -86_400.0]
    assert found["list"].tolist() == [[1.0], None, [2.0]]
    assert list(columns_of(frame, ["text"])) == ["text"]
    moments = frame.select(pl.col("day").cast(pl.Datetime("ms", "UTC")))
    assert columns_of(moments)["day"][1:].tolist() == found["day"][1:].tolist()
    empty = columns_of(frame.clear())
    assert {name: len(column) for name, column in empty.items()} == dict.fromkeys(frame.columns, 0)
