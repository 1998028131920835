"""Training rows replayed through an engine, straight and through what changes a cell on the way."""

import json
import math

import msgspec
import numpy as np
import pytest

from trimtab.model.load import load
from trimtab.serve.logged import log
from trimtab.serve.measured import replay, skew
from trimtab.serve.measured.rehearsal import _asker
from trimtab.serve.measured.skew import Skew, Training, difference

ROWS = 100


def training(**changes) -> Training:
    """Rows with the answers of the package made by hand: sigmoid(debt + (purpose == "car"))."""
    features = {
        "income": [None if i % 7 == 0 else i / 3 for i in range(ROWS)],
        "debt": [(i % 50) / 10 - 2.5 for i in range(ROWS)],
        "owner": [None if i % 5 == 0 else i % 2 == 0 for i in range(ROWS)],
        "purpose": [["car", "home"][i % 2] for i in range(ROWS)],
        "region": [["n", "s", None][i % 3] for i in range(ROWS)],
    }
    logits = [d + (p == "car") for d, p in zip(features["debt"], features["purpose"], strict=True)]
    scores = [1 / (1 + math.exp(-x)) for x in logits]
    return Training(
        sent={**features, **changes},
        features=features,
        scores=scores,
        decisions=["yes" if x >= 0.5 else "no" for x in scores],
    )


@pytest.fixture
def found(engine, endpoint):
    """Replay rows through the engine, with something between the client and it."""

    def run(rows: Training, between=lambda row: row, path="/predict", hidden=()) -> Skew:
        def send(body):
            body = json.loads(json.dumps(body))
            for row in body.get("rows", [body.get("row")]):
                between(row)
            answer = engine.handle("POST", path, {}, msgspec.json.encode(body))
            return answer.status, msgspec.json.decode(answer.body)

        signed = engine.router.table.routes[0].model.signature
        answers = skew.ask(rows, send, "replay-x")
        folder = endpoint / ("log" if path == "/predict" else "replay")
        columns = replay._logged(log.read_all(folder), "replay-x", rows.rows, signed)
        model = engine.router.table.routes[0].model
        seen = skew.Seen(columns=columns, answers=answers)
        return skew.compare(rows, seen, signed, hidden=hidden, predict=_asker(model))

    return run


@pytest.mark.parametrize("path", ["/predict", "/replay"])
def test_rows_that_arrive_as_they_were_are_no_skew(found, path):
    seen = found(training(), path=path)
    assert seen == Skew(rows=ROWS, off=0)
    assert seen.refusal == ""


def test_replayed_rows_are_logged_beside_the_prediction_log(found, endpoint, engine):
    found(training(), path="/replay")
    assert list(log.read_all(endpoint / "log")) == []
    frames = list(log.read_all(endpoint / "replay"))
    assert sum(frame.rows for frame in frames) == ROWS
    assert {frame.contract for frame in frames} == {"replay"}


def _set(name, change):
    def between(row):
        row[name] = change(row[name])

    return between


@pytest.mark.parametrize(
    ("between", "column", "kind", "share"),
    [
        (_set("debt", int), "debt", "value", 0.8),
        (_set("debt", lambda x: float(np.float32(x))), "debt", "precision", 0.5),
        (_set("income", lambda x: 0.0 if x is None else x), "income", "filled", 0.1),
        (_set("income", lambda x: None), "income", "emptied", 0.8),
        (_set("region", lambda x: x or "n"), "region", "filled", 0.3),
        (_set("purpose", str.upper), "purpose", "spelling", 1.0),
        (_set("purpose", lambda x: "house"), "purpose", "category", 1.0),
        (_set("owner", lambda x: None if x is None else not x), "owner", "value", 0.8),
        (_set("debt", str), "debt", "refused", 1.0),
        (_set("region", lambda x: "west"), "region", "refused", 1.0),
    ],
    ids=["cast", "float32", "filled", "emptied", "word", "case", "other", "not", "text", "closed"],
)
def test_what_changes_a_cell_on_the_way_is_refused_by_column(found, between, column, kind, share):
    seen = found(training(), between)
    assert set(seen.columns) == {column}
    assert set(seen.columns[column]) == {kind}
    assert seen.off >= share * ROWS - 1
    assert f"column {column!r}" in seen.refusal


def test_one_cell_of_one_row_is_enough(found):
    rows = training()
    sent = [*rows.sent["income"]]
    sent[76] = 12.5
    seen = found(training(income=sent))
    assert seen.off == 1
    assert seen.columns == {"income": {"value": 1}}


def test_a_refusal_tells_columns_and_counts_and_no_values(found):
    seen = found(training(), _set("purpose", lambda x: f"secret {x}"))
    assert "secret" not in msgspec.json.encode(seen).decode() + seen.refusal
    assert seen.refusal == "of 100 training rows, column 'purpose': another text in 100"


def test_columns_that_may_not_be_logged_are_not_compared_but_the_answers_are(found):
    seen = found(training(), _set("debt", lambda x: x + 1), hidden=("debt",))
    assert seen.hidden == ("debt",)
    assert seen.predictions > 90


def test_columns_that_stand_in_each_other_s_place_are_named(endpoint, spec):
    """The package reads debt where income stands: cells agree, answers do not."""
    model = load(endpoint / spec("loans@v2").folder)
    rows = training()
    full = [0.5 if x is None else x for x in rows.features["income"]]
    features = {**rows.features, "income": full}
    rows = msgspec.structs.replace(rows, features=features, sent=features)
    ask = _asker(model)

    def swapped(columns):
        return ask({**columns, "income": columns["debt"], "debt": columns["income"]})

    arrays = skew._arrays(features, model.signature)
    seen = skew.Seen(columns=features, answers=swapped(arrays))
    found = skew.compare(rows, seen, model.signature, predict=swapped)
    assert set(found.columns) == {"income", "debt"}
    assert "read in another column's place" in found.refusal
    blind = skew.compare(rows, seen, model.signature)
    assert "no column explains it" in blind.refusal


def test_answers_within_the_limits_of_packaging_are_the_same(found):
    rows = training()
    near = msgspec.structs.replace(rows, scores=[x + 9e-4 for x in rows.scores])
    assert not found(near).refusal
    far = msgspec.structs.replace(rows, scores=[x + 2e-3 for x in rows.scores])
    assert found(far).predictions == ROWS
    wide = msgspec.structs.replace(far, scale=10.0)
    assert not found(wide).refusal


@pytest.mark.parametrize(
    ("mine", "logged", "kind", "said"),
    [
        (3, 3.0, "number", ""),
        (None, None, "number", ""),
        (True, 1.0, "boolean", ""),
        (False, 1.0, "boolean", "value"),
        (2**53 + 1, float(2**53 + 1), "number", "precision"),
        (2**53, float(2**53), "number", ""),
        (0.1, float(np.float32(0.1)), "number", "precision"),
        (1.0, 1.1, "number", "value"),
        (None, 0.0, "number", "filled"),
        (0.0, None, "number", "emptied"),
        (7, "7", "number", "type"),
        ("7", 7.0, "text", "type"),
        ("Café", "CAFE\u0301", "text", "spelling"),
        ("New York", "new-york", "text", "spelling"),
        ("car", "home", "text", "category"),
        ("2026-01-31T12:00:00Z", "2026-01-31T13:00:00Z", "text", "time zone"),
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:01Z", "text", "category"),
        (1.7e9, 1.7e9 + 7200, "number", "time zone"),
        (1.7e12, 1.7e12 + 5.5 * 3.6e6, "number", "time zone"),
        (1.7e9, 1.7e9 + 64, "number", "precision"),
    ],
)
def test_a_cell_s_difference_has_a_name(mine, logged, kind, said):
    assert difference(mine, logged, kind) == said
