import msgspec
import pytest

from trimtab.model.signature import Column, Signature
from trimtab.serve.answer import Call
from trimtab.serve.protocols import bodies
from trimtab.serve.protocols.sagemaker import Invocations

ROW = {"income": 10.0, "debt": 1.0, "owner": True, "purpose": "car", "region": "n"}
CELLS = list(ROW.values())
OTHER = [None, -5, None, "home", None]
ROWS = [ROW, dict(zip(ROW, OTHER, strict=True))]
COLUMNS = {name: [row[name] for row in ROWS] for name in ROW}
INVOCATIONS = Invocations({})

SHAPES = {
    "split": {"dataframe_split": {"columns": list(ROW), "data": [CELLS, OTHER], "index": [4, 9]}},
    "split without names": {"dataframe_split": {"data": [CELLS, OTHER]}},
    "records": {"dataframe_records": ROWS},
    "instances": {"instances": ROWS},
    "instances in lists": {"instances": [CELLS, OTHER]},
    "inputs as columns": {"inputs": COLUMNS},
    "inputs [N, 1]": {"inputs": {name: [[x] for x in cells] for name, cells in COLUMNS.items()}},
    "inputs as a tensor": {"inputs": [CELLS, OTHER]},
    "inputs as rows": {"inputs": ROWS},
    "with params": {"instances": ROWS, "params": {"temperature": 1}},
    "our own": {"rows": ROWS},
    "our own columns": {"columns": COLUMNS},
}


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_is_the_same_rows(name, signed, speak):
    body = msgspec.json.encode(SHAPES[name])
    rows = bodies.read(Call("/", {}, body), signed)
    assert dict(rows.columns) == COLUMNS
    response = speak(INVOCATIONS, body)
    answer = msgspec.json.decode(response.body)
    assert [x["decision"] for x in answer["predictions"]] == ["yes", "no"]
    assert set(answer) == (
        {"model", "model_version", "request_id", "predictions"}
        if name.startswith("our")
        else {"predictions"}
    )


def test_csv_with_a_header_line_is_answered_in_json(speak):
    body = b"income,debt,owner,purpose,region\n10,1,True,car,n\n"
    response = speak(INVOCATIONS, body, {"content-type": "text/csv", "accept": "*/*"})
    assert response.content_type == "application/json"
    (one,) = msgspec.json.decode(response.body)["predictions"]
    assert one["decision"] == "yes"


def test_numbers_of_a_model_with_one_input_need_no_lists():
    signed = Signature(task="regression", engine="onnx", inputs=(Column(name="x", kind="number"),))
    for shape in ("instances", "inputs"):
        body = msgspec.json.encode({shape: [1, 2.5]})
        assert bodies.read(Call("/", {}, body), signed).columns == {"x": [1, 2.5]}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"3", "not an object"),
        (b"[1]", "not an object"),
        ({"not": "a frame"}, "has no rows"),
        ({"dataframe_records": [], "dataframe_split": {"data": []}}, "and dataframe_records"),
        ({"dataframe_split": [ROW]}, "not an object with data"),
        ({"dataframe_split": {"data": [[1]], "more": 1}}, "unknown key 'more'"),
        ({"dataframe_split": {"data": [[1], [2, 3]]}}, "row 1 has 2 cells, row 0 has 1"),
        ({"dataframe_split": {"data": [[1]]}}, "1 cells, the model takes 5"),
        (
            {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2], [3]]}},
            "row 1 is not a list",
        ),
        ({"dataframe_split": {"columns": ["a", "a"], "data": [[1, 2]]}}, "same name"),
        ({"dataframe_split": {"columns": "a", "data": [[1]]}}, "not a list of names"),
        ({"dataframe_split": {"columns": [], "data": []}}, "holds no rows"),
        ({"dataframe_split": {"data": []}}, "holds no rows"),
        ({"dataframe_split": {"data": [], "index": {}}}, "index of dataframe_split"),
        ({"dataframe_records": {"a": 1}}, "dataframe_records is not a list"),
        ({"dataframe_records": [CELLS]}, "row 0 is a list, not an object"),
        ({"instances": []}, "holds no rows"),
        ({"instances": {"a": 1}}, "instances is not a list"),
        ({"instances": [ROW, CELLS]}, "row 1 is a list"),
        ({"instances": [CELLS, ROW]}, "row 1 is not a list"),
        ({"instances": [1, 2]}, "row 0 is a number"),
        ({"instances": [ROW], "more": 1}, "unknown key 'more' beside instances"),
        ({"instances": [ROW], "params": [1]}, "params is not an object"),
        ({"instances": [ROW], "signature_name": 1}, "signature_name is not a text"),
        ({"inputs": 3}, "inputs is not a list"),
        ({"inputs": {"debt": 3}}, "'debt' is not a list"),
        ({"inputs": {"debt": [3], "income": []}}, "0 values"),
        ({"inputs": {}}, "holds no rows"),
    ],
)
def test_errors_have_the_keys_of_mlflow_beside_ours(body, said, speak):
    response = speak(INVOCATIONS, body)
    assert response.status == 400
    answer = msgspec.json.decode(response.body)
    assert said in answer["message"]
    assert answer["error_code"] == "BAD_REQUEST"
    assert answer["stack_trace"] == ""
    assert answer["error"]["message"] == answer["message"]


@pytest.mark.parametrize(
    ("content_type", "status", "code"),
    [
        ("not_a_supported_content_type", 415, "content_type"),
        ("application/json; something=something", 415, "content_type"),
        ("application/json; charset=utf-16", 415, "content_type"),
        ("application/json", 400, "bad_json"),
        ("text/csv", 400, "input"),
    ],
)
def test_wrong_types_and_bodies(content_type, status, code, speak):
    response = speak(INVOCATIONS, b"this is,,,, not valid json", {"content-type": content_type})
    answer = msgspec.json.decode(response.body)
    assert (response.status, answer["error"]["code"]) == (status, code)
    assert answer["error_code"] == "BAD_REQUEST"


def test_the_word_nan_is_null(speak, signed):
    """MLflow's client writes the missing numbers of a frame so."""
    body = msgspec.json.encode(SHAPES["split"]).replace(b"[null,-5", b"[NaN,-5")
    assert b"NaN" in body
    assert dict(bodies.read(Call("/", {}, body), signed).columns) == COLUMNS
    assert speak(INVOCATIONS, body.replace(b"NaN", b"Infinity")).status == 400
    body = body.replace(b"-5", b"NaN")
    answer = msgspec.json.decode(speak(INVOCATIONS, body).body)
    assert answer["error"]["column"] == "debt"
    assert "null" in answer["message"]


def test_too_many_rows_are_413(speak):
    for shape in ("instances", "inputs", "dataframe_records"):
        assert speak(INVOCATIONS, {shape: [{}] * 10_001}).status == 413
    assert speak(INVOCATIONS, {"dataframe_split": {"data": [[]] * 10_001}}).status == 413
    assert speak(INVOCATIONS, {"inputs": {"debt": [1] * 10_001}}).status == 413


def test_tensors_of_open_inference_are_answered_by_tensors(speak, signed):
    kinds = {"number": "FP64", "boolean": "BOOL", "text": "BYTES"}
    tensors = [
        {"name": c.name, "datatype": kinds[c.kind], "shape": [1], "data": [ROW[c.name]]}
        for c in signed.inputs
    ]
    response = speak(INVOCATIONS, {"id": "t", "inputs": tensors})
    answer = msgspec.json.decode(response.body)
    assert answer["id"] == "t"
    assert [x["name"] for x in answer["outputs"]] == ["score", "decision", "prediction_id"]
    head = msgspec.json.encode({"inputs": tensors, "parameters": {"binary_data_output": True}})
    length = {"inference-header-content-length": str(len(head))}
    response = speak(INVOCATIONS, head, {**length, "content-type": "application/octet-stream"})
    assert response.content_type == "application/octet-stream"
