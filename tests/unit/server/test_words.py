import math

import pytest

from trimtab import ids
from trimtab.server import words
from trimtab.store.records import Run


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (True, "yes"),
        (12_345, "12,345"),
        (0.123456, "0.1235"),
        (1234.5, "1234"),
        (123_456.7, "123,457"),
        (3.0, "3"),
        (1e-7, "1e-07"),
        (math.inf, "∞"),
        (-math.inf, "-∞"),
        (math.nan, "not a number"),
        (9_999.7, "10,000"),
    ],
)
def test_numbers(value, text):
    assert words.number(value) == text


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (0, "0 ms"),
        (12_000, "12 ms"),
        (1_500_000, "1.5 s"),
        (59_000_000, "59 s"),
        (130_000_000, "2 min"),
        (7_300_000_000, "2 h"),
        (3 * 86_400_000_000, "3 d"),
    ],
)
def test_spans(micros, text):
    assert words.span(micros) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (412_000_000, "412 MB")]
)
def test_sizes(count, text):
    assert words.size(count) == text


def test_moments():
    assert words.moment(0) == words.ago(0) == "–"
    assert words.moment(1_000_000) == "1970-01-01 00:00:01"
    assert words.ago(1_000_000, now=61_000_000) == "60 s ago"


def test_the_short_form_of_an_id_still_tells_it_apart():
    one, other = ids.new_id(), ids.new_id()
    assert words.short(one) != words.short(other)
    assert one.startswith(words.short(one))
    assert words.short("blake3:" + "ab" * 32) == "ab" * 6
    assert words.short("loans@v1") == "loans@v1"


def test_cells_hold_anything_on_one_line():
    assert words.cell({"depth": 4, "names": ["a", None]}) == "depth 4, names a, –"
    assert words.cell({}) == words.cell([]) == words.cell(None) == "–"


@pytest.mark.parametrize(
    ("cause", "parent", "text"),
    [
        ({}, "", "by hand"),
        ({}, "1", "–"),
        ({"kind": "manual"}, "", "by hand"),
        ({"kind": "retrain", "rows": 3}, "", "retrain: rows 3"),
        ({"reason": "never run"}, "1", "never run"),
    ],
)
def test_causes(cause, parent, text):
    run = Run(id="1", kind="flow", name="train", cause=cause, parent=parent)
    assert words.cause(run) == text


def test_a_run_that_has_not_begun_took_no_time():
    assert words.took(Run(id="1", kind="flow", name="train")) == "–"
    assert words.took(Run(id="1", kind="flow", name="t", started_at=5, ended_at=40_005)) == "40 ms"


def test_where_a_model_came_from():
    assert words.origin({"engine": "onnx"}) == ""
    found = {"model": "loans", "version": "3", "flavor": "onnx"}
    assert words.origin({"origin": found}) == "MLflow's loans 3, onnx"
