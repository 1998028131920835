import json
import struct

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.errors import InputError
from trimtab.model.load import Outputs
from trimtab.model.signature import Column, Signature
from trimtab.serve.answer import Answer, Call
from trimtab.serve.protocols import oip, tensors
from trimtab.serve.protocols.oip import Oip
from trimtab.serve.reply import Refusal

COLUMNS = [
    ("income", "FP64", [10.0, None]),
    ("debt", "INT64", [1, -5]),
    ("owner", "BOOL", [True, False]),
    ("purpose", "BYTES", ["car", "home"]),
    ("region", "BYTES", ["n", None]),
]
HEADER = oip.LENGTH_HEADER
NUMBERS = Signature(
    task="multiclass",
    engine="onnx",
    inputs=(Column(name="a", kind="number", nullable=True), Column(name="b", kind="boolean")),
    classes=("x", "y", "z"),
)


def inputs(shape=(2,), **changes):
    return [
        {"name": name, "datatype": datatype, "shape": list(shape), "data": data}
        | changes.get(name, {})
        for name, datatype, data in COLUMNS
    ]


def binary(listed, **request):
    """A request whose inputs with `raw` bytes are binary."""
    tail, heads = b"", []
    for one in listed:
        head = {key: value for key, value in one.items() if key != "raw"}
        if "raw" in one:
            head["parameters"] = {"binary_data_size": len(one["raw"])}
            tail += one["raw"]
        heads.append(head)
    head = json.dumps({"inputs": heads} | request).encode()
    return {HEADER: str(len(head))}, head + tail


def as_binary(listed):
    nan = float("nan")
    for one in listed:
        values = one.pop("data")
        empty = {"BYTES": "", "FP64": nan, "FP32": nan}.get(one["datatype"])
        one["raw"] = tensors.encode(
            one["datatype"], [empty if value is None else value for value in values]
        )
    return listed


def decoded(response):
    """The outputs of a reply by name, whether they are JSON or binary."""
    length = int(response.headers.get(HEADER, len(response.body)))
    answer, tail = msgspec.json.decode(response.body[:length]), response.body[length:]
    found = {}
    for one in answer["outputs"]:
        size = one.get("parameters", {}).get("binary_data_size")
        if size is None:
            found[one["name"]] = one["data"]
            continue
        data = memoryview(tail[:size])
        found[one["name"]] = tensors.decode(one["name"], one["datatype"], one["shape"], data)
        tail = tail[size:]
    assert tail == b""
    return answer, found


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_one_tensor_per_column(shape, speak):
    listed = inputs(shape)
    if len(shape) == 2:
        listed[0]["data"] = [[10.0], [None]]
    response = speak(Oip(), {"inputs": listed})
    assert (response.status, response.content_type) == (200, "application/json")
    answer = msgspec.json.decode(response.body)
    score = answer["outputs"][0].pop("data")
    assert score == pytest.approx([0.8808, 0.0067], abs=1e-4)
    assert answer == {
        "model_name": "loans",
        "model_version": "loans@v1",
        "id": "r1",
        "outputs": [
            {"name": "score", "datatype": "FP32", "shape": [2]},
            {"name": "decision", "datatype": "BYTES", "shape": [2], "data": ["yes", "no"]},
            {"name": "prediction_id", "datatype": "BYTES", "shape": [2], "data": ["p0", "p1"]},
        ],
    }


@pytest.mark.parametrize(
    ("datatype", "least", "most"),
    [("INT8", -128, 127), ("UINT16", 0, 65_535), ("INT64", -(2**63), 2**63 - 1)],
)
def test_integers_to_their_ends(datatype, least, most, speak):
    listed = inputs(debt={"datatype": datatype, "data": [least, most]})
    assert speak(Oip(), {"inputs": listed}).status == 200


@pytest.mark.parametrize("values", [[5.0, 1], [1e2, 1.0]])
def test_whole_numbers_may_be_written_as_floats(values, speak):
    assert speak(Oip(), {"inputs": inputs(debt={"data": values})}).status == 200


def test_packed_tensors_give_the_same_answer(speak):
    packed = [
        {"name": "numbers", "datatype": "FP32", "shape": [2, 3], "data": [10, 1, 1, None, -5, 0]},
        {
            "name": "words",
            "datatype": "BYTES",
            "shape": [2, 2],
            "data": [["car", "n"], ["home", None]],
        },
    ]
    one = decoded(speak(Oip(), {"inputs": inputs()}))[1]
    assert decoded(speak(Oip(), {"inputs": packed}))[1] == one
    headers, body = binary(
        as_binary([packed[0] | {}, {**packed[1], "data": ["car", "n", "home", ""]}])
    )
    assert decoded(speak(Oip(), body, headers))[1] == one


@pytest.mark.parametrize(
    ("listed", "status", "said"),
    [
        (None, 400, "not a list of tensors"),
        ([3], 400, "not a list of tensors"),
        ([], 422, "no rows"),
        ([{"datatype": "FP32"}], 400, "no name"),
        (inputs() + inputs()[:1], 400, "twice"),
        (inputs(debt={"shape": None}), 400, "no shape"),
        (inputs(debt={"shape": [True]}), 400, "no shape"),
        (inputs(debt={"shape": [1] * 9}), 400, "no datatype"),
        (inputs(debt={"shape": [3]}), 400, "2 values"),
        (inputs(debt={"shape": [1, 2]}), 422, "not of shape"),
        (inputs(debt={"data": [[1], [[-5]]]}), 400, "nested deeper"),
        (inputs(debt={"data": None}), 400, "no data"),
        (inputs(debt={"datatype": None}), 400, "no datatype"),
        (inputs(debt={"datatype": "FP16"}), 400, "binary data"),
        (inputs(debt={"datatype": "BYTES"}), 422, "datatype 'BYTES'; send FP32"),
        (inputs(debt={"data": [1], "shape": [1]}), 422, "1 to 2 rows"),
        (inputs(debt={"data": [1, "x"]}), 422, "(row 1)"),
        (inputs(debt={"datatype": "INT8", "data": [1, 300]}), 400, "'debt' holds 300 at place 1"),
        (
            inputs(debt={"datatype": "UINT8", "data": [-1, 1]}),
            400,
            "UINT8 holds whole numbers from 0 to 255",
        ),
        (inputs(debt={"datatype": "INT32", "data": [1, 1.5]}), 400, "holds 1.5 at place 1"),
        (inputs(debt={"data": [1, 2**63]}), 400, "place 1"),
        (inputs(debt={"data": [10**999, 1]}), 400, "more than 128 bits at place 0"),
        (inputs(debt={"parameters": {"shared_memory_region": "x"}}), 501, "shared memory"),
        (inputs(debt={"parameters": {"binary_data_size": 8}}), 400, "data twice"),
        (inputs(debt={"data": "1"}), 400, "no data as a list"),
        (inputs(debt={"parameters": 8}), 400, "not an object"),
        (inputs()[1:], 422, "'income' is missing"),
        ([{"name": "numbers", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}], 422, "[N, 3]"),
    ],
)
def test_errors_are_one_text(listed, status, said, speak):
    response = speak(Oip(), {"inputs": listed})
    assert response.status == status
    answer = msgspec.json.decode(response.body)
    assert list(answer) == ["error"]
    assert said in answer["error"]


@given(
    st.lists(
        st.tuples(
            st.none() | st.floats(width=32, allow_nan=False, allow_infinity=False),
            st.integers(-(2**40), 2**40),
            st.booleans(),
            st.text(st.characters(exclude_categories=("Cs",)), max_size=9),
            st.none() | st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=3),
        ),
        min_size=1,
        max_size=5,
    ),
    st.sets(st.integers(0, 4)),
)
def test_binary_tensors_are_the_rows_of_json_ones(table, in_json):
    listed = [
        {"name": name, "datatype": datatype, "shape": [len(table)], "data": list(values)}
        for (name, datatype, _), values in zip(COLUMNS, zip(*table, strict=True), strict=True)
    ]
    signed = Signature(task="regression", engine="onnx", inputs=(
        Column(name="income", kind="number", nullable=True), Column(name="debt", kind="number"),
        Column(name="owner", kind="boolean"), Column(name="purpose", kind="text"),
        Column(name="region", kind="text", nullable=True),
    ))  # fmt: skip
    expected = Oip().read(Call("/", {}, json.dumps({"inputs": listed}).encode()), signed)
    mixed = [x if i in in_json else as_binary([x])[0] for i, x in enumerate(listed)]
    headers, body = binary(mixed)
    found = Oip().read(Call("/", headers, body), signed)
    assert found.columns == expected.columns
    assert found.count == len(table)


@pytest.mark.parametrize(
    ("datatype", "raw", "values"),
    [
        ("BOOL", b"\x00\x01", [False, True]),
        ("INT8", b"\xff\x01", [-1, 1]),
        ("UINT8", b"\xff\x01", [255, 1]),
        ("INT16", b"\xfe\xff\x01\x00", [-2, 1]),
        ("UINT64", b"\xff" * 8 + b"\x00" * 8, [2**64 - 1, 0]),
        ("FP16", struct.pack("<ee", 1.5, float("nan")), [1.5, None]),
        ("BF16", b"\xc0\x3f\x00\xc0", [1.5, -2.0]),
        ("FP32", struct.pack("<ff", 0.25, float("inf")), [0.25, float("inf")]),
        ("FP64", struct.pack("<dd", 0.1, -0.0), [0.1, -0.0]),
        ("BYTES", b"\x02\x00\x00\x00\xc3\xa9\x00\x00\x00\x00", ["é", ""]),
    ],
)
def test_datatypes_as_bytes(datatype, raw, values):
    assert tensors.decode("x", datatype, [2], memoryview(raw)) == values
    if None not in values:
        assert tensors.encode(datatype, values) == raw
    for wrong in (raw[:-1], raw + b"\x01"):
        with pytest.raises(Refusal) as refused:
            tensors.decode("x", datatype, [2], memoryview(wrong))
        assert refused.value.status == 400


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"datatype": "FP8"}, "unknown datatype"),
        ({"datatype": "BOOL", "raw": b"\x02\x01"}, "neither 0 nor 1"),
        ({"datatype": "BYTES", "raw": b"\x01\x00\x00\x00\xff\x00\x00\x00\x00"}, "not UTF-8"),
        ({"datatype": "BYTES", "raw": b"\xff\xff\xff\xff\x00\x00\x00\x00"}, "within an element"),
        ({"shape": [2**40]}, "bytes"),
    ],
)
def test_bytes_that_are_no_tensor(changes, said):
    one = {"name": "a", "datatype": "FP32", "shape": [2], "raw": b"\x00" * 8} | changes
    headers, body = binary([one])
    with pytest.raises(Refusal, match=said):
        Oip().read(Call("/", headers, body), NUMBERS)


@pytest.mark.parametrize(
    ("length", "body", "said"),
    [
        ("x", b"{}", "number of bytes"),
        ("²", b"{}", "number of bytes"),
        ("-1", b"{}", "number of bytes"),
        ("9" * 5000, b"{}", "number of bytes"),
        ("3", b"{}", "more than the body"),
        ("2", b"{}", "not a list of tensors"),
        ("13", b'{"inputs":[]}xx', "more bytes"),
        (
            None,
            b'{"inputs":[{"name":"a","shape":[1],"datatype":"FP32","parameters":{"binary_data_size":4}}]}',
            "fewer bytes",
        ),
    ],
)
def test_lengths_that_do_not_fit(length, body, said):
    headers = {} if length is None else {HEADER: length}
    with pytest.raises(Refusal, match=said) as refused:
        Oip().read(Call("/", headers, body), NUMBERS)
    assert refused.value.status == 400


@given(st.binary(max_size=80), st.integers(0, 90))
def test_any_bytes_are_rows_or_refused(body, length):
    for headers in ({}, {HEADER: str(length)}, {HEADER: "0"}):
        try:
            Oip().read(Call("/", headers, body), NUMBERS)
        except (Refusal, InputError):
            continue


def test_outputs_are_binary_as_asked():
    score = np.array([[0.25, 0.5, 0.25], [0.75, 0.25, 0.0]], dtype=np.float32)

    def reply(**request):
        listed = [{"name": "numbers", "datatype": "FP32", "shape": [2, 2], "data": [1, 0, 2, 1]}]
        rows = Oip().read(Call("/", {}, json.dumps({"inputs": listed} | request).encode()), NUMBERS)
        outputs = Outputs(score=score, decision=["y", "x"])
        answer = Answer("m", "m@v1", "r1", ("p0", "p1"), NUMBERS, outputs, rows.options)
        return Oip().write(answer)

    answer, found = decoded(reply())
    assert found["scores"] == [0.25, 0.5, 0.25, 0.75, 0.25, 0.0]
    assert [x["shape"] for x in answer["outputs"]] == [[2, 3], [2], [2]]

    response = reply(parameters={"binary_data_output": True}, id="mine")
    assert response.content_type == "application/octet-stream"
    answer, all_binary = decoded(response)
    assert all_binary == found
    assert answer["id"] == "mine"
    assert response.body.endswith(b"\x02\x00\x00\x00p1")

    asked = [{"name": "decision", "parameters": {"binary_data": False}}, {"name": "scores"}]
    answer, some = decoded(reply(outputs=asked, parameters={"binary_data_output": True}))
    assert [("data" in x) for x in answer["outputs"]] == [True, False]
    assert some == {"decision": ["y", "x"], "scores": found["scores"]}

    asked = [{"name": "scores", "parameters": {"classification": 2}}]
    answer, top = decoded(reply(outputs=asked))
    assert answer["outputs"][0]["shape"] == [2, 2]
    assert answer["outputs"][0]["datatype"] == "BYTES"
    assert top["scores"] == ["0.500000:1:y", "0.250000:0:x", "0.750000:0:x", "0.250000:1:y"]
    asked[0]["parameters"] = {"classification": 9, "binary_data": True}
    assert len(decoded(reply(outputs=asked))[1]["scores"]) == 6


def test_the_classes_of_a_binary_model_are_both(speak):
    asked = [{"name": "score", "parameters": {"classification": 1}}]
    answer = decoded(speak(Oip(), {"inputs": inputs(), "outputs": asked}))[1]
    assert [x.split(":")[1:] for x in answer["score"]] == [["1", "yes"], ["0", "no"]]


@pytest.mark.parametrize(
    ("request_", "status", "said"),
    [
        ({"outputs": [{"name": "other"}]}, 400, "it has score, decision, prediction_id"),
        ({"outputs": 3}, 400, "not a list of outputs"),
        ({"outputs": [{"name": ["score"]}]}, 400, "was asked for"),
        ({"outputs": [{"name": "score", "parameters": {"classification": "x"}}]}, 400, "number of"),
        (
            {"outputs": [{"name": "decision", "parameters": {"classification": 1}}]},
            400,
            "no classes",
        ),
        (
            {"outputs": [{"name": "score", "parameters": {"shared_memory_region": "x"}}]},
            501,
            "shared",
        ),
        ({"id": 3}, 400, "id is not a text"),
        ({"parameters": []}, 400, "parameters is not an object"),
    ],
)
def test_what_cannot_be_asked_for(request_, status, said, speak):
    response = speak(Oip(), {"inputs": inputs()} | request_)
    assert (response.status, said in response.body.decode()) == (status, True)


def test_a_raw_body_is_the_one_input_and_answered_in_binary():
    body = struct.pack("<ffff", 1.5, 1, float("nan"), 0)
    rows = Oip().read(Call("/", {HEADER: "0"}, body), NUMBERS)
    assert rows.columns == {"a": [1.5, None], "b": [True, False]}
    assert rows.options.binary
    text = Signature(task="regression", engine="onnx", inputs=(Column(name="t", kind="text"),))
    assert Oip().read(Call("/", {HEADER: "0"}, b"h\xc3\xa9"), text).columns == {"t": ["hé"]}
    both = Signature(task="regression", engine="onnx", inputs=(*NUMBERS.inputs, *text.inputs))
    for signed, data in ((both, body), (text, b"\xff"), (NUMBERS, body[:-1])):
        with pytest.raises(Refusal):
            Oip().read(Call("/", {HEADER: "0"}, data), signed)


@pytest.mark.parametrize("content_type", ["application/octet-stream", "application/json", ""])
def test_no_content_type_is_required_of_json(content_type, speak):
    assert speak(Oip(), {"inputs": inputs()}, {"content-type": content_type}).status == 200


def test_other_formats_are_415(speak):
    response = speak(Oip(), b"1,2", {"content-type": "text/csv"})
    assert response.status == 415
    assert "JSON or binary tensors" in msgspec.json.decode(response.body)["error"]


@pytest.mark.parametrize(
    ("classes", "datatype"),
    [((True, False), "BOOL"), ((1, 2), "INT64"), ((1, 2**70), "BYTES"), (("a", 1), "BYTES")],
)
def test_decisions_have_the_type_of_the_classes(classes, datatype):
    signed = Signature(task="multiclass", engine="onnx", inputs=NUMBERS.inputs, classes=classes)
    assert oip.outputs_of(signed)[1]["datatype"] == datatype
    outputs = Outputs(score=np.array([[0.1, 0.9]], dtype=np.float32), decision=[classes[1]])
    answer = Answer("m", "m@v1", "r1", ("p0",), signed, outputs, oip.Asked(binary=True))
    expected = str(classes[1]) if datatype == "BYTES" else classes[1]
    assert decoded(Oip().write(answer))[1]["decision"] == [expected]
