"""The filter grammar, its predicates and the orders."""

from __future__ import annotations

import math
import random
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.interop.mlflow import filters, ordering
from trimtab.interop.mlflow.fault import Fault
from trimtab.interop.mlflow.state import Experiment, Registered, TrackedRun
from trimtab.interop.mlflow.table import BoardTable
from trimtab.interop.mlflow.wire import Asked
from trimtab.track.search import evaluate, order
from trimtab.track.search.pattern import like
from trimtab.track.search.table import newest


def run(name="r", start=0, **fields):
    metrics = {key: (value, 0, 0) for key, value in fields.pop("metrics", {}).items()}
    return TrackedRun(
        id=name.encode().hex().zfill(32)[-32:], experiment=1, name=name, user="me", start=start,
        location="mlflow-artifacts:/1/x/artifacts", metrics=metrics, **fields,
    )  # fmt: skip


ONE = run(
    "one",
    start=100,
    metrics={"loss": 0.5, "a b": 3.0, "odd": math.nan, "high": math.inf},
    params={"model": "Tree", "größe": "x"},
    tags={"team": "red", "mlflow.source.name": "f.py"},
    inputs=[
        {
            "dataset": {"name": "loans", "digest": "d"},
            "tags": [{"key": "mlflow.data.context", "value": "train"}],
        }
    ],
)


def keeps(text, one):
    node = filters.runs(text)
    return node is None or bool(evaluate.keep(BoardTable([one]), node, 0)[0])


def ordered(asked, found):
    table = BoardTable(sorted(found, key=newest))
    places = order.places(table, ordering.runs(asked), np.ones(len(table), dtype=np.bool_))
    return [table.records[row] for row in places]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "metrics.loss = 0.5",
        "metric.loss>=.5",
        "metrics.loss < 1e0 AND metrics.loss > -1",
        "metrics.`a b` = 3",
        'metrics."a b" != 4',
        "metrics.high > 1e300",
        "metrics.odd != 5",
        "params.model LIKE 'T%'",
        "params.model like '_ree'",
        "params.model ILIKE '%E'",
        'parameters.model = "Tree"',
        "params.größe = 'x'",
        "params.none IS NULL",
        "params.model IS NOT NULL and tags.team = 'red'",
        "tags.mlflow.source.name = 'f.py'",
        "tags.`mlflow.source.name` LIKE '%.py'",
        "attributes.start_time = 100",
        "created > 99.5",
        "run_name = 'one'",
        "status = 'RUNNING'",
        "user_id != 'you'",
        "dataset.name = 'loans'",
        "dataset.digest IN ('c', 'd')",
        "dataset.context = 'train'",
    ],
)
def test_filters_that_keep_a_run(text):
    assert keeps(text, ONE)


@pytest.mark.parametrize(
    "text",
    [
        "metrics.loss > 0.5",
        "metrics.none != 1",
        "metrics.odd = 0",
        "metrics.odd > -1",
        "params.model LIKE 't%'",
        "params.model != 'Tree'",
        "params.none != 'x'",
        "tags.none LIKE '%'",
        "params.model IS NULL",
        "run_id NOT IN ('" + ONE.id + "')",
        "end_time < 5",
        "dataset.name LIKE 'x%'",
    ],
)
def test_filters_that_leave_it_out(text):
    assert not keeps(text, ONE)


@pytest.mark.parametrize(
    "text",
    [
        "metrics.loss",
        "metrics.loss >",
        "metrics.loss > 'x'",
        "metrics.loss LIKE 'x'",
        "metrics.loss > 1 OR metrics.loss < 1",
        "(metrics.loss > 1)",
        "metrics.loss > 1 AND",
        "AND metrics.loss > 1",
        "params.model = tree",
        "params.model = 5",
        "params.model > 'x'",
        "params.model = 'x",
        "params.model IN ('x')",
        "status IN ('x')",
        "run_id IN ()",
        "run_id IN ('a' 'b')",
        "nonsense.x = 'y'",
        "nonsense = 'y'",
        "status IS NULL",
        "dataset.size = 'x'",
        "; DROP TABLE runs",
        "metrics.loss > 1; metrics.loss > 2",
        "\0",
        "a" * 20_001,
    ],
)
def test_what_is_no_filter(text):
    with pytest.raises(Fault) as refused:
        filters.runs(text)
    assert refused.value.status == 400


@given(st.text(max_size=80))
def test_any_text_is_a_filter_or_a_fault(text):
    try:
        found = keeps(text, ONE)
    except Fault:
        return
    assert found in {True, False}


@given(
    st.lists(st.sampled_from(["%", "_", "a", "b", ".", "\n", "A"]), max_size=8),
    st.text("abA.\n", max_size=10),
    st.booleans(),
)
def test_like_is_sqls(pattern, value, exact):
    text = "".join(pattern)
    source = "".join({"%": ".*", "_": "."}.get(mark, re.escape(mark)) for mark in pattern)
    flags = re.DOTALL | (0 if exact else re.IGNORECASE)
    expected = re.fullmatch(source, value, flags) is not None
    assert like(text, is_case_sensitive=exact)(value) == expected


def test_a_pattern_of_many_stars_is_quick():
    assert not like("%a" * 500 + "b", is_case_sensitive=True)("a" * 8000)


def test_numbers_come_before_nan_and_nan_before_what_is_missing():
    values = {"a": 2.0, "b": math.nan, "c": None, "d": 1.0, "e": math.inf, "f": -math.inf}
    many = [
        run(name, metrics={} if value is None else {"m": value}) for name, value in values.items()
    ]
    random.Random(3).shuffle(many)
    up = [one.name for one in ordered(["metrics.m"], many)]
    down = [one.name for one in ordered(["metrics.m DESC"], many)]
    assert up == ["f", "d", "a", "e", "b", "c"]
    assert down == ["e", "a", "d", "f", "b", "c"]


def test_ties_go_to_the_newest_and_then_by_id():
    many = [run(name, start=start) for name, start in (("a", 5), ("b", 9), ("c", 9), ("d", 1))]
    found = ordered(["metrics.none"], many)
    assert [one.start for one in found] == [9, 9, 5, 1]
    assert found[0].id < found[1].id
    assert ordered(["start_time asc"], many)[0].name == "d"


@pytest.mark.parametrize(
    "asked",
    [["metrics.m", "metrics.m DESC"], ["nonsense"], [""], ["metrics.m UP"], ["dataset.name"]],
)
def test_orders_that_are_none(asked):
    with pytest.raises(Fault):
        ordering.runs(asked)


def test_experiments_and_models():
    one = Experiment(10, "ten", "x", 5, 6, tags={"team": "red"})
    assert filters.experiments("name LIKE 't%' AND tags.team = 'red'")(one)
    assert not filters.experiments("creation_time > 5")(one)
    numbered = [Experiment(n, str(n), "x", 0, 0) for n in (2, 10, 1)]
    assert [e.number for e in ordering.experiments(["experiment_id"])(numbered)] == [1, 2, 10]
    plain, prompt = Registered("m", 0, 0), Registered("p", 0, 0, tags={filters.PROMPT: "true"})
    for text in ("", "tags.`mlflow.prompt.is_prompt` != 'true'", "name != 'q'"):
        keeps = filters.registered(text)
        assert (keeps(plain), keeps(prompt)) == (True, False), text
    assert filters.registered("tags.`mlflow.prompt.is_prompt` = 'true'")(prompt)


def test_logged_models_are_ordered_by_objects():
    with pytest.raises(Fault):
        ordering.models([Asked({"ascending": False})])
    with pytest.raises(Fault):
        ordering.models([Asked({"field_name": "metrics.a", "dataset_digest": "x"})])


def test_a_filter_has_so_many_clauses_and_no_more():
    one = run("a", tags={"t": "text"})
    clause = "tags.t LIKE '%ex%'"
    assert keeps(" AND ".join([clause] * 100), one)
    with pytest.raises(Fault, match="at most 100 clauses"):
        keeps(" AND ".join([clause] * 101), one)
