import msgspec
import pytest

from trimtab.serve import log

INFER = "/v2/models/loans/infer"
COLUMNS = [
    ("income", "FP64", [10.0, None]),
    ("debt", "INT64", [1, -5]),
    ("owner", "BOOL", [True, False]),
    ("purpose", "BYTES", ["car", "home"]),
    ("region", "BYTES", ["n", None]),
]


def tensors(shape=(2,), **changes):
    return [
        {"name": name, "datatype": datatype, "shape": list(shape), "data": data}
        | changes.get(name, {})
        for name, datatype, data in COLUMNS
    ]


def outputs(answer):
    return {tensor["name"]: tensor for tensor in answer["outputs"]}


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_one_tensor_per_column(shape, post, engine):
    inputs = tensors(shape)
    if len(shape) == 2:
        inputs[0]["data"] = [[10.0], [None]]
    status, answer = post({"inputs": inputs}, INFER, x_request_id="r1")
    assert status == 200
    assert (answer["model_name"], answer["model_version"], answer["id"]) == (
        "loans",
        "loans@v1",
        "r1",
    )
    found = outputs(answer)
    assert found["decision"] == {
        "name": "decision",
        "datatype": "BYTES",
        "shape": [2],
        "data": ["yes", "no"],
    }
    assert found["score"]["shape"] == [2]
    (frame,) = log.read(engine.log.folder)[0]
    assert list(frame.ids) == found["prediction_id"]["data"]
    assert frame.contract == "oip"


def test_packed_tensors_give_the_same_answer(post):
    one = outputs(post({"inputs": tensors()}, INFER)[1])
    packed = [
        {"name": "numbers", "datatype": "FP32", "shape": [2, 3], "data": [10, 1, 1, None, -5, 0]},
        {
            "name": "words",
            "datatype": "BYTES",
            "shape": [2, 2],
            "data": [["car", "n"], ["home", None]],
        },
    ]
    status, answer = post({"inputs": packed}, INFER)
    assert status == 200
    assert outputs(answer)["score"] == one["score"]


@pytest.mark.parametrize(
    ("inputs", "status", "said"),
    [
        (None, 400, "not a list of tensors"),
        ([3], 400, "not a list of tensors"),
        ([], 422, "no rows"),
        ([{"datatype": "FP32"}], 400, "no name"),
        (tensors(debt={"shape": None}), 400, "no shape"),
        (tensors(debt={"shape": [True]}), 400, "no shape"),
        (tensors(debt={"shape": [3]}), 400, "2 values"),
        (tensors(debt={"shape": [1, 2]}), 422, "not of shape"),
        (tensors(debt={"data": None}), 400, "no data"),
        (tensors(debt={"datatype": "BYTES"}), 422, "datatype 'BYTES'; send FP32"),
        (tensors(debt={"data": [1], "shape": [1]}), 422, "1 to 2 rows"),
        (tensors(debt={"data": [1, "x"]}), 422, "(row 1)"),
        (tensors()[1:], 422, "'income' is missing"),
        ([{"name": "numbers", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}], 422, "[N, 3]"),
    ],
)
def test_errors_are_one_text(inputs, status, said, post):
    found, answer = post({"inputs": inputs}, INFER)
    assert found == status
    assert isinstance(answer["error"], str)
    assert said in answer["error"]


def test_metadata_says_what_infer_takes_and_gives(engine):
    response = engine.handle("GET", "/v2/models/loans", {}, b"")
    answer = msgspec.json.decode(response.body)
    assert answer["versions"] == ["loans@v1"]
    assert [(x["name"], x["datatype"]) for x in answer["inputs"]] == [
        ("income", "FP32"),
        ("debt", "FP32"),
        ("owner", "BOOL"),
        ("purpose", "BYTES"),
        ("region", "BYTES"),
    ]
    assert [x["name"] for x in answer["outputs"]] == ["score", "decision", "prediction_id"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        ("/v2/models/loans/ready", {"name": "loans", "ready": True}),
    ],
)
def test_health_is_json(path, body, engine):
    response = engine.handle("GET", path, {}, b"")
    assert (response.status, msgspec.json.decode(response.body)) == (200, body)


def test_the_server_names_itself(engine):
    answer = msgspec.json.decode(engine.handle("GET", "/v2", {}, b"").body)
    assert answer["name"] == "trimtab"
    assert answer["extensions"] == []
