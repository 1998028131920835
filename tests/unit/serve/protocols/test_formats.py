import csv
import io
import json
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from trimtab.errors import InputError, TrimtabError
from trimtab.model.signature import Column, Signature
from trimtab.serve.answer import Call
from trimtab.serve.protocols import arrow, bodies, formats, parse
from trimtab.serve.protocols.formats import CONTENT_TYPES, PLAIN, Form
from trimtab.serve.reply import Refusal

SIGNED = Signature(
    task="regression",
    engine="onnx",
    inputs=(
        Column(name="income", kind="number", nullable=True),
        Column(name="debt", kind="number"),
        Column(name="owner", kind="boolean", nullable=True),
        Column(name="purpose", kind="text"),
        Column(name="region", kind="text", nullable=True),
    ),
    context=(Column(name="group", kind="text"),),
)
NAMES = [c.name for c in (*SIGNED.inputs, *SIGNED.context)]
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=8)
SOME_TEXT = TEXT.filter(bool)
ROW = st.tuples(
    st.none() | NUMBER,
    NUMBER,
    st.none() | st.booleans(),
    TEXT,
    st.none() | SOME_TEXT,
    st.none() | SOME_TEXT,
)
TABLES = st.lists(ROW, min_size=1, max_size=6)


def columns_of(table):
    return dict(zip(NAMES, map(list, zip(*table, strict=True)), strict=True))


def read(kind, body, signature=SIGNED, header=None):
    return formats.read(Form(kind, header), body, signature)[0]


def as_csv(table, *, header):
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    if header:
        writer.writerow(NAMES)
    for row in table:
        cells = [str(x).lower() if isinstance(x, bool) else x for x in row]
        writer.writerow(["" if x is None else x for x in cells])
    return text.getvalue().encode()


def as_arrow(table, *, dictionaries=False, **options):
    made = pa.table(typed_arrays(table))
    if dictionaries:
        for name in ("purpose", "region", "group"):
            place = made.column_names.index(name)
            made = made.set_column(place, name, made.column(name).dictionary_encode())
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, made.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(made, max_chunksize=2)
    return sink.getvalue()


def as_parquet(table, **options):
    sink = io.BytesIO()
    parquet.write_table(pa.table(typed_arrays(table)), sink, **options)
    return sink.getvalue()


def typed_arrays(table):
    kinds = [pa.float64(), pa.float64(), pa.bool_(), pa.string(), pa.large_string(), pa.string()]
    columns = columns_of(table).items()
    return {name: pa.array(cells, kind) for (name, cells), kind in zip(columns, kinds, strict=True)}


@given(TABLES)
def test_every_format_gives_the_rows_that_json_gives(table):
    expected = columns_of(table)
    by_json = json.dumps({"columns": expected}).encode()
    assert bodies.read(Call("/", {}, by_json), SIGNED).columns == expected
    for kind, body in (
        ("csv", as_csv(table, header=True)),
        ("csv", as_csv(table, header=False)),
        ("arrow", as_arrow(table)),
        ("arrow", as_arrow(table, dictionaries=True)),
        ("parquet", as_parquet(table)),
    ):
        rows = read(kind, body)
        assert rows.columns == expected, kind
        assert rows.count == len(table)


FORMS = st.sampled_from(
    [*CONTENT_TYPES.values(), "", "application/x-yaml", "text/csv; header=absent"]
)


def bodies_of_every_kind():
    table = [(1.0, -2.5, True, "car", None, "g"), (None, 0.0, False, "home", "n", None)]
    array = io.BytesIO()
    np.save(array, np.ones((2, 5)))
    return [
        as_csv(table, header=True), as_arrow(table), as_arrow(table, dictionaries=True),
        as_parquet(table), array.getvalue(),
        json.dumps({"instances": table}).encode(),
        json.dumps({"inputs": [{"name": "debt", "shape": [1], "datatype": "FP32", "data": [1]}]}).encode(),
    ]  # fmt: skip


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    FORMS,
    st.binary(max_size=60)
    | st.builds(
        lambda body, place, byte, end: (
            body[: place % len(body)] + byte + body[place % len(body) + len(byte) :]
        )[: end or None],
        st.sampled_from(bodies_of_every_kind()),
        st.integers(0, 10_000),
        st.binary(max_size=3),
        st.integers(-40, 0),
    ),
)
def test_a_damaged_body_is_read_or_refused_and_nothing_else(content_type, body):
    try:
        rows = bodies.read(Call("/", {"content-type": content_type}, body), SIGNED)
        parse.Checker(SIGNED).check(rows)
    except (Refusal, InputError) as error:
        status = getattr(error, "status", 422)
        assert status in (400, 413, 415, 422)


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_compressed_buffers_of_arrow_are_refused_before_they_are_inflated(compression):
    table = [(1.0, 2.0, True, "car" * 50, None, None)] * 9
    for dictionaries in (False, True):
        with pytest.raises(Refusal, match="compressed") as refused:
            read("arrow", as_arrow(table, compression=compression, dictionaries=dictionaries))
        assert refused.value.status == 415


def test_few_bytes_of_parquet_that_are_many_texts_stay_few():
    text = "x" * 1_000_000
    sink = io.BytesIO()
    indices = pa.array([0] * 9_000, pa.int32())
    many = pa.table({"purpose": pa.DictionaryArray.from_arrays(indices, pa.array([text]))})
    parquet.write_table(many, sink, compression="zstd")
    assert len(sink.getvalue()) < 10_000
    cells = read("parquet", sink.getvalue()).columns["purpose"]
    assert len(cells) == 9_000
    assert len({id(x) for x in cells}) < 10
    assert sys.getsizeof(cells[0]) > 1_000_000


@pytest.mark.parametrize("kind", ["arrow", "parquet"])
def test_more_rows_than_the_limit_are_413(kind):
    table = pa.table({"debt": pa.array(np.zeros(10_001, dtype=np.int8))})
    sink = io.BytesIO()
    if kind == "parquet":
        parquet.write_table(table, sink)
    else:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    with pytest.raises(Refusal) as refused:
        read(kind, sink.getvalue())
    assert refused.value.status == 413


def test_rows_times_columns_are_limited():
    table = pa.table({f"c{i}": pa.nulls(10_000) for i in range(2_001)})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(Refusal, match="too many"):
        read("arrow", sink.getvalue())


@pytest.mark.parametrize(
    ("array", "cells"),
    [
        (pa.array([1.5, float("nan"), None]), [1.5, None, None]),
        (pa.array([1, None], pa.uint8()), [1, None]),
        (pa.array([1.5], pa.float16()), [1.5]),
        (pa.array(["a", None, "a"]).dictionary_encode(), ["a", None, "a"]),
        (pa.array([None, None]), [None, None]),
        (pa.array([150], pa.int64()).cast(pa.decimal128(19, 0)), [150.0]),
        (pa.array([0, None], pa.timestamp("us", tz="UTC")), ["1970-01-01T00:00:00Z", None]),
        (pa.array([1], pa.date32()), ["1970-01-02"]),
    ],
)
def test_types_of_arrow_as_cells(array, cells):
    sink = io.BytesIO()
    table = pa.table({"debt": array})
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    assert read("arrow", sink.getvalue()).columns == {"debt": cells}


@pytest.mark.parametrize("array", [pa.array([[1]]), pa.array([{"a": 1}]), pa.array([b"x"])])
def test_types_that_no_column_takes_are_named(array):
    sink = io.BytesIO()
    table = pa.table({"debt": array})
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(InputError, match="'debt' is"):
        read("arrow", sink.getvalue())


def test_the_index_of_pandas_is_left_out():
    sink = io.BytesIO()
    parquet.write_table(pa.table({"debt": [1.0], "__index_level_0__": [7]}), sink)
    assert read("parquet", sink.getvalue()).columns == {"debt": [1.0]}


def test_without_pyarrow_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(arrow.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Refusal) as refused:
        formats.sent(CONTENT_TYPES["parquet"])
    assert refused.value.status == 415
    assert "trimtab[arrow]" in refused.value.hint
    with pytest.raises(Refusal) as refused:
        formats.wanted(CONTENT_TYPES["arrow"])
    assert refused.value.status == 406
    assert formats.wanted(f"{CONTENT_TYPES['arrow']};q=0.5, text/csv").kind == "csv"


@pytest.mark.parametrize(
    ("body", "header", "expected"),
    [
        ("1,2,true,car,n\n", False, [1.0, 2.0, True, "car", "n"]),
        ("1,2,true,car,n", False, [1.0, 2.0, True, "car", "n"]),
        ("\ufeff1,2,TRUE,car,n\r\n\r\n", False, [1.0, 2.0, True, "car", "n"]),
        (",2,0,car,", False, [None, 2.0, False, "car", None]),
        (' 1 ,2e3,1,"a,""b""\nc",n', False, [1.0, 2000.0, True, 'a,"b"\nc', "n"]),
        ("debt,income,purpose,region,owner\n2,1,car,n,true", True, [1.0, 2.0, True, "car", "n"]),
        ("nan,inf,yes,,n", False, ["nan", "inf", "yes", "", "n"]),
        ("\u0661\u0662,\uff12,,car,n", False, ["\u0661\u0662", "\uff12", None, "car", "n"]),
        ("\u00a01,2\u2003,,car,n", False, ["\u00a01", "2\u2003", None, "car", "n"]),
        ("1_0,two,,car,n", False, ["1_0", "two", None, "car", "n"]),
    ],
)
def test_csv(body, header, expected):
    rows, found = formats.read(Form("csv"), body.encode(), SIGNED)
    assert [rows.columns[c.name][0] for c in SIGNED.inputs] == expected
    assert found.header == header


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"1,2,3\n", "3 cells, the model takes 5"),
        (b"1,2,true,car,n\n1,2\n", "row 1 has 2 cells"),
        (b"1,2,true,car,n\n\n1,2,true,car,n\n", "row 1 has 0 cells"),
        (b"income,debt,debt,owner\n1,2,3,4\n", "same name"),
        (b'"1,2\n', "not CSV"),
        (b"\xff\xfe", "not UTF-8"),
        (b'1,2,true,"' + b"x" * 200_000 + b'",n', "not CSV"),
        (b"1\n" * 10_001, "10,001 rows"),
    ],
)
def test_bad_csv(body, said):
    with pytest.raises((Refusal, InputError), match=said):
        read("csv", body)


def test_what_the_header_line_is_may_be_said():
    body = b"income,debt,owner,purpose,region\n"
    assert read("csv", body, header=True).count == 0
    assert read("csv", body, header=False).columns["purpose"] == ["purpose"]
    assert formats.sent("text/csv; header=present; charset=UTF-8") == Form("csv", header=True)


@pytest.mark.parametrize(
    "content_type",
    ["", "application/json", "application/json; charset=utf-8", "APPLICATION/JSON;charset=UTF-8",
     "application/vnd.api+json", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded"],
)  # fmt: skip
def test_json_is_json_by_many_names(content_type):
    assert formats.sent(content_type) == PLAIN


@pytest.mark.parametrize(
    "content_type",
    ["application/xml", "nonsense", "application/json; charset=latin-1", "multipart/form-data",
     "application/json; something=something", "text/csv; header=maybe", ";" * 5000],
)  # fmt: skip
def test_other_types_are_415_and_the_hint_lists_ours(content_type):
    with pytest.raises(Refusal) as refused:
        formats.sent(content_type)
    assert refused.value.status == 415
    assert refused.value.hint


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "json"),
        ("*/*", "json"),
        ("application/json", "json"),
        ("text/csv", "csv"),
        ("text/*", "csv"),
        ("text/csv;q=0.5, application/json", "json"),
        ("text/html, application/xml;q=0.9, */*;q=0.8", "json"),
        ("text/html", "json"),
        ("text/csv;q=0, application/vnd.apache.parquet;q=0.1", "parquet"),
        ("text/csv;q=x", "json"),
        ("application/vnd.apache.arrow.stream", "arrow"),
        ("application/x-npy", "npy"),
        ("," * 5000, "json"),
    ],
)
def test_the_reply_is_what_the_client_likes_best(accept, kind):
    assert formats.wanted(accept).kind == kind


def saved(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_arrays_are_columns_by_position():
    body = saved(np.array([[1, 2, 1], [np.nan, 3, 0]]))
    signed = Signature(task="regression", engine="onnx", inputs=SIGNED.inputs[:3])
    expected = {"income": [1.0, None], "debt": [2.0, 3.0], "owner": [True, False]}
    assert read("npy", body, signed).columns == expected
    assert (
        read("npy", saved(np.asfortranarray([[1.0, 2, 1], [np.nan, 3, 0]])), signed).columns
        == expected
    )
    assert read("npy", saved(np.array([1.0, 2, 1])), signed).count == 1
    texts = Signature(task="regression", engine="onnx", inputs=SIGNED.inputs[3:])
    for made in (np.array([["a", ""]]), np.array([[b"a", b""]])):
        assert read("npy", saved(made), texts).columns == {"purpose": ["a"], "region": [None]}


def test_arrays_with_fields_are_columns_by_name():
    made = np.array([(2.0, True, "car")], dtype=[("debt", "f4"), ("owner", "?"), ("purpose", "U5")])
    assert read("npy", saved(made)).columns == {"debt": [2.0], "owner": [True], "purpose": ["car"]}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x93NUMPY",
        saved(np.array([{}], dtype=object)),
        saved(np.ones(3)).replace(b"(3,)", b"(9,)"),
        saved(np.ones(3))[:-1],
    ],
)
def test_arrays_that_are_none_are_400(body):
    with pytest.raises(Refusal) as refused:
        read("npy", body)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "made", [np.ones((2, 4)), np.ones((2, 2, 5)), np.ones((1, 5), dtype="c16")]
)
def test_arrays_of_other_shapes_and_types_are_422(made):
    with pytest.raises(InputError):
        read("npy", saved(made))


@given(st.binary(max_size=300))
def test_any_bytes_are_no_array(body):
    for start in (b"", b"\x93NUMPY\x01\x00", b"\x93NUMPY\x02\x00", b"\x93NUMPY\x03\x00"):
        with pytest.raises(TrimtabError):
            read("npy", start + body)
