"""Two runs side by side: what was different, in params, results, code, environment and data."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from typing import Any, Final

from trimtab.errors import IntegrityError, NotFoundError
from trimtab.store import artifacts, metrics, runs, trees, versions
from trimtab.store.records import Run
from trimtab.store.series import chart
from trimtab.store.trees import Entry
from trimtab.store.workspace import Workspace
from trimtab.track import environment
from trimtab.track.reports import (
    DataPair,
    DataUsed,
    Ends,
    FileChange,
    MetricPair,
    Pair,
    RunDiff,
)
from trimtab.track.search.record import flat

MOST_LINES: Final = 2_000
"""Lines of diffs in all; files after that are named only."""
UNCOMMITTED: Final = "uncommitted changes"
"""The name under which a run reads its patch."""
_MOST_BYTES: Final = 200_000
_MOST_FILES: Final = 500


def compare(ws: Workspace, a: str, b: str) -> RunDiff:
    """Compare two runs by id or unambiguous prefix; raises NotFoundError."""
    first, second = runs.get(ws, a), runs.get(ws, b)
    notes: list[str] = []
    return RunDiff(
        a=first,
        b=second,
        params=differences(dict(flat(first.params)), dict(flat(second.params))),
        tags=differences(dict(flat(first.tags)), dict(flat(second.tags))),
        metrics=_metrics(ws, first, second),
        code=_code(ws, first, second, notes),
        environment=differences(
            _lock(ws, first.environment, notes), _lock(ws, second.environment, notes)
        ),
        data=_data(ws, first.id, second.id),
        notes=notes,
    )


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Pair]:
    """The names whose values differ."""
    found = {name: (a.get(name), b.get(name)) for name in sorted(a.keys() | b.keys())}
    return {name: pair for name, pair in found.items() if _differ(*pair)}


def _differ(a: Any, b: Any) -> bool:
    # to Python True is 1, which nobody who set a param means
    return bool(a != b) or isinstance(a, bool) != isinstance(b, bool)


def _metrics(ws: Workspace, a: Run, b: Run) -> dict[str, MetricPair]:
    ends = [{key: _ends(ws, run.id, key) for key in metrics.keys(ws, run.id)} for run in (a, b)]
    found = {}
    for key in sorted(ends[0].keys() | ends[1].keys()):
        one, other = ends[0].get(key), ends[1].get(key)
        change = None
        lasts = [end.last for end in (one, other) if end and end.last is not None]
        if len(lasts) == 2 and all(map(math.isfinite, lasts)):
            change = lasts[1] - lasts[0]
        found[key] = MetricPair(a=one, b=other, change=change)
    return found


def _ends(ws: Workspace, run: str, key: str) -> Ends:
    curve = chart.chart(ws, run, key, stretches=1)
    nodes = curve.nodes
    low, high = float(nodes["low"].min()), float(nodes["high"].max())
    is_finite = low <= high
    last = float(nodes["last"][-1])
    return Ends(
        points=curve.points,
        last=last,
        min=low if is_finite else None,
        max=high if is_finite else None,
    )


def _code(ws: Workspace, a: Run, b: Run, notes: list[str]) -> list[FileChange]:
    """Files of the snapshots; of runs outside of flows what was not committed, as one patch."""
    patches = [_patch(ws, run.id) for run in (a, b)]
    if any(patches) and _digest(patches[0]) != _digest(patches[1]):
        return [_change(ws, UNCOMMITTED, patches[0], patches[1], MOST_LINES)]
    if a.code == b.code:
        return []
    trees_of = [_files(ws, run.code, notes) for run in (a, b)]
    if None in trees_of:
        return []
    first, second = (one or {} for one in trees_of)
    changed = [
        path
        for path in sorted(first.keys() | second.keys())
        if _digest(first.get(path)) != _digest(second.get(path))
    ]
    if len(changed) > _MOST_FILES:
        notes.append(f"of {len(changed):,} files that differ the first {_MOST_FILES} are listed")
    lines, found = MOST_LINES, []
    for path in changed[:_MOST_FILES]:
        one = _change(ws, path, first.get(path), second.get(path), lines)
        lines -= one.diff.count("\n")
        found.append(one)
    return found


def _change(
    ws: Workspace, path: str, before: Entry | None, after: Entry | None, lines: int
) -> FileChange:
    change = FileChange(
        path=path, change="changed" if before and after else "removed" if before else "added"
    )
    old, new = _text(ws, before), _text(ws, after)
    if old is None or new is None:
        return change
    names = f"a/{path}" if before else "/dev/null", f"b/{path}" if after else "/dev/null"
    diff = list(difflib.unified_diff(old.splitlines(), new.splitlines(), *names, lineterm=""))
    body = diff[2:]
    return FileChange(
        path=path,
        change=change.change,
        added=sum(line.startswith("+") for line in body),
        removed=sum(line.startswith("-") for line in body),
        diff="\n".join(diff) + "\n" if diff and len(diff) <= lines else "",
    )


def _patch(ws: Workspace, run: str) -> Entry | None:
    for one in runs.links(ws, run):
        if one.direction == "in" and one.name == UNCOMMITTED and ws.blobs.has(one.digest):
            return Entry(UNCOMMITTED, "blob", False, one.digest, ws.blobs.size(one.digest))
    return None


def _digest(entry: Entry | None) -> str:
    return entry.digest if entry else ""


def _text(ws: Workspace, entry: Entry | None) -> str | None:
    """The text of a file, "" for none, None where it is no text, too large or gone."""
    if entry is None:
        return ""
    if entry.size > _MOST_BYTES:
        return None
    try:
        return ws.blobs.read(entry.digest).decode()
    except (NotFoundError, IntegrityError, UnicodeDecodeError):
        return None


def _files(ws: Workspace, digest: str, notes: list[str]) -> dict[str, Entry] | None:
    if not digest:
        notes.append("one of the runs has no code snapshot")
        return None
    try:
        return trees.walk(ws.blobs, digest)
    except (
        NotFoundError,
        IntegrityError,
    ):  # swept away since, or no tree: the digest alone is left
        notes.append(f"the code snapshot {digest} is not there any more")
        return None


def _lock(ws: Workspace, digest: str, notes: list[str]) -> dict[str, str]:
    if not digest:
        return {}
    try:
        return environment.parse(ws.blobs.read(digest).decode())
    except (NotFoundError, UnicodeDecodeError):
        notes.append(f"the environment lock {digest} is not there any more")
        return {"(environment lock)": digest}


def _data(ws: Workspace, a: str, b: str) -> dict[str, DataPair]:
    first, second = (
        {
            one.name: one.digest
            for one in runs.links(ws, run)
            if one.direction == "in" and one.name != UNCOMMITTED
        }
        for run in (a, b)
    )
    return {
        name: DataPair(a=_used(ws, pair[0]), b=_used(ws, pair[1]))
        for name, pair in differences(first, second).items()
    }


def _used(ws: Workspace, digest: str | None) -> DataUsed | None:
    if digest is None:
        return None
    known = [one for one in versions.find(ws, "data") if one.digest == digest]
    rows = next((one.meta["rows"] for one in known if "rows" in one.meta), None)
    if rows is None:
        try:
            rows = artifacts.get(ws, digest).meta.get("rows")
        except NotFoundError:
            rows = None
    labels = [one.label for one in known]
    return DataUsed(digest=digest, versions=labels, rows=rows if isinstance(rows, int) else None)
