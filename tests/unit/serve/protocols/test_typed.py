import io

import msgspec
import pyarrow as pa
import pytest
from pyarrow import parquet

from trimtab.serve.protocols.formats import CONTENT_TYPES
from trimtab.serve.protocols.typed import Typed

ROW = {"income": 10.0, "debt": 1.0, "owner": True, "purpose": "car", "region": "n"}
CSV = b"income,debt,owner,purpose,region\n10,1,true,car,n\n,-5,,home,\n"
PREDICT = Typed("predict")


def table_of(body, kind):
    if kind == "arrow":
        return pa.ipc.open_stream(body).read_all()
    return parquet.read_table(io.BytesIO(body))


def test_json_is_answered_in_json(speak):
    response = speak(PREDICT, {"rows": [ROW, {**ROW, "debt": -5}], "ids": ["a", 7]})
    answer = msgspec.json.decode(response.body)
    scores = [one.pop("score") for one in answer["predictions"]]
    assert scores == pytest.approx([0.8808, 0.0180], abs=1e-4)
    assert answer == {
        "model": "loans",
        "model_version": "loans@v1",
        "request_id": "r1",
        "predictions": [{"id": "a", "decision": "yes"}, {"id": "7", "decision": "no"}],
    }


def test_csv_is_read_and_written_with_names(speak):
    response = speak(PREDICT, CSV, {"content-type": "text/csv", "accept": "text/csv"})
    assert response.content_type == "text/csv"
    head, first, second = response.body.decode().splitlines()
    assert head == "id,decision,score"
    assert first.startswith("p0,yes,0.88")
    assert second.startswith("p1,no,0.00")
    bare = speak(PREDICT, CSV, {"content-type": "text/csv", "accept": "text/csv;header=absent"})
    assert bare.body.decode().splitlines() == [first, second]


@pytest.mark.parametrize("kind", ["arrow", "parquet"])
def test_tables_are_answered_in_tables(kind, speak):
    headers = {"content-type": "text/csv", "accept": CONTENT_TYPES[kind]}
    response = speak(PREDICT, CSV, headers)
    assert response.content_type == CONTENT_TYPES[kind]
    table = table_of(response.body, kind)
    assert table.column("id").to_pylist() == ["p0", "p1"]
    assert table.column("decision").to_pylist() == ["yes", "no"]
    assert table.schema.field("score").type == pa.float32()
    by_json = msgspec.json.decode(speak(PREDICT, CSV, {"content-type": "text/csv"}).body)
    assert table.column("score").to_pylist() == pytest.approx(
        [one["score"] for one in by_json["predictions"]]
    )


def test_ids_of_json_stay_with_a_table(speak):
    response = speak(PREDICT, {"row": ROW, "id": "mine"}, {"accept": "text/csv;header=absent"})
    assert response.body.startswith(b"mine,yes,")


@pytest.mark.parametrize(
    "body",
    [{"instances": [ROW]}, {"dataframe_records": [ROW]}, {"inputs": {}}, {"rows": [], "row": {}}],
)
def test_the_shapes_of_others_are_for_their_paths(body, speak):
    response = speak(PREDICT, body)
    assert response.status == 422
    assert msgspec.json.decode(response.body)["error"]["code"] == "input"


def test_the_first_repeated_id_is_named(speak):
    response = speak(PREDICT, {"rows": [ROW] * 4, "ids": ["a", "b", "b", "a"]})
    error = msgspec.json.decode(response.body)["error"]
    assert (error["message"], error["row"]) == ("an id is given twice", 2)


def test_an_error_names_its_place_in_every_format(speak):
    body = CSV.replace(b"-5", b"minus five")
    response = speak(PREDICT, body, {"content-type": "text/csv", "accept": "text/csv"})
    assert response.content_type == "application/json"
    assert msgspec.json.decode(response.body) == {
        "error": {
            "code": "input",
            "message": "column 'debt' is a text",
            "hint": "send a number",
            "row": 1,
            "column": "debt",
        }
    }
