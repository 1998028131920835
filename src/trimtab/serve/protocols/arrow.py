"""Arrow streams and Parquet files as tables of requests and replies; needs the extra `arrow`.

A body is refused by what it says of itself (types, rows, sizes) before its cells are read, so that
a few bytes cannot become gigabytes.
"""

from __future__ import annotations

import datetime
import importlib.util
import struct
from typing import Any, Final, Literal

import numpy as np

from trimtab.errors import InputError, TrimtabError
from trimtab.serve.protocols import parse
from trimtab.serve.reply import Refusal

MAX_PARQUET: Final = 256 << 20
MAX_CELLS: Final = 20_000_000
_COMPRESSION: Final = 3  # the field of RecordBatch in Arrow's Message.fbs
_EXTRA: Final = "arrow"


def require(status: Literal[406, 415]) -> None:
    """Raises Refusal of that status where pyarrow is not installed."""
    if importlib.util.find_spec("pyarrow") is None:
        raise Refusal(
            status,
            "content_type" if status == 415 else "not_acceptable",
            "Arrow and Parquet are not spoken here: pyarrow is not installed",
            hint=f"pip install 'trimtab[{_EXTRA}]' where the model is served, or use JSON or CSV",
        )


def read(kind: str, body: bytes) -> dict[str, list[Any]]:
    """The columns of an Arrow stream or a Parquet file.

    Raises Refusal 400 where it is malformed, 413 where it is too large, InputError for a type that
    no column takes.
    """
    try:
        table = _parquet(body) if kind == "parquet" else _stream(body)
        return {name: _cells(table.column(i)) for i, name in enumerate(table.column_names)}
    except TrimtabError:
        raise
    except Exception as error:  # pyarrow raises its own classes, OSError, ValueError and KeyError
        what = "a Parquet file" if kind == "parquet" else "an Arrow stream"
        raise Refusal(400, "bad_body", f"the body is not {what}: {type(error).__name__}") from None


def write(kind: str, columns: dict[str, Any]) -> bytes:
    """Columns (lists or arrays) as an Arrow stream or a Parquet file."""
    import pyarrow as pa  # noqa: PLC0415 - an extra

    table = pa.table(columns)
    sink = pa.BufferOutputStream()
    if kind == "parquet":
        from pyarrow import parquet  # noqa: PLC0415 - an extra

        parquet.write_table(table, sink, compression="zstd")
    else:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    found: bytes = sink.getvalue().to_pybytes()
    return found


def _stream(body: bytes) -> Any:
    import pyarrow as pa  # noqa: PLC0415 - an extra

    for message in pa.ipc.MessageReader.open_stream(body):
        if _is_compressed(message.metadata.to_pybytes()):
            raise Refusal(
                415,
                "content_type",
                "the Arrow stream's buffers are compressed",
                hint="send them plain, and the whole body with content-encoding zstd or gzip",
            )
    reader = pa.ipc.open_stream(body)
    _check_types(reader.schema)
    batches, count = [], 0
    for batch in reader:
        count += batch.num_rows
        _check_size(count, len(reader.schema))
        batch.validate(full=True)
        batches.append(batch)
    return pa.Table.from_batches(batches, reader.schema)


def _parquet(body: bytes) -> Any:
    import pyarrow as pa  # noqa: PLC0415 - an extra
    from pyarrow import parquet  # noqa: PLC0415 - an extra

    file = parquet.ParquetFile(pa.BufferReader(body))
    about, schema = file.metadata, file.schema_arrow
    _check_types(schema)
    _check_size(about.num_rows, len(schema))
    size = sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))
    if size > MAX_PARQUET:
        raise Refusal(413, "body_too_large", "the Parquet file is too large once decompressed")
    # Read as dictionaries, a text that many rows share is held once.
    texts = [field.name for field in schema if _is_text(field.type)]
    file = parquet.ParquetFile(pa.BufferReader(body), read_dictionary=texts)
    return file.read(use_threads=False)


def _check_size(rows: int, columns: int) -> None:
    """Columns of few bytes may claim any number of rows."""
    parse.check_count(rows)
    if rows * columns > MAX_CELLS:
        raise Refusal(413, "body_too_large", f"{rows:,} rows of {columns:,} columns are too many")


def _check_types(schema: Any) -> None:
    import pyarrow as pa  # noqa: PLC0415 - an extra

    types = pa.types
    if len(set(schema.names)) != len(schema.names):
        raise InputError("two columns have the same name", hint="name each column once")
    for field in schema:
        kind = field.type
        inner = kind.value_type if types.is_dictionary(kind) else kind
        taken = (
            _is_text(inner)
            or types.is_integer(inner)
            or types.is_floating(inner)
            or types.is_boolean(inner)
            or types.is_null(inner)
            or types.is_decimal(inner)
            or types.is_date(inner)
            or types.is_timestamp(inner)
        )
        if not taken:
            raise InputError(
                f"column {field.name[:80]!r} is {str(kind)[:40]}, which no column of a model takes",
                column=field.name[:80],
            )


def _is_text(kind: Any) -> bool:
    import pyarrow as pa  # noqa: PLC0415 - an extra

    types = pa.types
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _cells(column: Any) -> list[Any]:
    """A column as a list; NaN is missing, as it is in the libraries that write such files."""
    import pyarrow as pa  # noqa: PLC0415 - an extra

    types, kind = pa.types, column.type
    if types.is_dictionary(kind):
        cells: list[Any] = []
        for chunk in column.chunks:
            values = _cells(pa.chunked_array([chunk.dictionary]))
            cells += [None if i is None else values[i] for i in chunk.indices.to_pylist()]
        return cells
    cells = column.to_pylist()
    if types.is_floating(kind):
        numbers = np.array(cells, dtype=np.float64)  # null becomes NaN as well
        return [None if x != x else x for x in numbers.tolist()]  # noqa: PLR0124 - NaN alone
    if types.is_decimal(kind):
        return [None if x is None else float(x) for x in cells]
    if types.is_date(kind) or types.is_timestamp(kind):
        return [_moment(x) for x in cells]
    return cells


def _moment(value: Any) -> Any:
    """A date or time as RFC 3339 text; a column of texts or the context may hold it."""
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        return value.astimezone(datetime.UTC).isoformat().replace("+00:00", "Z")
    return None if value is None else value.isoformat()


def _is_compressed(message: bytes) -> bool:
    """Whether a message of an Arrow stream holds compressed buffers.

    Reads the flatbuffer's tables by hand (arrow/format/Message.fbs), as pyarrow would decompress
    before it can be asked.
    """
    header = _field(message, struct.unpack_from("<I", message, 0)[0], 2)
    kind = _field(message, struct.unpack_from("<I", message, 0)[0], 1)
    if not header or not kind or message[kind] not in (2, 3):
        return False
    table = header + struct.unpack_from("<I", message, header)[0]
    if message[kind] == 2:  # a dictionary: its record batch is the field `data`
        data = _field(message, table, 1)
        if not data:
            return False
        table = data + struct.unpack_from("<I", message, data)[0]
    return _field(message, table, _COMPRESSION) != 0


def _field(message: bytes, table: int, number: int) -> int:
    """Where a field of a flatbuffer's table is, 0 where it is absent."""
    vtable = table - struct.unpack_from("<i", message, table)[0]
    size: int = struct.unpack_from("<H", message, vtable)[0]
    place = 4 + 2 * number
    if place + 2 > size:
        return 0
    offset: int = struct.unpack_from("<H", message, vtable + place)[0]
    return table + offset if offset else 0
