import math

import pytest

from trimtab.cli import predict
from trimtab.errors import DataError, NotFoundError
from trimtab.model.signature import Column, Signature

SIGNATURE = Signature(
    task="regression",
    engine="onnx",
    inputs=(
        Column(name="rooms", kind="number", nullable=True),
        Column(name="zip", kind="text"),
        Column(name="garden", kind="boolean"),
    ),
    context=(Column(name="id", kind="text"),),
)


def read(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    return predict._known(predict._read(tmp_path / name, 10, SIGNATURE), SIGNATURE)


def test_a_csv_is_read_as_the_model_needs_it(tmp_path, capsys):
    rows = read(tmp_path, "x.csv", "id,zip,rooms,garden,price\n7,1000,,true,5\n8,0999,3,false,6\n")
    assert rows == [
        {"id": "7", "zip": "1000", "rooms": None, "garden": True},
        {"id": "8", "zip": "0999", "rooms": 3, "garden": False},
    ]
    assert "price" in capsys.readouterr().err


@pytest.mark.parametrize("text", ['{"rooms": 3, "zip": 1000}', '[{"rooms": 3, "zip": "1000"}]'])
def test_json_is_one_row_or_many(tmp_path, text):
    assert read(tmp_path, "x.json", text) == [{"rooms": 3, "zip": "1000"}]


@pytest.mark.parametrize("text", ["{", "[3]", "3", '"a"'])
def test_json_that_holds_no_rows_is_refused(tmp_path, text):
    with pytest.raises(DataError):
        read(tmp_path, "x.json", text)


def test_a_file_that_is_not_there_says_so(tmp_path):
    with pytest.raises(NotFoundError):
        predict._read(tmp_path / "nothing.json", 10, SIGNATURE)


def test_cells_are_what_json_has():
    assert predict._plain(math.nan) is None
    assert predict._plain(3.5) == 3.5


def test_the_endpoint_s_refusal_names_row_and_column():
    said = b'{"error": {"code": "input", "message": "no", "hint": "h", "row": 2, "column": "zip"}}'
    error = predict._refused(422, said)
    assert error.message == "no (row 2) (column zip)"
    assert error.hint == "h"
    assert predict._refused(502, b"<html>").message == "the endpoint answered 502"
