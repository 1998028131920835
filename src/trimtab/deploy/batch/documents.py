"""NDJSON in blocks of whole lines; a line that is no JSON object is one broken row."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from trimtab.deploy.batch import blocks, cells
from trimtab.deploy.batch.chunk import BLOCK, Broken, Chunk, Place, Wanted
from trimtab.errors import DataError


class DocumentSource:
    """A file with an object on each line; places are (byte, rows)."""

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = name

    @cached_property
    def size(self) -> int:
        """Its bytes."""
        return self.path.stat().st_size

    @cached_property
    def columns(self) -> list[str]:
        """The keys of its first block; raises DataError where there is no object in it."""
        found: dict[str, None] = {}
        for block, _ in blocks.lines(self.path, self.name, 0, self.size, BLOCK):
            for line in block.splitlines():
                value = _decode(line)
                if isinstance(value, dict):
                    found |= dict.fromkeys(value)
            break
        if not found:
            raise DataError(
                f"{self.name} begins with no JSON object", hint="write one object on each line"
            )
        return list(found)

    def chunks(self, wanted: Wanted, after: Place) -> Iterator[Chunk]:
        """Chunks of about 4 MiB."""
        start, row = after
        for block, place in blocks.lines(self.path, self.name, start, self.size, BLOCK):
            rows: list[int] = []
            found: list[dict[str, Any]] = []
            broken: list[Broken] = []
            for line in block.split(b"\n"):
                if not line.strip():
                    continue
                row += 1
                value = _decode(line)
                if isinstance(value, dict):
                    rows.append(row)
                    found.append(value)
                else:
                    broken.append(Broken(row, "", value))
            yield Chunk(
                columns={
                    name: [cells.from_document(one.get(name, msgspec.UNSET), kind) for one in found]
                    for name, kind in wanted.kinds.items()
                },
                kept=pl.DataFrame(
                    {name: [_text(one.get(name)) for one in found] for name in wanted.keep},
                    schema=dict.fromkeys(wanted.keep, pl.String()),
                ),
                rows=rows,
                broken=broken,
                place=(place, row),
            )


def _decode(line: bytes) -> dict[str, Any] | str:
    """The object of a line, or why it is none."""
    try:
        value = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "it is not JSON"
    return value if isinstance(value, dict) else "it is no JSON object"


def _text(value: Any) -> str | None:
    """A cell that goes along: as text, so that one column has one type in every chunk."""
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()
