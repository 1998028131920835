"""Scores a table: chunk by chunk, resumable, every row either answered or listed with its reason.

The rows go through the checker and the model that an endpoint uses (`serve.score`), so a file and
a client get the same answers. Memory holds one chunk, whatever the size of the table.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import polars as pl

from trimtab import hashing
from trimtab.deploy.batch import output, query
from trimtab.deploy.batch.chunk import Broken, Chunk, Place, Source, Wanted
from trimtab.deploy.batch.manifest import Done, Header, Manifest, held
from trimtab.deploy.batch.scoring import answer
from trimtab.deploy.batch.source import Input, format_of, open_input
from trimtab.errors import ConflictError, DataError, NotFoundError, RefusedError
from trimtab.model.load import LoadedModel
from trimtab.serve.protocols.parse import Checker

QUERY: Final = "query.ndjson"


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was scored. `rows` = `scored` + `quarantined`; `resumed` rows were done before.

    `quarantine` is a file of file, row, column and reason, "" where every row was scored. `unseen`
    counts categories that training did not see, by column.
    """

    output: str
    model: str
    digest: str
    input: str
    rows: int
    scored: int
    quarantined: int
    quarantine: str = ""
    resumed: int = 0
    seconds: float = 0.0
    rows_per_second: float = 0.0
    unseen: dict[str, int] = {}


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far it is: rows read, the share of all input, and seconds left as far as is known."""

    rows: int
    share: float
    rows_per_second: float
    seconds_left: float


@dataclass(frozen=True)
class Job:
    """What to score, with what, to where; `invalid` are the policies that the model is under.

    `keep` are columns that go to the output; without any, it has those of `prefer` that are in every
    file, and where none is, the row's number. `strict` refuses a table with a row that cannot be
    scored.
    """

    source: str
    output: Path
    model: LoadedModel
    digest: str
    label: str
    invalid: Mapping[str, str] = field(default_factory=dict)
    keep: tuple[str, ...] = ()
    prefer: tuple[str, ...] = ()
    strict: bool = False
    overwrite: bool = False
    tell: Callable[[Progress], None] | None = None


def run(job: Job) -> Report:
    """Score a table; a job that was killed goes on where it was when it is run again.

    Raises DataError where the table cannot be read or lacks a column, RefusedError under `strict`
    at the first row that breaks the signature, ConflictError where the output exists, is being
    written, or the input changes meanwhile.
    """
    form = format_of(job.output.name)
    if job.output.is_dir() or not job.output.parent.is_dir():
        raise NotFoundError(f"there is no folder for {job.output}", hint="make it first")
    if job.output.exists() and not job.overwrite:
        raise ConflictError(f"{job.output} exists", hint="give --overwrite, or another name")
    folder = output.parts_folder(job.output)
    with held(folder) as manifest:
        try:
            report = _run(job, form, manifest)
        except BaseException as error:
            # Rows of a query that are wrong are mended in the database: it must be asked again.
            is_wrong = query.is_query(job.source) and isinstance(error, DataError | RefusedError)
            if is_wrong or not (manifest.done or (folder / QUERY).exists()):
                shutil.rmtree(folder)
            raise
        shutil.rmtree(folder)
    return report


def _run(job: Job, form: str, manifest: Manifest) -> Report:
    found = _open(job, manifest.folder)
    wanted = _wanted(job, found)
    manifest.resume(
        Header(
            input=found.digest,
            model=job.digest,
            label=job.label,
            form=form,
            keep=wanted.keep,
            invalid=dict(job.invalid),
        )
    )
    resumed = sum(one.rows for one in manifest.done)
    checker = Checker(job.model.signature)
    work = _Work(job, found, wanted, form, manifest, checker, resumed)
    work.do()
    found.check_unchanged()
    return work.publish()


def _open(job: Job, folder: Path) -> Input:
    """The input; a query's rows are asked for once, and again where another query is given."""
    if not query.is_query(job.source):
        return open_input(Path(job.source))
    booleans = [one.name for one in job.model.signature.inputs if one.kind == "boolean"]
    asked = hashing.digest("blob", msgspec.json.encode([job.source, booleans]))
    spooled, of = folder / QUERY, folder / f"{QUERY}.of"
    if not (spooled.is_file() and of.is_file() and of.read_text() == asked):
        spooled.unlink(missing_ok=True)
        staged = folder / f".{QUERY}"
        if not query.spool(job.source, staged, booleans):
            raise DataError(f"the query of {query.describe(job.source)} gives no rows")
        of.write_text(asked)
        staged.replace(spooled)
    return open_input(spooled)


def _wanted(job: Job, found: Input) -> Wanted:
    """Which columns to read; raises DataError where a file lacks one."""
    kinds: dict[str, str] = {column.name: column.kind for column in job.model.signature.inputs}
    own = output.names(job.model.signature)
    liked = [x for x in job.prefer if x not in own and all(x in one.columns for one in found.files)]
    wanted = Wanted(kinds=kinds, keep=job.keep or tuple(liked))
    for name in wanted.keep:
        if name in own:
            raise DataError(f"a column called {name!r} cannot go along: the output has its own")
    for one in found.files:
        has = one.columns
        for name in wanted.names:
            if name not in has:
                raise DataError(
                    f"{one.name} has no column {name!r}", hint=f"it has {', '.join(has[:30])}"
                )
    return wanted


@dataclass
class _Work:
    """A job under way."""

    job: Job
    input: Input
    wanted: Wanted
    form: str
    manifest: Manifest
    checker: Checker
    resumed: int
    begun: float = field(default_factory=time.monotonic)

    def do(self) -> None:
        """Score what the manifest does not have."""
        last = self.manifest.done[-1] if self.manifest.done else None
        first, place = (last.file, last.place) if last else (0, (0, 0))
        for number in range(first, len(self.input.files)):
            source = self.input.files[number]
            for chunk in source.chunks(self.wanted, place if number == first else (0, 0)):
                self.manifest.add(self._chunk(chunk, source, number))
                self._tell(number, chunk.place)

    def publish(self) -> Report:
        """Make the output, and the list of what is not in it."""
        done, folder = self.manifest.done, self.manifest.folder
        rows, scored = sum(one.rows for one in done), sum(one.scored for one in done)
        if not rows:
            raise DataError(f"{self.job.source} has no rows")
        beside = output.quarantine_file(self.job.output)
        beside.unlink(missing_ok=True)
        lists = [folder / one.broken for one in done if one.broken]
        if lists:
            output.join(lists, beside, "csv", output.QUARANTINE)
        if not scored:
            raise DataError(
                f"none of {rows:,} rows can be scored", hint=f"{beside} says why, row by row"
            )
        signed = self.job.model.signature
        names = (*self._beside, *output.names(signed))
        parts = [folder / one.part for one in done if one.part]
        output.join(parts, self.job.output, self.form, names)
        seconds = time.monotonic() - self.begun
        return Report(
            output=str(self.job.output),
            model=self.job.label,
            digest=self.job.digest,
            input=self.input.digest,
            rows=rows,
            scored=scored,
            quarantined=rows - scored,
            quarantine=str(beside) if lists else "",
            resumed=self.resumed,
            seconds=seconds,
            rows_per_second=(rows - self.resumed) / max(seconds, 1e-9),
            unseen=dict(sum((Counter(one.unseen) for one in done), Counter())),
        )

    @property
    def _beside(self) -> tuple[str, ...]:
        """The columns beside the answers: those asked for, or where the row stands."""
        return self.wanted.keep or (("file", "row") if len(self.input.files) > 1 else ("row",))

    def _chunk(self, chunk: Chunk, source: Source, number: int) -> Done:
        index = len(self.manifest.done)
        found = answer(self.job.model, self.checker, chunk)
        if found.broken and self.job.strict:
            raise _strict(source, found.broken[0])
        part = f"part-{index:06}" if found.outputs else ""
        listed = f"broken-{index:06}" if found.broken else ""
        if found.outputs:
            made = output.answers(self.job.model.signature, found.outputs, self.job.label)
            kept = chunk.kept
            if not self.wanted.keep:
                kept = pl.DataFrame({"file": source.name, "row": chunk.rows}).select(self._beside)
            frame = kept[found.good].hstack(made)
            output.write_part(frame, self.manifest.folder / part, self.form)
        if listed:
            rows = [(source.name, str(x.row), x.column, x.reason) for x in found.broken]
            frame = pl.DataFrame(
                rows, schema=dict.fromkeys(output.QUARANTINE, pl.String()), orient="row"
            )
            output.write_part(frame, self.manifest.folder / listed, "csv")
        return Done(
            part=part,
            digest=self._digest(part),
            file=number,
            place=chunk.place,
            rows=len(chunk.rows) + len(chunk.broken),
            scored=len(found.good),
            broken=listed,
            broken_digest=self._digest(listed),
            unseen=found.unseen,
        )

    def _digest(self, name: str) -> str:
        return hashing.file_digest(self.manifest.folder / name) if name else ""

    def _tell(self, number: int, place: Place) -> None:
        if self.job.tell is None:
            return
        rows = sum(one.rows for one in self.manifest.done)
        # Rows and bytes do not add up: of a folder every file counts the same.
        size = max(self.input.sizes[number], 1)
        share = min((number + place[0] / size) / len(self.input.files), 1.0)
        rate = (rows - self.resumed) / max(time.monotonic() - self.begun, 1e-9)
        left = rows * (1 / share - 1) / rate if rate and share else float("inf")
        self.job.tell(Progress(rows=rows, share=share, rows_per_second=rate, seconds_left=left))


def _strict(source: Source, first: Broken) -> RefusedError:
    column = f", column {first.column!r}" if first.column else ""
    return RefusedError(
        f"{source.name} row {first.row}{column}: {first.reason}",
        hint="without --strict such rows are listed, and the others scored",
    )
