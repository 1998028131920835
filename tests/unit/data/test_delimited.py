from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.data import delimited
from trimtab.errors import DataError

WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0\ufeff"), max_size=8)


def read(put, content: bytes, name: str = "x.csv"):
    return delimited.read(put(name, content), name)


def refused(put, content: bytes, name: str = "x.csv") -> str:
    with pytest.raises(DataError) as caught:
        read(put, content, name)
    return caught.value.message


def test_every_column_is_text_and_an_empty_field_is_null(put):
    frame = read(put, b"a,b\n1,\n,x\n")
    assert frame.rows() == [("1", None), (None, "x")]


@pytest.mark.parametrize(
    "content",
    [
        b"a,b\r\n1,2\r\n",
        b"\xef\xbb\xbfa,b\n1,2\n",
        b"a;b\n1;2\n",
        b"a\tb\n1\t2",
        b'"a", b \n1,2\n\n',
    ],
)
def test_line_ends_marks_and_separators_are_found_out(content, put):
    frame = read(put, content)
    assert frame.columns == ["a", "b"]
    assert frame.rows() == [("1", "2")]


def test_a_tsv_may_hold_commas(put):
    assert read(put, b"a,b\tc\n1,2\t3\n", "x.tsv").rows() == [("1,2", "3")]


def test_quoted_separators_line_ends_and_quotes_are_text(put):
    frame = read(put, b'a,b\n1,"x\n\ny, z"\n\r\n2,"a 12"" disk"\n')
    assert frame.rows() == [("1", "x\n\ny, z"), ("2", 'a 12" disk')]


def test_a_blank_line_is_a_missing_value_only_where_there_is_one_column(put):
    assert read(put, b"a,b\n\n1,2\n\n").height == 1
    assert read(put, b"a\n1\n\n2\n")["a"].to_list() == ["1", None, "2"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "x.csv is empty"),
        (b"a,b\n", "x.csv has a header and no rows"),
        (b"a,b\n1,2\n1\n3,4\n", "x.csv line 3 has 1 field, the header has 2"),
        (b"a,b\n1,2\n1,2,3\n3,4", "x.csv line 3 has 3 fields, the header has 2"),
        (b'a,b\n1,"x\ny"\n1,2,3\n', "x.csv line 4 has 3 fields, the header has 2"),
        (b'a,b\n1,"x",\n', "x.csv line 2 has 3 fields, the header has 2"),
        (b'a,b\n1,12" disk\n2,3\n', "x.csv line 2: a quote in the middle of a field"),
        (b'a,b\n1,2\n1,"x"y\n', "x.csv line 3: a quote in the middle of a field"),
        (b'a,b\n1,2\n1,"x\n2,3\n', "x.csv line 3: a quote opens and never closes"),
        (b"a,b\n1,2\n1,\xe9\n", "x.csv line 3 is not UTF-8 (byte 0xe9)"),
        (b"a,b\n1,\xe2\x82", "x.csv line 2 is not UTF-8 (byte 0xe2)"),
        (b"\xff\xfea\x00,\x00b\x00", "x.csv is UTF-16, not UTF-8"),
        (b"a,b,a\n1,2,3\n", "x.csv has two columns called 'a'"),
        (b",b\n1,2\n", "x.csv: column 1 of the header has no name"),
        (b"a,b\r1,2\r", "x.csv ends its lines with a lone CR"),
    ],
)
def test_what_is_broken_is_named_with_its_line(content, message, put):
    assert refused(put, content) == message


def test_bytes_are_checked_across_the_borders_of_chunks(put, monkeypatch):
    monkeypatch.setattr(delimited, "_CHUNK", 7)
    rows = "".join(f'{i},"é,\n{i}"\r\n' for i in range(40))
    frame = read(put, f"a,b\n{rows}".encode())
    assert frame.rows() == [(str(i), f"é,\n{i}") for i in range(40)]
    assert refused(put, f"a,b\n{rows}1,2,3\n".encode()).startswith("x.csv line 82 has 3")
    assert refused(put, f"a,b\n{rows}".encode() + b"1,\xff\n") == (
        "x.csv line 82 is not UTF-8 (byte 0xff)"
    )


def test_a_row_is_found_again_on_its_line(put):
    path = put("x.csv", b'a,b\n1,"x\ny"\n\n2,3\n4,5\n')
    assert [delimited.line_of(path, "x.csv", row) for row in range(3)] == [2, 5, 6]


def test_a_return_inside_a_field_is_text_and_shifts_no_line(put):
    path = put("x.csv", b"a,b\nx\ry,1\r\n2,3\n")
    assert delimited.read(path, "x.csv").rows() == [("x\ry", "1"), ("2", "3")]
    assert delimited.line_of(path, "x.csv", 1) == 3


@given(
    header=st.lists(
        st.from_regex(r"[a-z]{1,5}", fullmatch=True), min_size=1, max_size=4, unique=True
    ),
    data=st.data(),
)
def test_what_the_csv_module_writes_is_read_back(tmp_path_factory, header, data):
    row = st.lists(WORDS, min_size=len(header), max_size=len(header))
    rows = data.draw(st.lists(row, min_size=1, max_size=6))
    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows([header, *rows])
    path = Path(tmp_path_factory.mktemp("csv")) / "x.csv"
    path.write_bytes(out.getvalue().encode())
    frame = delimited.read(path, "x.csv")
    assert frame.columns == header
    assert [list(found) for found in frame.rows()] == rows
    line = 2
    for position, written in enumerate(rows):
        assert delimited.line_of(path, "x.csv", position) == line
        line += 1 + sum(cell.count("\n") for cell in written)
