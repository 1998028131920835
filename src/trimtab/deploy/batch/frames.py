"""Parquet and Arrow IPC files in chunks of rows; only the columns that are wanted are read."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import polars as pl

from trimtab.deploy.batch import cells
from trimtab.deploy.batch.chunk import ROWS, Chunk, Place, Wanted
from trimtab.errors import DataError


class FrameSource:
    """A typed file; places are (rows, rows)."""

    def __init__(self, path: Path, name: str, form: str) -> None:
        self.path = path
        self.name = name
        self._form = form

    @cached_property
    def size(self) -> int:
        """Its rows."""
        return int(self._read(self._scan().select(pl.len())).item())

    @property
    def columns(self) -> list[str]:
        """Its columns; raises DataError where it is no whole file."""
        return list(self._schema)

    def chunks(self, wanted: Wanted, after: Place) -> Iterator[Chunk]:
        """Chunks of 20,000 rows; raises DataError where a column is of another kind."""
        for name, kind in wanted.kinds.items():
            cells.check(name, self._schema[name], kind, self.name)
        row = after[0]
        lazy = self._scan().select(wanted.names).slice(row)
        try:
            for frame in _even(lazy.collect_batches(chunk_size=ROWS, maintain_order=True)):
                first, row = row + 1, row + frame.height
                yield Chunk(
                    columns={
                        name: cells.from_typed(frame[name], kind)
                        for name, kind in wanted.kinds.items()
                    },
                    kept=frame.select(wanted.keep),
                    rows=list(range(first, row + 1)),
                    place=(row, row),
                )
        except (pl.exceptions.PolarsError, OSError) as error:
            raise self._broken(error) from error

    def _scan(self) -> pl.LazyFrame:
        if self._form == "parquet":
            return pl.scan_parquet(self.path, glob=False)
        return pl.scan_ipc(self.path, glob=False)

    @cached_property
    def _schema(self) -> pl.Schema:
        try:
            return self._scan().collect_schema()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise self._broken(error) from error

    def _read(self, lazy: pl.LazyFrame) -> pl.DataFrame:
        try:
            return lazy.collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise self._broken(error) from error

    def _broken(self, error: Exception) -> DataError:
        kind = "Parquet" if self._form == "parquet" else "Arrow IPC"
        return DataError(
            f"{self.name} is not a whole {kind} file: {(str(error).splitlines() or [''])[0]}",
            hint="it may have been cut off while it was written: export it again",
        )


def _even(batches: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The same rows in chunks of one size, so that a rerun cuts them at the same places."""
    waiting: list[pl.DataFrame] = []
    height = 0
    for batch in batches:
        waiting.append(batch)
        height += batch.height
        while height >= ROWS:
            whole = pl.concat(waiting)
            yield whole.head(ROWS)
            waiting, height = [whole.slice(ROWS)], height - ROWS
    if height:
        yield pl.concat(waiting)
