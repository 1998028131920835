import json

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.serve.conftest import ROW, SIGNED

from trimtab.errors import ModelError
from trimtab.model.signature import Column
from trimtab.serve import routes
from trimtab.serve.engine import Engine
from trimtab.serve.logged.log import Log, read
from trimtab.serve.protocols.parse import Checked
from trimtab.serve.protocols.policy import Invalid, Policies, header
from trimtab.serve.router import Router
from trimtab.serve.routes import RoutesFile

SIGNS = msgspec.structs.replace(
    SIGNED,
    inputs=tuple(
        msgspec.structs.replace(
            column,
            closed=False,
            fill={"income": 2.0, "debt": 0.5, "owner": True, "purpose": "car", "region": "n"}[
                column.name
            ],
        )
        for column in SIGNED.inputs
    ),
)
HEADERS = {"host": "localhost", "content-type": "application/json"}


@pytest.fixture
def asked(tmp_path, spec):
    """Ask an endpoint with these policies; a status, the headers and the reply."""

    def ask(policies, **cells):
        folder = tmp_path / "endpoint"
        file = RoutesFile(version=1, name="loans", routes=(spec(signed=SIGNS),))
        routes.write(folder, file)
        router = Router(folder, invalid=policies)
        assert router.reload(), router.error
        engine = Engine(name="loans", router=router, log=Log(tmp_path / "log", "loans"))
        body = json.dumps({"row": {**ROW, **cells}}).encode()
        response = engine.handle("POST", "/predict", HEADERS, body)
        text = engine.handle("GET", "/metrics", HEADERS, b"").body.decode()
        return response, json.loads(response.body), text

    return ask


def score(reply):
    return reply["predictions"][0]["score"]


def test_without_a_policy_a_null_that_training_did_not_see_is_refused(asked):
    response, reply, _ = asked({}, debt=None)
    assert response.status == 422
    assert reply["error"]["column"] == "debt"


def test_an_imputed_cell_scores_as_the_training_rows_median(asked, tmp_path):
    response, reply, metrics = asked({"debt": "impute"}, debt=None)
    assert response.status == 200
    assert score(reply) == pytest.approx(1 / (1 + np.exp(-1.5)))
    assert response.headers["x-invalid"] == "debt=null;imputed"
    assert 'column="debt",reason="null",policy="impute"} 1' in metrics
    (frame,), _ = read(tmp_path / "log")
    assert np.isnan(frame.column("debt"))[0]


def test_a_category_that_training_did_not_see(asked):
    response, reply, _ = asked({"purpose": "impute"}, purpose="boat", debt=0.0)
    assert response.headers["x-invalid"] == "purpose=unseen;imputed"
    assert score(reply) == pytest.approx(1 / (1 + np.exp(-1.0)))


def test_it_is_flagged_and_handed_over_as_it_is(asked):
    response, reply, _ = asked({"*": "flag"}, purpose="boat", debt=0.0)
    assert response.headers["x-invalid"] == "purpose=unseen;flagged"
    assert score(reply) == pytest.approx(0.5)


def test_it_is_refused(asked):
    response, reply, _ = asked({"*": "reject"}, purpose="boat")
    assert (response.status, reply["error"]["column"]) == (422, "purpose")


def test_a_valid_row_is_answered_without_a_word(asked):
    response, _, metrics = asked({"*": "impute"})
    assert response.status == 200
    assert "x-invalid" not in response.headers
    assert "trimtab_invalid_cells_total{" not in metrics


def test_what_a_model_cannot_follow_is_said_as_it_is_loaded():
    old = msgspec.structs.replace(SIGNS, inputs=(Column(name="a", kind="number"),))
    with pytest.raises(ModelError, match="'a' cannot be imputed"):
        Policies.compile({"a": "impute"}, old)
    shut = Column(name="a", kind="text", categories=("x",), closed=True, fill="x")
    with pytest.raises(ModelError, match="'a' cannot be flagged"):
        Policies.compile({"*": "flag"}, msgspec.structs.replace(SIGNS, inputs=(shut,)))
    assert not Policies.compile({"other": "impute"}, SIGNS).by_column


cells = st.lists(
    st.tuples(
        st.none() | st.floats(-5, 5), st.sampled_from(["car", "home", "boat", None]), st.booleans()
    ),
    min_size=1,
    max_size=6,
)


@given(cells, st.sampled_from(["impute", "flag"]), st.sampled_from(["impute", "flag"]))
def test_every_invalid_cell_is_told_once_and_only_imputed_ones_change(rows, number, word):
    policies = Policies.compile({"debt": number, "purpose": word}, SIGNS)
    debts = [np.nan if debt is None else debt for debt, _, _ in rows]
    purposes = [purpose for _, purpose, _ in rows]
    still = [1.0] * len(rows)
    numbers = np.array([still, debts, still])
    before = numbers.copy()
    words = {"purpose": purposes, "region": ["n"] * len(rows)}
    filled, texts = policies.imputed(numbers, list(words.values()))
    np.testing.assert_array_equal(numbers, before)
    expected = np.where(np.isnan(debts), 0.5, debts) if number == "impute" else debts
    np.testing.assert_array_equal(filled[1], expected)
    unseen = purposes.count("boat")
    known = ["car" if one in ("boat", None) else one for one in purposes]
    assert texts[0] == (known if word == "impute" else purposes)
    told = policies.told(Checked(count=len(rows), numbers=numbers, words=words))
    gone = int(np.isnan(debts).sum())
    wanted = [
        Invalid("debt", "null", number, gone),
        Invalid("purpose", "null", word, purposes.count(None)),
        Invalid("purpose", "unseen", word, unseen),
    ]
    assert sorted(told) == sorted(one for one in wanted if one.cells)
    assert header(told).isascii()
