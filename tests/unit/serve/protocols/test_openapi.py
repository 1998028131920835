import json
import re
from pathlib import Path

import msgspec
import pytest

from trimtab.model.signature import Column, Signature
from trimtab.serve import contracts, lookups
from trimtab.serve.protocols import openapi

MODEL = "/v2/models/loans"
DOCS = Path(__file__).parents[4] / "docs"


@pytest.fixture
def document(engine):
    response = lookups.look(engine, "GET", "/openapi.json")
    assert response.status == 200
    return msgspec.json.decode(response.body)


def refs(value):
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for child in value.values():
            yield from refs(child)
    elif isinstance(value, list):
        for child in value:
            yield from refs(child)


def test_every_reference_leads_somewhere_and_every_schema_is_used(document):
    found = set(refs(document))
    for ref in found:
        place = document
        for part in ref.removeprefix("#/").split("/"):
            place = place[part]
    named = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert named <= found


def test_operations_have_ids_of_their_own(document):
    operations = [
        operation
        for item in document["paths"].values()
        for method, operation in item.items()
        if method in ("get", "post")
    ]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    for operation in operations:
        assert all(re.fullmatch(r"[1-5]\d\d", code) for code in operation["responses"])
        assert all(one["description"] for one in operation["responses"].values())


def test_every_path_is_answered_as_it_says(document, engine):
    for path, item in document["paths"].items():
        real = path.replace("{version}", "1")
        if "get" in item:
            assert engine.handle("GET", real, {}, b"").status == 200, path
        if "post" in item and path != "/v2/repository/index":
            assert engine.handle("POST", real, {}, b"{").status == 400, path


def test_every_contract_and_health_route_is_there(document):
    table = contracts.table("loans", {})
    assert set(document["paths"]) >= {
        *table.posts,
        *table.health,
        f"{MODEL}/versions/{{version}}/infer",
    }


def test_a_vertex_route_is_described_where_it_is(signed):
    environment = {"AIP_ENDPOINT_ID": "7", "AIP_DEPLOYED_MODEL_ID": "8"}
    made = openapi.document("loans", signed, contracts.table("loans", environment))
    item = made["paths"]["/v1/endpoints/7/deployedModels/8:predict"]
    assert set(item) == {"get", "post"}


def test_rows_are_the_signature(document):
    row = document["components"]["schemas"]["Row"]
    assert row["required"] == ["income", "debt", "owner", "purpose", "region"]
    assert row["additionalProperties"] is False
    assert row["properties"]["income"]["type"] == ["number", "null"]
    assert row["properties"]["debt"]["type"] == "number"
    assert row["properties"]["owner"]["type"] == ["boolean", "null"]
    assert row["properties"]["purpose"]["examples"] == ["car", "home"]
    assert row["properties"]["region"] == {"enum": ["n", "s", None]}
    assert "null" in row["properties"]["group"]["type"]


def test_statuses_of_invocations_are_those_of_mlflow(document):
    def codes(path):
        return document["paths"][path]["post"]["responses"]

    assert "422" not in codes("/invocations")
    assert "signature" in codes("/invocations")["400"]["description"]
    assert "422" in codes("/predict")
    assert "signature" not in codes("/predict")["400"]["description"]


def test_replayed_rows_are_those_of_predict(document):
    paths = document["paths"]
    for key in ("requestBody", "responses"):
        assert paths["/replay"]["post"][key] == paths["/predict"]["post"][key]


def shape_of(document, name):
    (found,) = (
        x["properties"][name]
        for x in document["components"]["schemas"]["Body"]["oneOf"]
        if name in x.get("properties", ())
    )
    return found


def test_rows_without_names_take_0_and_1_and_the_context_behind(document):
    short, whole = document["components"]["schemas"]["Positional"]["anyOf"]
    cells = short["items"]["prefixItems"]
    assert cells[2] == {"enum": [True, False, 0, 1, None]}
    assert (short["items"]["minItems"], short["items"]["maxItems"]) == (5, 5)
    assert (whole["items"]["minItems"], whole["items"]["maxItems"]) == (6, 6)
    assert whole["items"]["prefixItems"][:5] == cells


def test_a_split_names_its_columns_in_any_order_or_not_at_all(document):
    unnamed, named = shape_of(document, "dataframe_split")["oneOf"]
    assert unnamed["properties"]["columns"] == {"type": "null"}
    assert unnamed["properties"]["data"] == {"$ref": "#/components/schemas/Positional"}
    assert set(named["required"]) == {"columns", "data"}
    columns = named["properties"]["columns"]
    assert columns["items"]["enum"] == [*document["components"]["schemas"]["Row"]["properties"]]
    assert {x["contains"]["const"] for x in columns["allOf"]} == {
        *document["components"]["schemas"]["Row"]["required"]
    }
    assert (columns["minItems"], columns["maxItems"], columns["uniqueItems"]) == (5, 6, True)


def test_inputs_are_rows_or_columns_with_cells_alone_or_in_lists(document):
    refs = [x.get("$ref", "").rpartition("/")[2] for x in shape_of(document, "inputs")["anyOf"]]
    assert refs == ["", "Positional", "Inputs"]
    plain, nested = document["components"]["schemas"]["Inputs"]["properties"]["debt"]["anyOf"]
    assert nested["items"]["prefixItems"] == [plain["items"]]


def test_a_model_of_one_input_takes_cells_without_lists():
    only = Signature(task="regression", engine="onnx", inputs=(Column(name="x", kind="boolean"),))
    made = openapi.document("loans", only, contracts.table("loans", {}))
    cells = shape_of(made, "instances")["anyOf"][-1]["items"]
    assert cells == {"enum": [True, False, 0, 1]}


def test_event_times_are_described_where_they_are_taken(signed):
    table = contracts.table("loans", {})
    by_server = json.dumps(openapi.document("loans", signed, table))
    by_client = json.dumps(openapi.document("loans", signed, table, event_time="client"))
    assert "event_time" not in by_server
    assert "event_time" in by_client


@pytest.mark.parametrize("task", ["regression", "multiclass"])
def test_predictions_are_those_of_the_task(task, signed):
    other = Signature(task=task, engine="onnx", inputs=signed.inputs, classes=("a", "b", "c"))
    made = openapi.document("loans", other, contracts.table("loans", {}))
    found = made["components"]["schemas"]["Prediction"]["required"]
    expected = {
        "regression": ["id", "value"],
        "multiclass": ["id", "decision", "score", "scores"],
    }
    assert found == expected[task]


def test_every_path_is_on_the_page(document):
    text = (DOCS / "serving.md").read_text(encoding="utf-8")
    paths = {
        re.sub(r"/versions/.*", "/versions/VERSION", x).replace("loans", "NAME")
        for x in document["paths"]
    }
    assert [path for path in sorted(paths) if path not in text] == []
