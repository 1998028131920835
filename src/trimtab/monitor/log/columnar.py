"""Logged answers as Parquet: frames to typed columns, and back to rows for whoever measures.

One row per prediction, and one without an id per refused request. docs/formats/prediction-log.md
names the columns. Knows nothing of where files lie or which of them count.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import chain, repeat
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from trimtab.errors import IntegrityError
from trimtab.model.signature import Signature
from trimtab.monitor.log.traffic import ANSWERED, Answers
from trimtab.serve.logged.frame import Frame, Part

FORMAT: Final = "1"
INPUT: Final = "input_"
CONTEXT: Final = "context_"
JSON: Final = "_json"
END: Final = 1 << 62
_ROW_GROUP: Final = 32_768
_LEVEL: Final = 6
_TIME: Final = pl.Datetime("us", "UTC")
_ALWAYS: Final = ("prediction_id", "received_at", "event_time", "role", "model", "latency_us")
_ANSWER: Final = ("score", "scores", "decision", "decision" + JSON)
_TYPES: Final[dict[type, Any]] = {
    str: pl.String,
    bool: pl.Boolean,
    int: pl.Int64,
    float: pl.Float64,
}
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder().decode


class Wanted(NamedTuple):
    """Which rows and columns: `model` "" is any; event times in [since, until); `names` of columns.

    `shadow` None is both; `ids` None is all.
    """

    model: str = ""
    shadow: bool | None = None
    since: int = 0
    until: int = END
    ids: Collection[str] | None = None
    names: Collection[str] | None = None


def table(frames: Sequence[Frame]) -> pl.DataFrame:
    """The rows of frames of one model; values whose type is not known before stand as JSON."""
    counts = [frame.rows or 1 for frame in frames]
    parts = [part for frame in frames for part in frame.requests()]

    def each(value: Callable[[Part], Any]) -> list[Any]:
        return list(chain.from_iterable(repeat(value(part), part.rows or 1) for part in parts))

    def constant(name: str) -> list[Any]:
        pairs = zip(frames, counts, strict=True)
        return list(chain.from_iterable(repeat(getattr(one, name), n) for one, n in pairs))

    received = pl.Series("received_at", each(lambda part: part.received_at), pl.Int64)
    times = [moment for one in frames for moment in (one.times() or (one.received_at,))]
    columns = [
        pl.Series("prediction_id", [i for one in frames for i in (one.ids or (None,))], pl.String),
        pl.Series("request", each(lambda part: part.request), pl.String),
        received.cast(_TIME),
        pl.Series("event_time", times, pl.Int64).cast(_TIME),
        *(pl.Series(name, constant(name), pl.String) for name in ("role", "model", "label")),
        pl.Series("contract", constant("contract"), pl.String),
        pl.Series("status", constant("status"), pl.Int16),
        pl.Series("latency_us", each(lambda part: part.latency_us), pl.Int64),
        pl.Series("error", constant("error"), pl.String),
        _scores(frames, counts),
        pl.Series("decision" + JSON, _json(frames, counts, lambda one: one.decision), pl.String),
    ]
    columns += [_number(frames, counts, name) for name in _names(frames, "numbers")]
    for name in _names(frames, "words"):
        words = _spread(frames, counts, lambda one, name=name: one.words.get(name))  # type: ignore[misc]
        columns.append(pl.Series(INPUT + name, words, pl.String))
    for name in _names(frames, "context"):
        values = _json(frames, counts, lambda one, name=name: one.context.get(name))  # type: ignore[misc]
        columns.append(pl.Series(CONTEXT + name + JSON, values, pl.String))
    return pl.DataFrame(columns)


def write(parts: Sequence[pl.DataFrame], path: Path, signature: Signature | None) -> int:
    """Write tables of one model as one file, flushed to the disk; returns its bytes.

    Booleans are those of the signature; context and decisions get the one type that they have, and
    stay JSON where they have several.
    """
    whole = pl.concat(parts, how="diagonal_relaxed")
    columns = {column.name for column in (signature.inputs if signature else ())
               if column.kind == "boolean"}  # fmt: skip
    whole = whole.with_columns(
        pl.col(INPUT + name).cast(pl.Boolean)
        for name in columns
        if whole.schema.get(INPUT + name) == pl.Float64
    )
    for name in [name for name in whole.columns if name.endswith(JSON)]:
        if name.startswith((CONTEXT, "decision")):
            whole = _settled(whole, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as stream:
        whole.write_parquet(
            stream,
            compression="zstd",
            compression_level=_LEVEL,
            row_group_size=_ROW_GROUP,
            metadata={"trimtab.prediction-log": FORMAT},
        )
        stream.flush()
        os.fsync(stream.fileno())
        return stream.tell()


def load(path: Path, wanted: Wanted) -> pl.DataFrame:
    """Answered rows of a file; raises FileNotFoundError, IntegrityError where it cannot be read."""
    try:
        scan = pl.scan_parquet(path)
        have = scan.collect_schema().names()
        rows = scan.filter(
            pl.col("status") == ANSWERED,
            pl.col("prediction_id").is_not_null(),
            pl.col("event_time") >= pl.lit(wanted.since).cast(_TIME),
            pl.col("event_time") < pl.lit(wanted.until).cast(_TIME),
        )
        if wanted.model:
            rows = rows.filter(pl.col("model") == wanted.model)
        if wanted.shadow is not None:
            rows = rows.filter((pl.col("role") == "shadow") == wanted.shadow)
        if wanted.ids is not None:
            rows = rows.filter(pl.col("prediction_id").is_in(list(wanted.ids)))
        chosen = have if wanted.names is None else _chosen(have, wanted.names)
        return rows.select(chosen).collect()
    except FileNotFoundError as error:  # polars' own does not say which
        raise FileNotFoundError(errno.ENOENT, "there is no such file", str(path)) from error
    except (pl.exceptions.PolarsError, OSError) as error:
        raise IntegrityError(
            f"{path} of the prediction log cannot be read: {error}",
            hint="bring the file back from a copy",
        ) from error


def answers(rows: pl.DataFrame, signature: Signature, names: Collection[str] | None) -> Answers:
    """Rows of one model as the monitor reads them; columns that were not logged are all None."""
    wanted = [one.name for one in (*signature.inputs, *signature.context)]
    return Answers(
        ids=rows["prediction_id"].to_list(),
        times=rows["event_time"].cast(pl.Int64).to_numpy(),
        roles=rows["role"].to_list(),
        score=_matrix(rows),
        decision=_values(rows, "decision"),
        latency_us=rows["latency_us"].to_numpy(),
        columns={n: _column(rows, n) for n in wanted if names is None or n in names},
        received=rows["received_at"].cast(pl.Int64).to_numpy(),
    )


def records(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """Rows as mappings: `inputs` and `context` by name, the rest as it is called; times as integers."""
    found = []
    plain = rows.with_columns(pl.col("received_at", "event_time").cast(pl.Int64))
    for one in plain.iter_rows(named=True):
        row: dict[str, Any] = {"inputs": {}, "context": {}}
        for name, value in one.items():
            said = _decode(value) if name.endswith(JSON) and value is not None else value
            short = name.removesuffix(JSON) if name.startswith((CONTEXT, "decision")) else name
            if short.startswith(INPUT):
                row["inputs"][name.removeprefix(INPUT)] = value
            elif short.startswith(CONTEXT):
                row["context"][short.removeprefix(CONTEXT)] = said
            elif short == "scores":
                row["score"] = row.get("score") if value is None else value
            else:
                row[short] = row[short] if value is None and short in row else said
        found.append(row)
    return found


def _names(frames: Sequence[Frame], kind: str) -> list[str]:
    return list(dict.fromkeys(name for frame in frames for name in getattr(frame, kind)))


def _spread(
    frames: Sequence[Frame], counts: Sequence[int], value: Callable[[Frame], list[Any] | None]
) -> list[Any]:
    pairs = zip(frames, counts, strict=True)
    return list(chain.from_iterable(value(one) or repeat(None, n) for one, n in pairs))


def _json(
    frames: Sequence[Frame], counts: Sequence[int], value: Callable[[Frame], list[Any] | None]
) -> list[str | None]:
    known: dict[tuple[type, Any], str] = {}
    found: list[str | None] = []
    for one in _spread(frames, counts, value):
        if one is None:
            found.append(None)
            continue
        text = known.get((type(one), one))
        if text is None:
            text = _encode(one).decode()
            if len(known) < _ROW_GROUP:
                known[type(one), one] = text
        found.append(text)
    return found


def _number(frames: Sequence[Frame], counts: Sequence[int], name: str) -> pl.Series:
    nan = np.array([np.nan], dtype="<f8").tobytes()
    data = b"".join(one.numbers.get(name) or nan * n for one, n in zip(frames, counts, strict=True))
    return pl.Series(INPUT + name, np.frombuffer(data, dtype="<f8")).fill_nan(None)


def _scores(frames: Sequence[Frame], counts: Sequence[int]) -> pl.Series:
    width = max((one.width for one in frames if one.rows), default=1)
    nan = np.array([np.nan] * width, dtype="<f4").tobytes()
    data = b"".join(one.score or nan * n for one, n in zip(frames, counts, strict=True))
    flat = np.frombuffer(data, dtype="<f4")
    if width == 1:
        return pl.Series("score", flat).fill_nan(None)
    return pl.Series("scores", flat.reshape(-1, width)).cast(pl.List(pl.Float32))


def _settled(whole: pl.DataFrame, name: str) -> pl.DataFrame:
    texts = whole[name].to_list()
    values = {text: _decode(text) for text in set(texts) - {None}}
    kinds = {type(value) for value in values.values()}
    if len(kinds) != 1 or not kinds <= _TYPES.keys():
        return whole
    (kind,) = kinds
    if kind is int and any(not -(2**63) <= value < 2**63 for value in values.values()):
        return whole
    typed = [None if text is None else values[text] for text in texts]
    series = pl.Series(name.removesuffix(JSON), typed, _TYPES[kind])
    return whole.with_columns(series).drop(name)


def _chosen(have: Iterable[str], names: Collection[str]) -> list[str]:
    inputs = {INPUT + name for name in names}
    context = {CONTEXT + name + tail for name in names for tail in ("", JSON)}
    return [n for n in have if n in _ALWAYS or n in _ANSWER or n in inputs or n in context]


def _matrix(rows: pl.DataFrame) -> NDArray[np.float32]:
    if "scores" in rows.columns:
        flat = rows["scores"].explode().to_numpy().astype(np.float32, copy=False)
        return flat.reshape(rows.height, -1) if rows.height else np.empty((0, 1), np.float32)
    return rows["score"].fill_null(np.nan).to_numpy().astype(np.float32, copy=False)


def _values(rows: pl.DataFrame, name: str) -> list[Any]:
    if name + JSON in rows.columns:
        texts = rows[name + JSON].to_list()
        return [None if text is None else _decode(text) for text in texts]
    return rows[name].to_list() if name in rows.columns else [None] * rows.height


def _column(rows: pl.DataFrame, name: str) -> NDArray[Any]:
    series: Mapping[str, pl.DataType] = rows.schema
    dtype = series.get(INPUT + name)
    if dtype is None:
        return np.array(_values(rows, CONTEXT + name), dtype=object)
    values = rows[INPUT + name]
    if dtype == pl.String:
        return np.array(values.to_list(), dtype=object)
    return values.cast(pl.Float64).fill_null(np.nan).to_numpy()
