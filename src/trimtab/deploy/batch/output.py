"""Answers as columns, the parts they are written to, and the one file the parts become.

Parts lie in a hidden folder beside the output; the output's name is given to a whole file only.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from trimtab.errors import StorageError
from trimtab.model.load import Outputs
from trimtab.model.signature import Signature

QUARANTINE: Final = ("file", "row", "column", "reason")
_TYPES: Final[tuple[tuple[type, type[pl.DataType]], ...]] = (
    (bool, pl.Boolean),
    (int, pl.Int64),
    (str, pl.String),
)


def parts_folder(output: Path) -> Path:
    """Where the parts of an output are until it is whole."""
    return output.with_name(f".{output.name}.parts")


def quarantine_file(output: Path) -> Path:
    """Where rows that were not scored are listed."""
    return output.with_name(f"{output.stem}.quarantine.csv")


def answers(signature: Signature, outputs: Outputs, label: str) -> pl.DataFrame:
    """The model's columns: decision and score, every score of a multiclass one, or a value.

    Scores are the 32-bit numbers that an endpoint gives, written as 64-bit ones without loss.
    """
    score = outputs.score.astype(np.float64)
    columns: dict[str, Any] = {}
    if signature.task == "regression":
        columns["value"] = score
    else:
        columns["decision"] = pl.Series(
            "decision", outputs.decision, dtype=_dtype(signature.classes), strict=False
        )
        columns["score"] = score.max(axis=1) if score.ndim == 2 else score
    if signature.task == "multiclass":
        for place, one in enumerate(signature.classes):
            columns[f"score_{one}"] = score[:, place]
    made = pl.DataFrame(columns)
    return made.with_columns(pl.lit(label).alias("model"))


def names(signature: Signature) -> tuple[str, ...]:
    """The columns that `answers` makes."""
    if signature.task == "regression":
        return ("value", "model")
    each = tuple(f"score_{one}" for one in signature.classes)
    return ("decision", "score", *(each if signature.task == "multiclass" else ()), "model")


def write_part(frame: pl.DataFrame, path: Path, form: str) -> None:
    """A part, whole or not at all; raises StorageError."""
    staged = path.with_name(f".{path.name}")
    try:
        if form == "csv":
            frame.write_csv(staged, include_header=False)
        elif form == "ndjson":
            frame.write_ndjson(staged)
        else:
            frame.write_ipc(staged)
        _sync(staged)
        staged.replace(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        staged.unlink(missing_ok=True)
        raise _refused(path, error) from error


def join(parts: Sequence[Path], path: Path, form: str, columns: Sequence[str]) -> None:
    """Make the parts, of which there is one at least, one file under its final name."""
    staged = path.with_name(f".{path.name}.whole")
    try:
        if form in ("csv", "ndjson"):
            with staged.open("wb") as whole:
                if form == "csv":
                    whole.write(pl.DataFrame(schema=list(columns)).write_csv().encode())
                for part in parts:
                    with part.open("rb") as stream:
                        shutil.copyfileobj(stream, whole, 1 << 20)
        else:
            lazy = pl.scan_ipc(list(parts), glob=False)
            if form == "parquet":
                lazy.sink_parquet(staged, compression="zstd", row_group_size=100_000)
            else:
                lazy.sink_ipc(staged)
        _sync(staged)
        staged.replace(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        staged.unlink(missing_ok=True)
        raise _refused(path, error) from error


def _dtype(classes: Sequence[Any]) -> type[pl.DataType]:
    for kind, dtype in _TYPES:
        if all(type(one) is kind for one in classes):
            return dtype
    numbers = all(isinstance(one, int | float) for one in classes)
    return pl.Float64 if numbers else pl.String


def _sync(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def _refused(path: Path, error: Exception) -> StorageError:
    return StorageError(
        f"{path.name} cannot be written: {(str(error).splitlines() or [''])[0]}",
        hint="make room and run it again: what is done is kept",
    )
