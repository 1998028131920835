"""The page of two runs side by side."""

from __future__ import annotations

import msgspec

from trimtab.loop.project import Project
from trimtab.server import finding, words
from trimtab.server.requests import TwoRuns
from trimtab.store import listing
from trimtab.store.records import Run
from trimtab.track.reports import DataUsed, Ends, RunDiff


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A table of what differs: `numbers` are the columns, from 0, that stand right."""

    id: str
    title: str
    heads: list[str]
    rows: list[list[str]]
    numbers: list[int] = []


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """What differs, as tables; code is in `found`."""

    found: RunDiff
    tables: list[Part]


def page(project: Project, before: str, after: str) -> Page:
    """Two runs by their ids; raises NotFoundError."""
    found = finding.RUNS_DIFF.call(project, TwoRuns(before=before, after=after))
    names = [f"{one.name} {words.short(one.id)}" for one in (found.a, found.b)]
    tables = []
    for key, title, pairs in (
        ("params", "Parameters", found.params),
        ("tags", "Tags", found.tags),
        ("environment", "Environment", found.environment),
    ):
        if pairs:
            rows = [[name, words.cell(a), words.cell(b)] for name, (a, b) in pairs.items()]
            tables.append(Part(id=key, title=title, heads=names, rows=rows))
    if found.data:
        rows = [[name, _data(pair.a), _data(pair.b)] for name, pair in found.data.items()]
        tables.insert(1, Part(id="data", title="Data", heads=names, rows=rows))
    if found.metrics:
        tables.append(_metrics(found, names))
    return Page(found=found, tables=tables)


def before(project: Project, run: Run) -> str:
    """The run of the same kind and name before this one, "" where there is none or it is deleted."""
    with project.ws.reading() as db:
        alike = listing.newest(db, project.ws, {"kind": run.kind, "name": run.name}, hidden=False)
    older = alike[alike.index(run.id) + 1 :] if run.id in alike else []
    return older[0] if older else ""


def _metrics(found: RunDiff, names: list[str]) -> Part:
    rows = [
        [
            key,
            *(words.number(one.last) if one else "–" for one in (pair.a, pair.b)),
            "" if pair.change is None else f"{pair.change:+.4g}",
            f"{_end(pair.a, 'min')} → {_end(pair.b, 'min')}",
            f"{_end(pair.a, 'max')} → {_end(pair.b, 'max')}",
        ]
        for key, pair in found.metrics.items()
    ]
    heads = [*names, "Change", "Least", "Greatest"]
    return Part(id="metrics", title="Metrics", heads=heads, rows=rows, numbers=[0, 1, 2])


def _end(ends: Ends | None, name: str) -> str:
    return words.number(getattr(ends, name) if ends else None)


def _data(used: DataUsed | None) -> str:
    if used is None:
        return "–"
    name = ", ".join(used.versions) or words.short(used.digest)
    return name if used.rows is None else f"{name}, {used.rows:,} rows"
