"""The prediction log as one: segments that endpoints write and the Parquet files made from them.

Every row is seen once, whatever compaction does meanwhile: what is read counts only if no frame
moved while it was read, else it is read again. The catalogue says where to look, so the cost of an
answer goes with what is asked and not with the age of the log.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
import polars as pl

from trimtab.errors import ConflictError, IntegrityError
from trimtab.model.signature import Signature
from trimtab.monitor.log import catalogue, columnar, traffic
from trimtab.monitor.log.catalogue import Block, Catalogue
from trimtab.monitor.log.columnar import END, Wanted
from trimtab.monitor.log.traffic import ANSWERED, Answers
from trimtab.serve.logged import log
from trimtab.serve.logged.frame import Frame

BLOCK_BYTES: Final = 256 << 10
_GROUP_BYTES: Final = 4 << 20
_TRIES: Final = 20

Signed = Callable[[str], Signature]
Key = tuple[str, bool]
"""A model's digest, and whether it answered as a shadow."""
T = TypeVar("T")


class Piece(NamedTuple):
    """Frames that were not taken in yet, and where they stand."""

    block: Block
    frames: list[Frame]


def ends(index: Catalogue) -> dict[str, int]:
    """Up to where each segment is known: taken in, or in files."""
    found = catalogue.covered(index)
    for name, stop in catalogue.taken(index).items():
        found[name] = max(stop, found.get(name, 0))
    return found


def fresh(index: Catalogue, cursor: dict[str, int]) -> Iterator[list[Piece]]:
    """Frames behind a cursor (segment -> byte), in groups of about 4 MiB.

    The cursor moves with what is yielded, and leaves segments that are gone. A frame that is not
    whole yet is left for the next call. Raises IntegrityError.
    """
    passed = catalogue.covered(index)
    paths = log.segments(index.log)
    for name in cursor.keys() - {path.name for path in paths}:
        del cursor[name]
    group: list[Piece] = []
    size = 0
    for path in paths:
        start = max(cursor.get(path.name, 0), passed.get(path.name, 0))
        while True:
            try:
                frames, stop = log.read_segment(path, start, BLOCK_BYTES)
            except FileNotFoundError:  # compacted and removed, so it had been taken in
                break
            if stop == start:
                break
            if frames:
                group.append(Piece(Block(path.name, start, stop), frames))
                cursor[path.name] = stop
            size, start = size + stop - start, stop
            if size >= _GROUP_BYTES:
                yield group
                group, size = [], 0
    if group:
        yield group


def read(
    index: Catalogue,
    signature: Signature,
    model: str,
    *,
    shadow: bool | None = False,
    since: int = 0,
    until: int = END,
    names: Collection[str] | None = None,
    tail: bool = False,
) -> Answers:
    """A model's answers with event times in [since, until), in no particular order.

    `names` limits the columns. With `tail` also what was logged since it was last taken in.
    """
    wanted = Wanted(model, shadow, since, until, None, names)

    def look() -> list[Answers]:
        with index.snapshot():
            blocks = catalogue.blocks_in(index, since, until)
            files = catalogue.files_in(index, model, since, until)
            known = ends(index) if tail else {}
        frames = _frames(index, blocks, wanted)
        if tail:
            frames += _kept(_tail(index, known), wanted)
        found = [traffic.answers(frames, signature, names)]
        for path in files:
            rows = columnar.load(index.folder / path, wanted)
            found.append(columnar.answers(rows, signature, names))
        return found

    whole = traffic.together(_steadily(index, look))
    inside = (whole.times >= since) & (whole.times < until)
    return whole if inside.all() else whole.take(np.flatnonzero(inside).tolist())


def lookup(
    index: Catalogue, predictions: Collection[str], signed: Signed, names: Collection[str]
) -> dict[Key, Answers]:
    """The answers with these prediction ids, by model and whether they are a shadow's."""
    wanted = Wanted(ids=frozenset(predictions), names=names)

    def look() -> dict[Key, list[Answers]]:
        with index.snapshot():
            place = catalogue.places(index, predictions)
        found: dict[Key, list[Answers]] = {}
        for key, frames in _by_key(_frames(index, place.blocks, wanted)).items():
            rows = traffic.answers(frames, signed(key[0]), names)
            found.setdefault(key, []).append(_those(rows, predictions))
        for path, mine in place.files.items():
            table = columnar.load(index.folder / path, wanted._replace(ids=mine))
            for model, shadow in _keys(table):
                part = table.filter(
                    pl.col("model") == model, (pl.col("role") == "shadow") == shadow
                )
                found.setdefault((model, shadow), []).append(
                    columnar.answers(part, signed(model), names)
                )
        return found

    predictions = set(predictions)
    return {key: traffic.together(parts) for key, parts in _steadily(index, look).items()}


def find(index: Catalogue, prediction: str) -> dict[str, Any] | None:
    """Everything that was logged of one prediction, not of its shadows; None where nothing was.

    Keys: prediction_id, request, received_at, event_time, role, model, label, contract, status,
    latency_us, inputs, context, score (a list for several classes), decision.
    """
    wanted = Wanted(ids=frozenset([prediction]), shadow=False)

    def look() -> list[pl.DataFrame]:
        with index.snapshot():
            place = catalogue.places(index, [prediction])
            known = ends(index)
        frames = _frames(index, place.blocks, wanted) or _kept(_tail(index, known), wanted)
        if frames:
            only = pl.col("prediction_id") == prediction
            return [columnar.table(frames[-1:]).filter(only)]
        return [columnar.load(index.folder / path, wanted) for path in place.files]

    rows = [row for part in _steadily(index, look) for row in columnar.records(part)]
    return max(rows, key=lambda row: int(row["received_at"])) if rows else None


def _steadily(index: Catalogue, look: Callable[[], T]) -> T:
    """What `look` finds while no frame moves from segments to files."""
    for _ in range(_TRIES):
        before = catalogue.generation(index)
        try:
            found = look()
        except FileNotFoundError as error:
            if catalogue.generation(index) == before:
                raise IntegrityError(
                    f"{error.filename} of the prediction log is gone",
                    hint="bring the file back from a copy",
                ) from error
            continue
        if catalogue.generation(index) == before:
            return found
    raise ConflictError(
        "the prediction log is being compacted without a pause", hint="try again in a moment"
    )


def _frames(index: Catalogue, blocks: Iterable[Block], wanted: Wanted) -> list[Frame]:
    found: list[Frame] = []
    for block in blocks:
        place = block.start
        while place < block.stop:
            try:
                frames, stop = log.read_segment(
                    index.log / block.segment, place, block.stop - place
                )
            except FileNotFoundError:  # removed by hand, or compacted: then all is read again
                break
            if stop == place:
                break
            found += _kept(frames, wanted)
            place = stop
    return found


def _tail(index: Catalogue, known: dict[str, int]) -> Iterator[Frame]:
    for path in log.segments(index.log):
        place = known.get(path.name, 0)
        while True:
            try:
                frames, stop = log.read_segment(path, place, log.READ_BYTES)
            except FileNotFoundError:
                break
            if stop == place:
                break
            yield from frames
            place = stop


def _kept(frames: Iterable[Frame], wanted: Wanted) -> list[Frame]:
    return [
        one
        for one in frames
        if one.status == ANSWERED
        and one.ids
        and (not wanted.model or one.model == wanted.model)
        and (wanted.shadow is None or (one.role == "shadow") == wanted.shadow)
        and (wanted.ids is None or not wanted.ids.isdisjoint(one.ids))  # type: ignore[attr-defined]
    ]


def _by_key(frames: Sequence[Frame]) -> dict[Key, list[Frame]]:
    found: dict[Key, list[Frame]] = {}
    for one in frames:
        found.setdefault((one.model, one.role == "shadow"), []).append(one)
    return found


def _keys(rows: pl.DataFrame) -> list[Key]:
    kinds = rows.select("model", shadow=pl.col("role") == "shadow").unique().sort("model")
    return [(model, shadow) for model, shadow in kinds.iter_rows()]


def _those(rows: Answers, predictions: Collection[str]) -> Answers:
    index = [i for i, name in enumerate(rows.ids) if name in predictions]
    return rows if len(index) == rows.rows else rows.take(index)
