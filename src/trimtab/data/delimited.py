"""CSV and TSV as strings: strict about structure, silent about meaning.

Every record must have as many fields as the header (RFC 4180 quoting, UTF-8). polars fills a short
record with nulls, so fields are counted here first; what breaks is named by file and line. Blank
lines are skipped. Types are left to `trimtab.data.columns`.
"""

from __future__ import annotations

import csv
import mmap
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trimtab.errors import DataError

_CHUNK: Final = 1 << 23
_BOM: Final = b"\xef\xbb\xbf"
_MIDDLE: Final = "a quote in the middle of a field"
_SEPARATORS: Final = (",", ";", "\t", "|")

Bytes = NDArray[np.uint8]


def read(path: Path, name: str) -> pl.DataFrame:
    """A file as a frame of String columns, empty fields as null; raises DataError naming the line."""
    _check_text(path, name)
    header, separator = head(path, name)
    records, blank = _check_fields(path, name, separator, len(header))
    try:
        frame = pl.read_csv(
            path,
            separator=separator,
            infer_schema=False,
            new_columns=header,
            has_header=True,
            glob=False,
        )
    except pl.exceptions.PolarsError as error:
        raise _malformed(path, name, separator, str(error)) from error
    if frame.height != records:
        raise _malformed(path, name, separator, "its quotes do not pair up")
    if len(header) > 1 and len(blank):
        keep = np.ones(frame.height, dtype=bool)
        keep[blank] = False
        frame = frame.filter(pl.Series(keep))
    if not frame.height:
        raise DataError(f"{name} has a header and no rows", hint="check the export that wrote it")
    return frame


def line_of(path: Path, name: str, row: int) -> int:
    """The line, counted from 1, on which data row `row`, counted from 0, starts."""
    _, separator = head(path, name)
    with _mapped(path) as data:
        lines = (line for line, _, empty in _records(data, separator) if not empty)
        try:
            return next(islice(lines, row + 1, None))
        except (StopIteration, _Broken):
            return row + 2  # polars took a quote that RFC 4180 forbids


def _check_text(path: Path, name: str) -> None:
    """Refuse an empty file and bytes that are not UTF-8."""
    if not path.stat().st_size:
        raise DataError(f"{name} is empty", hint="check the export that wrote it")
    with _mapped(path) as data:
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise DataError(f"{name} is UTF-16, not UTF-8", hint="save it as UTF-8")
        start = 0
        while start < len(data):
            block = data[start : start + _CHUNK]
            cut = _whole_characters(block) if start + len(block) < len(data) else len(block)
            try:
                block[:cut].decode("utf-8")
            except UnicodeDecodeError as error:
                line = _newlines(data, start + error.start) + 1
                byte = data[start + error.start]
                raise DataError(
                    f"{name} line {line} is not UTF-8 (byte 0x{byte:02x})",
                    hint=f"convert it: iconv -f LATIN1 -t UTF-8 {path.name}",
                ) from error
            start += cut


def _whole_characters(block: bytes) -> int:
    """The length of `block` without a character that is cut off at its end."""
    for back in range(1, min(4, len(block)) + 1):
        byte = block[-back]
        if byte < 0x80:
            return len(block)
        if byte >= 0xC0:
            return len(block) - back
    return len(block)


def head(path: Path, name: str) -> tuple[list[str], str]:
    """Column names, stripped, and the separator: the likeliest of comma, semicolon, tab and bar."""
    with path.open("rb") as stream:
        first = stream.readline(_CHUNK).removeprefix(_BOM)
    if b"\r" in first.rstrip(b"\r\n"):
        raise DataError(f"{name} ends its lines with a lone CR", hint="save it with LF line ends")
    text = first.decode("utf-8", errors="replace").rstrip("\r\n")
    bare = re.sub(r'"[^"]*"', "", text)
    separator = "\t" if path.suffix == ".tsv" or name.endswith(".tsv") else ","
    if separator not in bare:
        separator = max(_SEPARATORS, key=bare.count) if any(map(bare.count, _SEPARATORS)) else ","
    try:
        fields = [field.strip() for field in next(csv.reader([text], delimiter=separator), [""])]
    except csv.Error as error:
        raise DataError(f"{name}: the header cannot be read: {error}") from error
    for position, column in enumerate(fields):
        if not column:
            raise DataError(
                f"{name}: column {position + 1} of the header has no name",
                hint="name it, or leave it out (pandas: to_csv(..., index=False))",
            )
        if column in fields[:position]:
            raise DataError(f"{name} has two columns called {column!r}", hint="rename one of them")
    return fields, separator


def _check_fields(
    path: Path, name: str, separator: str, width: int
) -> tuple[int, NDArray[np.int64]]:
    """The number of data rows and which of them are blank; DataError on one of another width.

    Counts separators and line ends outside quotes, where a quote flips inside and outside: exact
    for well-formed files, and what it takes for ill-formed is looked at again byte by byte.
    """
    blank: list[NDArray[np.int64]] = []
    records = 0
    with _mapped(path) as data:
        for widths, empty in _counted(data, separator):
            wrong = (widths != width) & ~empty
            if wrong.any():
                raise _wrong_width(data, name, separator, width)
            blank.append(np.flatnonzero(empty) + records)
            records += len(widths)
    return records - 1, np.concatenate(blank) - 1


def _counted(
    data: mmap.mmap, separator: str
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
    """Per chunk of whole records: the number of fields of each, and which are blank lines."""
    start, inside, seen, length = 0, False, 0, 0
    while start < len(data):
        raw: Bytes = np.frombuffer(data[start : start + _CHUNK], dtype=np.uint8)
        start += len(raw)
        if start == len(data) and raw[-1] != 10:
            raw = np.append(raw, np.uint8(10))
        outside = np.ones(len(raw), dtype=bool)
        quotes = raw == 34
        if inside or quotes.any():
            outside = ~(np.logical_xor.accumulate(quotes) ^ inside)
            inside = not outside[-1]
        ends = np.flatnonzero((raw == 10) & outside)
        cuts = np.flatnonzero((raw == ord(separator)) & outside)
        before = np.searchsorted(cuts, ends)
        widths = np.diff(before, prepend=0) + 1
        lengths = np.diff(ends, prepend=-1) - 1
        if len(ends):
            widths[0] += seen
            lengths[0] += length
            carriage = (raw[ends - 1] == 13) & (lengths > 0)
            seen, length = len(cuts) - int(before[-1]), len(raw) - 1 - int(ends[-1])
            yield widths, (lengths - carriage) == 0
        else:
            seen, length = seen + len(cuts), length + len(raw)


def _records(data: mmap.mmap, separator: str) -> Iterator[tuple[int, int, bool]]:
    """(first line, fields, blank) of each record, one by one; raises _Broken at a misplaced quote."""
    mark = re.escape(separator.encode())
    token = re.compile(rb'"(?:[^"]|"")*"|[^"\n' + mark + rb"]+|" + mark + rb'|\n|"')
    line, first, fields, last, empty = 1, 1, 1, b"", True
    start = len(_BOM) if data[:3] == _BOM else 0
    for found in token.finditer(data, start):
        piece = found[0]
        if piece == b"\n":
            yield first, fields, empty
            line += 1
            first, fields, last, empty = line, 1, b"", True
        elif piece == separator.encode():
            fields, last, empty = fields + 1, b"", False
        elif piece != b"\r":
            if last:
                raise _Broken(line, _MIDDLE)
            if piece == b'"':
                raise _Broken(line, "a quote opens and never closes")
            last, empty = piece, False
            line += piece.count(b"\n")
    if not empty:
        yield first, fields, empty


class _Broken(Exception):
    """A quote where none may stand; callers turn it into a DataError."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line = line


def _wrong_width(data: mmap.mmap, name: str, separator: str, width: int) -> DataError:
    hint = "a text that holds the separator or a line end must stand in double quotes"
    try:
        for line, fields, empty in _records(data, separator):
            if fields != width and not empty:
                count = "1 field" if fields == 1 else f"{fields} fields"
                return DataError(
                    f"{name} line {line} has {count}, the header has {width}", hint=hint
                )
    except _Broken as broken:
        return DataError(f"{name} line {broken.line}: {broken}", hint=hint)
    return DataError(f"{name} cannot be split into rows of {width} fields", hint=hint)


def _malformed(path: Path, name: str, separator: str, message: str) -> DataError:
    with _mapped(path) as data:
        try:
            for _ in _records(data, separator):
                pass
        except _Broken as broken:
            return DataError(
                f"{name} line {broken.line}: {broken}",
                hint='write a quote inside a text twice: "a 12"" disk"',
            )
    return DataError(f"{name} cannot be read: {message.splitlines()[0]}")


def _newlines(data: mmap.mmap, end: int) -> int:
    return sum(data[at : min(at + _CHUNK, end)].count(b"\n") for at in range(0, end, _CHUNK))


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    # Left to the reference count: an unfinished search over it forbids closing.
    with path.open("rb") as stream:
        yield mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
