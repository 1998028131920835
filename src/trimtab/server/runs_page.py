"""The page of runs: a filter, chosen columns that sort, pages, groups, and what explains a metric.

Everything that was chosen stands in the address, so that a page can be kept and sent.
"""

from __future__ import annotations

import contextlib
import math
import shutil
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from starlette.background import BackgroundTask
from starlette.responses import FileResponse

from trimtab.errors import NotFoundError, TrimtabError
from trimtab.loop.project import Project
from trimtab.server import finding, shown
from trimtab.server.handlers import runs as listed
from trimtab.server.requests import Explained, RunFilter, RunGroups
from trimtab.server.scatter import Bars, Scatter, bars, scatter
from trimtab.server.shown import Shown
from trimtab.store.records import Run
from trimtab.track.reports import Groups, Importance
from trimtab.track.search import exporting, groups, index, order
from trimtab.track.search import finding as searching
from trimtab.track.search.fault import QueryError
from trimtab.track.search.finding import Wanted
from trimtab.track.search.parse import parse
from trimtab.track.search.run_table import RunTable
from trimtab.track.search.tree import And, Compare, Field, Node, Null, field_written, written

SHOWN: Final = 50
_KEY_METRICS: Final = 3
_GROUPS: Final = 200
_KNOWN: Final = 300
_FRESH: Final = 60.0  # seconds that what explains a metric is not worked out again
_KEPT: Final = 16
ASKED: Final = (
    "where",
    "order",
    "columns",
    "kind",
    "all",
    "deleted",
    "by",
    "show",
    "explain",
    "x",
    "y",
)


class Wrong(msgspec.Struct, frozen=True, kw_only=True):
    """What could not be read: the field of the form, a sentence, the place with a caret, a hint."""

    field: str
    what: str
    place: str = ""
    hint: str = ""


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """A column's heading: where it leads to, and how runs stand now: "ascending", "descending", ""."""

    title: str
    href: str = ""
    sorts: str = ""
    is_number: bool = False


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A run with its cells, or with its first metrics where no columns were chosen."""

    run: Run
    cells: list[str] = []
    metrics: list[tuple[str, float]] = []


class GroupRow(msgspec.Struct, frozen=True, kw_only=True):
    """A group: what its runs share, where they are listed, its numbers."""

    key: list[str]
    href: str
    shown: list[str]


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """What the page shows; `asked` is what was chosen, `wrong` what of it could not be read."""

    asked: dict[str, str]
    wrong: list[Wrong]
    heads: list[Head]
    rows: list[Row]
    matched: int = 0
    notes: list[str] = []
    next: str = ""
    first: str = ""
    links: dict[str, str]
    known: list[str]
    metrics: list[str]
    groups: Groups | None = None
    group_rows: list[GroupRow] = []
    importance: Importance | None = None
    bars: Bars | None = None
    scatter: Scatter | None = None


def page(project: Project, query: Mapping[str, str]) -> Page:
    """The page of an address's query; what is wrong in it is shown in its place."""
    asked = {name: query.get(name, "").strip() for name in ASKED}
    wrong: list[Wrong] = []
    columns = _columns(asked, wrong)
    request = _request(asked, query.get("after", ""))
    found = _found(project, request, wrong)
    table = index.table(project.ws)
    keys, named = _keys(table), _named(asked)
    grouped = _grouped(project, asked, wrong) if asked["by"] else None
    told = _explained(project, asked, wrong) if asked["explain"] else None
    return Page(
        asked=asked,
        wrong=wrong,
        heads=_heads(asked, columns),
        rows=[_row(run, found.metrics.get(run.id, {}), columns, named) for run in found.runs],
        matched=found.matched,
        notes=found.notes,
        next=_address(asked, after=found.next) if found.next else "",
        first=_address(asked) if request.after else "",
        links=_links(asked),
        known=keys[:_KNOWN],
        metrics=[key for key in keys if key.startswith("metrics.")],
        groups=grouped,
        group_rows=_group_rows(asked, grouped),
        importance=told,
        bars=bars(told) if told else None,
        scatter=_scattered(project, asked, wrong),
    )


def file(project: Project, ending: str, query: Mapping[str, str]) -> FileResponse:
    """The runs that an address lists, all pages, as a file; raises UsageError, QueryError."""
    asked = {name: query.get(name, "").strip() for name in ASKED}
    if f".{ending}" not in exporting.WRITERS:
        raise NotFoundError(
            f"runs are not written as {ending[:20]!r}", hint=f"as {', '.join(exporting.WRITERS)}"
        )
    wanted = listed.wanted(_request(asked, ""))
    folder = tempfile.mkdtemp(prefix="trimtab-runs-")
    try:
        path = Path(folder, f"runs.{ending}")
        exporting.export(project.ws, wanted, path, columns=asked["columns"])
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    gone = BackgroundTask(shutil.rmtree, folder, ignore_errors=True)
    return FileResponse(path, filename=path.name, background=gone)


def _request(asked: Mapping[str, str], after: str) -> RunFilter:
    return RunFilter(
        where=asked["where"],
        order_by=asked["order"],
        after=after,
        kind=asked["kind"],
        top=not (asked["where"] or asked["kind"] or asked["all"]),
        deleted=bool(asked["deleted"]),
        limit=SHOWN,
    )


def _found(project: Project, request: RunFilter, wrong: list[Wrong]) -> Any:
    """The page of runs; where the question is wrong no run, so that nothing else is shown for it."""
    try:
        return finding.RUNS_LS.call(project, request)
    except QueryError as error:
        wrong.append(_wrong("order" if error.text == request.order_by else "where", error))
    except TrimtabError as error:
        wrong.append(Wrong(field="after", what=error.message, hint=error.hint))
    return finding.RUNS_LS.response(runs=[])


def _wrong(field: str, error: TrimtabError) -> Wrong:
    what, _, place = error.message.partition("\n")
    return Wrong(field=field, what=what, place=place, hint=error.hint)


def _columns(asked: Mapping[str, str], wrong: list[Wrong]) -> list[Shown]:
    try:
        return shown.columns(asked["columns"])
    except QueryError as error:
        wrong.append(_wrong("columns", error))
        return []


def _keys(table: RunTable) -> list[str]:
    """The fields that runs have, for whoever types one."""
    metrics = [field_written(Field("metric", key)) for key in table.keys("metric")]
    params = [field_written(Field("param", key)) for key in table.keys("param")]
    tags = [field_written(Field("tag", key)) for key in table.keys("tag")]
    return [*metrics, *params, *tags]


def _heads(asked: dict[str, str], columns: list[Shown]) -> list[Head]:
    if columns:
        named = [("Run", "name", False), ("Status", "status", False)]
        named += [(one.title, one.name, one.is_number) for one in columns]
    else:
        named = [
            ("Run", "name", False),
            ("Status", "status", False),
            ("Began", "started", False),
            ("Took", "duration", True),
            ("Metrics", "", False),
            ("Cause", "cause", False),
        ]
    return [_head(asked, *one) for one in named]


def _head(asked: dict[str, str], title: str, name: str, is_number: bool) -> Head:
    if not name:
        return Head(title=title)
    now = asked["order"]
    sorts = {name: "ascending", f"{name} asc": "ascending", f"{name} desc": "descending"}.get(
        now, ""
    )
    # numbers are asked for from the greatest on, then the other way round, then not at all
    turns = [f"{name} desc", name] if is_number or name == "started" else [name, f"{name} desc"]
    following = {turns[0]: turns[1], turns[1]: ""}.get(now, turns[0])
    href = _address(asked, order=following)
    return Head(title=title, href=href, sorts=sorts, is_number=is_number)


def _row(run: Run, metrics: dict[str, float], columns: list[Shown], named: list[str]) -> Row:
    if columns:
        return Row(run=run, cells=[one.text(run, metrics) for one in columns])
    first = dict.fromkeys([*(key for key in named if key in metrics), *sorted(metrics)])
    return Row(run=run, metrics=[(key, metrics[key]) for key in first][:_KEY_METRICS])


def _named(asked: dict[str, str]) -> list[str]:
    """The metrics that runs are ordered and filtered by, which are shown before all others."""
    fields: list[Field] = []
    with contextlib.suppress(QueryError):  # what cannot be read is told where it was asked
        fields += [one.field for one in order.read(asked["order"])]
        node = parse(asked["where"])
        fields += searching.asked(node) if node else []
    return [one.key for one in fields if one.entity == "metric"]


def _links(asked: dict[str, str]) -> dict[str, str]:
    base = {**asked, "kind": "", "all": ""}
    files = {name: asked[name] for name in ("where", "order", "columns", "kind", "all", "deleted")}
    return {
        "whole": _address(base, where=""),
        "step": _address(base, kind="step"),
        "trial": _address(base, kind="trial"),
        "all": _address(base, all="1"),
        "csv": f"/runs/export.csv{_query(files)}",
        "jsonl": f"/runs/export.jsonl{_query(files)}",
        "parquet": f"/runs/export.parquet{_query(files)}",
    }


def _address(asked: Mapping[str, str], **changes: str) -> str:
    return "/runs" + _query({**asked, **changes})


def _query(values: Mapping[str, str]) -> str:
    given = {name: value for name, value in values.items() if value}
    return f"?{urlencode(given)}" if given else ""


def _grouped(project: Project, asked: dict[str, str], wrong: list[Wrong]) -> Groups | None:
    show = asked["show"] or "count"
    request = RunGroups(
        by=asked["by"],
        show=show,
        where=_where(asked),
        deleted=bool(asked["deleted"]),
        limit=_GROUPS,
    )
    try:
        return finding.RUNS_GROUP.call(project, request)
    except QueryError as error:
        field = "by" if error.text == asked["by"] else "show"
        if error.text in (asked["by"], show):
            wrong.append(_wrong(field, error))
        return None


def _where(asked: Mapping[str, str]) -> str:
    """The filter with the kind of runs that is chosen beside it; as it is where it is wrong."""
    try:
        node = parse(asked["where"])
    except QueryError:
        return asked["where"]
    parts = [] if node is None else [node]
    if asked["kind"]:
        parts.append(Compare(Field("attribute", "kind"), "=", asked["kind"]))
    elif node is None and not asked["all"]:
        parts.append(Null(Field("attribute", "parent")))
    return written(parts[0] if len(parts) == 1 else And(tuple(parts))) if parts else ""


def _group_rows(asked: dict[str, str], found: Groups | None) -> list[GroupRow]:
    if found is None:
        return []
    keys, numbers = groups.fields_of(", ".join(found.by)), groups.shown_of(" ".join(found.show))
    rows = []
    for one in found.groups:
        told = [shown.number(each, value) for each, value in zip(numbers, one.shown, strict=True)]
        where = _of_group(_where(asked), keys, one.key)
        href = _address({**asked, "by": "", "show": ""}, where=where) if where else ""
        key = [shown.written(field, value) for field, value in zip(keys, one.key, strict=True)]
        rows.append(GroupRow(key=key, href=href, shown=told))
    return rows


def _of_group(where: str, keys: list[Field], values: list[float | str | None]) -> str:
    """The filter of a group's runs, "" where it cannot be written."""
    parts: list[Node] = []
    before = parse(where)
    if before is not None:
        parts.append(before)
    for field, value in zip(keys, values, strict=True):
        if value is None:
            parts.append(Null(field))
        elif isinstance(value, str):
            parts.append(Compare(field, "=", value))
        elif not math.isfinite(value) or (
            field.entity == "attribute" and field.key != "peak_memory"
        ):
            return ""  # no filter names these; moments and spans are finer than they are written
        else:
            parts.append(Compare(field, "=", value))
    return written(parts[0] if len(parts) == 1 else And(tuple(parts)))


def _explained(project: Project, asked: dict[str, str], wrong: list[Wrong]) -> Importance | None:
    where, now = _where(asked), time.monotonic()
    key = (project.ws.root, project.ws.project, where, asked["explain"])
    with _lock:
        known = _told.get(key)
        if known is not None and now - known[0] < _FRESH:
            return known[1]
        try:
            request = Explained(metric=asked["explain"], where=where)
            found = finding.RUNS_IMPORTANCE.call(project, request)
        except QueryError:
            return None  # it is said at the filter
        except TrimtabError as error:
            wrong.append(Wrong(field="explain", what=error.message, hint=error.hint))
            return None
        _told[key] = (now, found)
        while len(_told) > _KEPT:
            _told.popitem(last=False)
        return found


_told: OrderedDict[tuple[Any, str, str, str], tuple[float, Importance]] = OrderedDict()
_lock = threading.Lock()


def _scattered(project: Project, asked: dict[str, str], wrong: list[Wrong]) -> Scatter | None:
    if not (asked["x"] and asked["y"]):
        return None
    try:
        return scatter(project.ws, Wanted(where=_where(asked)), asked["x"], asked["y"])
    except QueryError as error:
        for name in ("x", "y"):
            if error.text == asked[name]:
                wrong.append(_wrong(name, error))
                break
        return None
