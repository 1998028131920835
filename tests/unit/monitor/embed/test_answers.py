"""Answers as servers have them: what `predict` and `predict_proba` give, row by row and at once."""

from __future__ import annotations

import logging
from enum import Enum

import numpy as np
import polars as pl
import pytest

import trimtab
from trimtab.errors import UsageError
from trimtab.monitor.embed import rows as turning
from trimtab.monitor.embed.answers import answers, listed
from trimtab.monitor.embed.rows import DECISION, SCORE, Layout
from trimtab.profile import reference as references

FRUITS = ("apple", "banana", "cherry")


class Fruit(Enum):
    apple = "apple"


class Word(str, Enum):  # noqa: UP042 - its str() is "Word.apple"
    apple = "apple"


def layout_of(classes=(), positive=None, **more):
    return Layout(
        (), (), (), (SCORE, DECISION), classes=classes, positive=positive,
        decide=None if positive is None else lambda one: "yes" if one >= 0.5 else "no", **more,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("classes", "positive", "answer", "score", "decision"),
    [
        (("no", "yes"), 1, np.array([0.2, 0.8]), 0.8, "yes"),
        (("no", "yes"), 1, [0.8, 0.2], 0.2, "no"),
        (("yes", "no"), 0, np.array([[0.8, 0.2]]), 0.8, "yes"),
        (("no", "yes"), 1, np.array([0.8]), 0.8, "yes"),
        (("0", "1"), 1, np.int64(0), None, "0"),
        (("0", "1"), 1, np.array([0]), None, "0"),
        (("False", "True"), 1, np.bool_(True), None, "True"),
        (("False", "True"), 1, np.array([True]), None, "True"),
        (("0", "1", "2"), None, 2, None, "2"),
        (("0", "1", "2"), None, [0.1, 0.7, 0.2], 0.7, "1"),
        (FRUITS, None, np.array([[0.1, 0.2, 0.7]]), 0.7, "cherry"),
        (FRUITS, None, ([0.1, 0.2, 0.7], "apple"), 0.7, "apple"),
        (FRUITS, None, (np.array([0.1, 0.2, 0.7]), None), 0.7, "cherry"),
        (FRUITS, None, (0.7, np.array(["banana"])), 0.7, "banana"),
        (FRUITS, None, np.array(["banana"]), None, "banana"),
        (FRUITS, None, np.array("banana"), None, "banana"),
        (FRUITS, None, ["banana"], None, "banana"),
        (FRUITS, None, (0.7, Fruit.apple), 0.7, "apple"),
        (FRUITS, None, Fruit.apple, None, "apple"),
        (FRUITS, None, Word.apple, None, "apple"),
        (FRUITS, None, (0.7, Word.apple), 0.7, "apple"),
        (FRUITS, None, 0.7, 0.7, None),
        ((), None, 2, 2.0, None),
        ((), None, [0.1, 0.7, 0.2], 0.7, None),
    ],
    ids=[
        "array", "list", "2-d", "one score", "whole", "one whole", "truth", "one truth", "class",
        "scores", "proba", "its own decision", "no decision", "arrays", "predict", "0-d", "list of one",
"a pair with an enum", "an enum", "a word of an enum", "a pair with such",
        "highest alone", "regression", "nobody knows",
    ],
)  # fmt: skip
def test_an_answer_means_what_the_model_says(classes, positive, answer, score, decision):
    found = answers(layout_of(classes, positive), [answer])
    assert found[SCORE].tolist() == [score]
    assert found[DECISION].tolist() == [decision]


@pytest.mark.parametrize("scores", [[np.nan] * 3, [np.nan, 0.7, 0.3]], ids=["all", "one"])
def test_scores_that_are_no_numbers_decide_nothing(scores):
    found = answers(layout_of(FRUITS), [np.array(scores)])
    assert np.isnan(found[SCORE].tolist()).all()
    assert found[DECISION].tolist() == [None]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ([0.4, 0.6], "2 numbers are no answer, which is one score, or those of 3 classes"),
        (np.ones(4), "4 numbers are no answer"),
        (np.array([]), "an answer is a score"),
        (("apple", [0.2, 0.3, 0.5]), "'apple' is no score; an answer is a score"),
        ({"apple": 0.4}, "is no score; an answer is a score, a decision or a tuple"),
        (b"apple", "b'apple' is no score"),
        ((0.2, 0.3, 0.5), "3 parts"),
    ],
    ids=["short", "long", "empty", "turned around", "mapping", "bytes", "three"],
)
def test_what_is_no_answer_is_said_in_words(answer, said):
    with pytest.raises(ValueError, match=said):
        answers(layout_of(FRUITS), [answer])


def test_an_enum_in_a_row_is_what_it_stands_for():
    """As `model_dump` of a request leaves it."""
    table = {"fruit": ["apple", "pear"] * 50, "x": np.arange(100.0)}
    with trimtab.Monitor.against(table) as monitor:
        for number in range(100):
            monitor.log({"fruit": Fruit.apple if number % 2 else "pear", "x": float(number)}, 0.5)
        monitor.log({"fruit": [Fruit.apple, "pear"] * 50, "x": np.arange(100.0)})
        monitor.log({"fruit": Fruit.apple, "x": None}, 0.5)
        assert monitor.rows == 201
        (counted,) = monitor._counted.windows.values()
        cells = monitor._reference.bins.feature("fruit")
        place = monitor._reference.bins.spans()["fruit"].start
        assert counted.counts[place + cells.levels.index("apple")] == 101
        assert counted.counts[place + cells.levels.index("pear")] == 100


def test_a_regression_answers_one_number_and_a_text_is_one_of_a_wrong_type():
    layout = Layout((), (), (), (SCORE,), is_number=True)
    given = [5, [5.0], np.array([[5.0]]), "5.0", None]
    assert answers(layout, given)[SCORE].tolist() == [5.0, 5.0, 5.0, "5.0", None]
    with pytest.raises(ValueError, match="2 numbers are no answer, which is one number"):
        answers(layout, [[4.0, 6.0]])


def test_a_frame_of_scores_is_taken_row_by_row():
    scores = np.array([[0.1, 0.2, 0.7], [0.5, 0.3, 0.2], [0.2, 0.6, 0.2]])
    given = listed(pl.DataFrame(scores, schema=list(FRUITS)))
    found = answers(layout_of(FRUITS), given)
    assert found[DECISION].tolist() == ["cherry", "apple", "banana"]


def test_one_answer_of_many_that_cannot_be_read_takes_no_other_with_it(caplog):
    reference = references.fit_reference({"x": np.arange(100.0), SCORE: np.linspace(0, 1, 100)})
    monitor = trimtab.Monitor.__new__(trimtab.Monitor)
    layout = turning.layout_of(reference)
    monitor._begin(turning.Subject(reference=reference, layout=layout), "1d", 10.0, 20_000)
    with monitor, caplog.at_level(logging.WARNING, "trimtab.monitor"):
        given = [0.5] * 7 + [(1, 2, 3)] + [1.0] * 2
        monitor.log({"x": np.arange(10.0)}, given)
        assert (monitor.rows, monitor.dropped) == (9, 1)
        (counted,) = monitor._counted.windows.values()
        assert counted.low[0] == 0.0
        assert counted.high[0] == 9.0
        monitor.log({"x": np.arange(2.0)}, [{}, {}])
        assert (monitor.rows, monitor.dropped) == (9, 3)
        with pytest.raises(UsageError, match="2 predictions for 10 rows") as refused:
            monitor.log({"x": np.arange(10.0)}, (np.ones(10), ["a"] * 10))
        assert "zip(scores, decisions)" in refused.value.hint
    assert "1 rows could not be read and were dropped: an answer of 3 parts" in caplog.text


def test_the_answers_of_columns_may_be_a_tuple_and_a_list_in_a_row_is_a_wrong_type():
    with trimtab.Monitor.against({"x": np.arange(100.0), "y": np.arange(100.0)}) as monitor:
        monitor.log({"x": np.arange(10.0), "y": [1.0] * 10}, tuple([0.5] * 10))
        assert (monitor.rows, monitor.dropped) == (10, 0)
        monitor.log({"x": [1.0, 2.0], "y": 1.0}, (0.5, "yes"))
        assert (monitor.rows, monitor.dropped) == (11, 0)
        with pytest.raises(UsageError, match="2 predictions for 10 rows"):
            monitor.log({"x": np.arange(10.0), "y": np.arange(10.0)}, (np.ones(10), ["a"] * 10))
