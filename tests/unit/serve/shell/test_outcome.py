"""Rows of a turn: cell by cell they get what the checked table gets, and are logged alike."""

import dataclasses

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.serve.conftest import SIGNED

from trimtab.errors import ModelError
from trimtab.model.several import Several
from trimtab.serve.logged import outcome
from trimtab.serve.logged.privacy import Rules
from trimtab.serve.protocols.parse import FLOAT32

from .test_lone import broken, cells, score_of

SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
context = st.sampled_from([msgspec.UNSET, None, "g", 1.5, True])


def as_written(found):
    """With texts in lists, as the frame has them."""
    fields = msgspec.structs.asdict(found)
    return fields | {"words": {name: list(cells) for name, cells in fields["words"].items()}}


@SHARED
@given(rows=st.lists(st.tuples(cells, context), min_size=1, max_size=9), most=st.integers(1, 4))
def test_rows_straight_from_their_cells_are_those_of_a_checked_table(rows, most, engine):
    route = dataclasses.replace(engine.router.table.routes[0], most=most)
    table = [(*row, sent) for row, sent in rows]
    found, expected = outcome.of(route)(table), outcome._checked(route, table)
    if found is None:
        assert expected is None or any(
            number is not None and abs(number) >= FLOAT32 for row in table for number in row[:3]
        )
    else:
        assert expected is not None
        assert as_written(found) == as_written(expected)


@SHARED
@given(rows=st.lists(cells, min_size=1, max_size=5))
def test_rules_and_models_without_a_graph_take_the_checked_table(rows, engine):
    route = engine.router.table.routes[0]
    masked = dataclasses.replace(route, rules=Rules.compile({"purpose": "mask"}, SIGNED))
    bare = dataclasses.replace(route, model=dataclasses.replace(route.model, several=None))
    table = [(*row, msgspec.UNSET) for row in rows]
    plain = outcome.of(route)(table)
    if plain is None:
        return
    for other in (masked, bare):
        found = outcome.of(other)(table)
        assert found is not None
        assert (found.scores, found.decisions) == (plain.scores, plain.decisions)
        assert (found.words["purpose"] == list(plain.words["purpose"])) == (other is bare)


def test_a_text_that_a_closed_column_does_not_know_needs_a_look(engine):
    score = outcome.of(engine.router.table.routes[0])
    known, unknown = ((1.0, 1.0, True, "boat", region, msgspec.UNSET) for region in ("n", "moon"))
    assert score([known, unknown]) is None
    found = score([known, known])
    assert found is not None
    assert found.unseen == {"purpose": 2}


@pytest.mark.parametrize(
    "run", [score_of(float("nan")), score_of(float("-inf")), broken], ids=["nan", "inf", "broken"]
)
def test_a_model_that_fails_is_a_model_error(run):
    with pytest.raises(ModelError):
        Several(run, SIGNED).predict([(1.0, 1.0, 0.0, "car", "n")])


def test_scores_beyond_their_ends_are_brought_back():
    def run(outputs, feed, options):
        return [np.array([1.0000001, 0.25, -1e-8], dtype=np.float32)]

    rows = [(1.0, 1.0, 0.0, "car", None)] * 3
    assert Several(run, SIGNED).predict(rows) == ([1.0, 0.25, 0.0], ["yes", "no", "no"])
    values = msgspec.structs.replace(SIGNED, task="regression")
    scores = [np.float32(1.0000001).item(), 0.25, np.float32(-1e-8).item()]
    assert Several(run, values).predict(rows) == (scores, scores)


def test_a_model_of_words_alone_or_of_numbers_alone():
    words = msgspec.structs.replace(SIGNED, inputs=SIGNED.inputs[3:])
    numbers = msgspec.structs.replace(SIGNED, inputs=SIGNED.inputs[:3])
    fed = []

    def run(outputs, feed, options):
        fed.append({name: array.tolist() for name, array in feed.items()})
        return [np.array([0.75, 0.25], dtype=np.float32)]

    both = ([0.75, 0.25], ["yes", "no"])
    assert Several(run, words).predict([("car", None), ("home", "s")]) == both
    assert Several(run, numbers).predict([(1.5, 2.0, True), (0.5, -1.0, False)]) == both
    assert fed == [
        {"words": [["car", ""], ["home", "s"]]},
        {"numbers": [[1.5, 2.0, 1.0], [0.5, -1.0, 0.0]]},
    ]
