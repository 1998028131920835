"""CSV and TSV in blocks of whole records, read as `trimtab.data.delimited` reads a training table.

One difference: a record with too many or too few fields, or that is no UTF-8, is one broken row
here and not a broken file.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl

from trimtab.data import delimited
from trimtab.deploy.batch import blocks, cells
from trimtab.deploy.batch.chunk import BLOCK, Broken, Chunk, Place, Wanted
from trimtab.errors import DataError


class DelimitedSource:
    """A file with a header; places are (byte, rows)."""

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = name

    @cached_property
    def size(self) -> int:
        """Its bytes."""
        return self.path.stat().st_size

    @property
    def columns(self) -> list[str]:
        """Its header; raises DataError."""
        return self._header[0]

    def chunks(self, wanted: Wanted, after: Place) -> Iterator[Chunk]:
        """Chunks of about 4 MiB; raises DataError where quotes do not pair up."""
        start, row = after
        start = start or self._behind
        for block, place in blocks.records(self.path, self.name, start, self.size, BLOCK):
            whole, rows, broken, row = self._split(block, row)
            frame = self._parse(whole, len(rows))
            yield Chunk(
                columns={
                    name: cells.from_text(frame[name], kind) for name, kind in wanted.kinds.items()
                },
                kept=frame.select(wanted.keep),
                rows=rows,
                broken=broken,
                place=(place, row),
            )

    @cached_property
    def _header(self) -> tuple[list[str], str]:
        if not self.size:
            raise DataError(f"{self.name} is empty", hint="check the export that wrote it")
        return delimited.head(self.path, self.name)

    @cached_property
    def _behind(self) -> int:
        """Where the first row begins."""
        with self.path.open("rb") as stream:
            return len(stream.readline())

    def _split(self, block: bytes, row: int) -> tuple[bytes, list[int], list[Broken], int]:
        """The records of the right shape, their numbers, the others, and the last number."""
        width = len(self.columns)
        cuts = np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == ord(self._header[1]))
        quotes = np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == ord('"'))
        if len(quotes):
            cuts = cuts[np.searchsorted(quotes, cuts) % 2 == 0]
        ends = blocks.ends_of(block)
        if not len(ends) or ends[-1] != len(block) - 1:
            ends = np.append(ends, len(block) - 1)
        widths = np.diff(np.searchsorted(cuts, ends, side="right"), prepend=0) + 1
        bounds = [0, *(ends + 1).tolist()]
        lengths = np.diff(np.array(bounds))
        blank = (lengths <= 2) & np.array(
            [not block[a:b].strip(b"\r\n") for a, b in pairwise(bounds)]
            if (lengths <= 2).any()
            else np.zeros(len(ends), dtype=bool)
        )
        good, broken, kept = [], [], []
        is_text = _is_text(block)
        if is_text and not blank.any() and (widths == width).all():
            return block, list(range(row + 1, row + len(ends) + 1)), [], row + len(ends)
        for number, (begin, end) in enumerate(pairwise(bounds)):
            if blank[number] and width > 1:
                continue
            row += 1
            piece = block[begin:end]
            if widths[number] != width and not (blank[number] and width == 1):
                said = f"it has {widths[number]} fields, the header has {width}"
                broken.append(Broken(row, "", said))
            elif not is_text and not _is_text(piece):
                broken.append(Broken(row, "", "it is not UTF-8"))
            else:
                good.append(row)
                kept.append(piece)
        return b"".join(kept), good, broken, row

    def _parse(self, block: bytes, count: int) -> pl.DataFrame:
        names, separator = self._header
        if not count:
            return pl.DataFrame(schema=dict.fromkeys(names, pl.String()))
        try:
            frame = pl.read_csv(
                io.BytesIO(block),
                separator=separator,
                infer_schema=False,
                has_header=False,
                new_columns=names,
            )
        except pl.exceptions.PolarsError as error:
            raise self._malformed(str(error)) from error
        if frame.height != count:
            raise self._malformed("its quotes do not pair up")
        return frame

    def _malformed(self, said: str) -> DataError:
        return DataError(
            f"{self.name} cannot be read: {(said.splitlines() or [''])[0]}",
            hint='write a quote inside a text twice: "a 12"" disk"',
        )


def _is_text(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
