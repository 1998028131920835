"""Figures, tables and models as files. A library is used where the user has made its object, and
never loaded to ask whether one is its own.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from trimtab import plugins
from trimtab.errors import NotFoundError, UsageError

_GAPS: Final = ("NaTType", "NAType")
# An upper layer's, named by text: a process that only logs loads it for its first model.
for _name in ("estimator", "candidate"):
    plugins.register("codecs", _name, f"trimtab.model.codec:{_name.upper()}")


def figure(value: Any, name: str) -> tuple[str, bytes]:
    """A figure's file name and bytes; raises UsageError for what is none."""
    if isinstance(value, (bytes, bytearray)):
        return name, bytes(value)
    if _is_of(value, "plotly"):
        stem = Path(name).stem
        if name.endswith(".html"):
            return name, str(value.to_html()).encode()
        return f"{stem}.plotly.json", str(value.to_json()).encode()
    value = _figure_of(value)
    if not hasattr(value, "savefig"):
        raise UsageError(
            f"{type(value).__name__} is no figure",
            hint="give a matplotlib or plotly figure, or the bytes of a picture",
        )
    name = name if Path(name).suffix else f"{name}.png"
    stream = io.BytesIO()
    try:
        value.savefig(stream, format=Path(name).suffix[1:])
    except ValueError as error:  # matplotlib lists the formats that it has
        raise UsageError(f"{name} could not be drawn: {error}") from error
    return name, stream.getvalue()


def _figure_of(value: Any) -> Any:
    """The figure that axes, what is drawn on them, or several of either belong to."""
    several = list(getattr(value, "flat", value if isinstance(value, (list, tuple)) else ()))
    one = several[0] if several else value
    return one if hasattr(one, "savefig") else getattr(one, "figure", one)


def table(value: Any, name: str) -> tuple[str, bytes]:
    """A table's file name and bytes: Parquet of a polars frame, else its columns as JSON."""
    stem = name.removesuffix(".json").removesuffix(".parquet")
    if _is_of(value, "polars"):
        stream = io.BytesIO()
        (value.collect() if hasattr(value, "collect") else value).write_parquet(stream)
        return f"{stem}.parquet", stream.getvalue()
    return f"{stem}.json", msgspec.json.encode({"columns": _columns(value)}, enc_hook=_plain)


@contextmanager
def model(value: Any, file: str) -> Iterator[Path]:
    """A folder with a model's files, there for the block.

    Raises NotFoundError for a path where nothing is, UsageError for what is no model.
    """
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        if isinstance(value, (bytes, bytearray)):
            (folder / Path(file).name).write_bytes(value)
        elif hasattr(value, "SerializeToString"):
            (folder / Path(file).name).write_bytes(value.SerializeToString())
        elif isinstance(value, (str, Path)):
            source = Path(value)
            if source.is_dir():
                yield source
                return
            if not source.is_file():
                raise NotFoundError(f"there is no file or folder {source}")
            (folder / source.name).write_bytes(source.read_bytes())
        else:
            _codec(value).write(value, folder)
        yield folder


def _codec(value: Any) -> Any:
    """The codec of a fitted estimator, by the port that upper layers register theirs at."""
    for name in plugins.names("codecs"):
        codec = plugins.get("codecs", name)
        if name in {"estimator", "candidate"} and codec.matches(value):
            return codec
    raise UsageError(
        f"a model of type {type(value).__name__} cannot be stored",
        hint="give a fitted scikit-learn estimator, ONNX bytes, or the path of a file",
    )


def _columns(value: Any) -> dict[str, list[Any]]:
    if _is_of(value, "pandas"):
        value = _of_pandas(value)
    if isinstance(value, list) and all(isinstance(one, Mapping) for one in value):
        names = list(dict.fromkeys(name for one in value for name in one))
        value = {name: [one.get(name) for one in value] for name in names}
    if not isinstance(value, Mapping):
        raise UsageError(
            f"{type(value).__name__} is no table",
            hint="give a dict of columns, a list of dicts, or a polars or pandas DataFrame",
        )
    found = {str(name): _listed(name, column) for name, column in value.items()}
    lengths = {name: len(column) for name, column in found.items()}
    if len(set(lengths.values())) > 1:
        raise UsageError(f"the columns of a table have different lengths: {lengths}")
    return found


def _of_pandas(value: Any) -> dict[str, Any]:
    """The columns of a frame or of a series, and its index where that has names."""
    frame = value.to_frame() if hasattr(value, "to_frame") else value
    if any(name is not None for name in frame.index.names):
        frame = frame.reset_index()
    names = [str(name) for name in frame.columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"the table has several columns {twice[0]!r}", hint="give each a name")
    return {name: frame.iloc[:, place].tolist() for place, name in enumerate(names)}


def _listed(name: Any, column: Any) -> list[Any]:
    if hasattr(column, "tolist"):
        column = column.tolist()
    try:
        return list(column)
    except TypeError:
        raise UsageError(f"column {name!r} of a table is no sequence: {column!r}") from None


def _plain(value: Any) -> Any:
    """A cell of a foreign kind: numpy's numbers as Python's, pandas' gaps as null, the rest as text."""
    if type(value).__name__ in _GAPS:
        return None
    item = getattr(value, "item", None)
    return item() if item is not None else str(value)


def _is_of(value: Any, library: str) -> bool:
    return any(one.__module__.partition(".")[0] == library for one in type(value).__mro__)
