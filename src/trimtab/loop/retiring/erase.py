"""Erasing what belongs to a retired endpoint, each time with evidence that it was there and is not.

What is to go is measured and digested, and that is written down before anything is touched: a pass
that dies in between erases the rest and still knows what it was. Nothing of the content is kept.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from trimtab import hashing, ids
from trimtab.deploy import local
from trimtab.errors import TrimtabError
from trimtab.loop.project import Project
from trimtab.monitor.log import catalogue
from trimtab.serve.access import consumers, keys
from trimtab.serve.logged import log, privacy
from trimtab.serve.measured import skew
from trimtab.store import check, ledger, versions
from trimtab.store.records import Version
from trimtab.store.workspace import Workspace

KIND: Final = "erase"
WHAT: Final = {
    "log": "the prediction log: every answered row",
    "keys": "the API keys; nobody is let in by one of them any more",
    "secret": "the secret behind hashed columns; equal values are not found again",
    "consumers": "who called, by day",
}
DATA: Final = "data:"
"""Before the label of a data version: its rows are erased, its digest stays in the ledger."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to erase of one kind: files, rows (keys, callers), bytes and their digest."""

    what: str
    files: int = 0
    rows: int = 0
    bytes: int = 0
    digest: str = ""


def about(what: str) -> str:
    """What it is, for people."""
    return WHAT.get(what) or f"training rows {what.removeprefix(DATA)}"


def survey(project: Project, endpoint: str, what: str, *, digested: bool = False) -> Found:
    """What there is; with a digest over names and contents where asked for."""
    if what.startswith(DATA):
        return _data(project.ws, what)
    place = local.folder(project.ws, endpoint)
    paths = sorted(_paths(place, what))
    return Found(
        what=what,
        files=len(paths),
        rows=_rows(place, what),
        bytes=sum(one.stat().st_size for one in paths),
        digest=_digest(place, paths) if digested and paths else "",
    )


def erase(project: Project, endpoint: str, what: str) -> None:
    """Take it away; again where some of it is left."""
    if what.startswith(DATA):
        for digest in _own(project.ws, _version(project.ws, what)):
            project.ws.blobs.remove(digest)
        return
    _ERASE[what](local.folder(project.ws, endpoint))


def chain(ws: Workspace, endpoint: str, retirement: str, found: Found) -> None:
    """The evidence of deletion."""
    ledger.append(
        ws,
        KIND,
        {"endpoint": endpoint, "retirement": retirement, "at": ids.now(),
         **msgspec.to_builtins(found)},
    )  # fmt: skip


def erased(ws: Workspace, endpoint: str) -> list[dict[str, Any]]:
    """What the ledger says was erased of an endpoint, newest first."""
    found = [msgspec.json.decode(one.body) for one in ledger.find(ws, kind=KIND)]
    return [one for one in found if one.get("endpoint") == endpoint]


def _paths(place: Path, what: str) -> Iterator[Path]:
    for folder in _FOLDERS.get(what, ()):
        yield from (one for one in (place / folder).rglob("*") if one.is_file())
    name = {"keys": keys.FILE, "secret": privacy.KEY}.get(what)
    if name and (place / name).is_file():
        yield place / name


def _rows(place: Path, what: str) -> int:
    """Rows of the log, keys, or callers and days."""
    with contextlib.suppress(TrimtabError):
        if what == "keys":
            return len(keys.read(place) or ())
        if what == "consumers":
            return consumers.size(place)[1]
        if what == "log":
            return _logged(place)
    return 0


def _logged(place: Path) -> int:
    """Answered rows in Parquet files and in the segments that are not compacted yet."""
    rows, passed = 0, {}
    if (place / catalogue.FOLDER / catalogue.FILE).is_file():
        with catalogue.open_catalogue(place) as index:
            rows = int(index.db.execute("SELECT COALESCE(SUM(rows), 0) FROM files").fetchone()[0])
            passed = catalogue.covered(index)
    for path in log.segments(place / "log"):
        start = passed.get(path.name, 0)
        while True:
            frames, end = log.read_segment(path, start, log.READ_BYTES)
            rows += sum(one.rows for one in frames)
            if end == start:
                break
            start = end
    return rows


def _data(ws: Workspace, what: str) -> Found:
    version = _version(ws, what)
    own = [one for one in _own(ws, version) if ws.blobs.has(one)]
    rows = version.meta.get("rows")
    return Found(
        what=what,
        files=len(own),
        rows=rows if own and isinstance(rows, int) else 0,
        bytes=sum(ws.blobs.size(one) for one in own),
        digest=version.digest,
    )


def _version(ws: Workspace, what: str) -> Version:
    return versions.get(ws, "data", what.removeprefix(DATA))


def _own(ws: Workspace, version: Version) -> list[str]:
    """The blobs that nothing else holds, the root of them last: while it is there, all are found."""
    mine = list(check.contents(ws.blobs, version.digest))
    mine += [one for one in [(version.meta.get("profile") or {}).get("reference")] if one]
    others = check.users(ws, without=version.digest)
    return [one for one in reversed(mine) if one not in others]


def _digest(place: Path, paths: list[Path]) -> str:
    """One digest over the names and contents of files."""
    named = {str(one.relative_to(place)): hashing.file_digest(one) for one in paths}
    return hashing.object_digest("key", named)


def _drop_log(place: Path) -> None:
    for name in _FOLDERS["log"]:
        shutil.rmtree(place / name, ignore_errors=True)


def _drop_consumers(place: Path) -> None:
    shutil.rmtree(place / consumers.FOLDER, ignore_errors=True)


def _drop_keys(place: Path) -> None:
    keys.revoke(place)


def _drop_secret(place: Path) -> None:
    (place / privacy.KEY).unlink(missing_ok=True)


_FOLDERS: Final[dict[str, tuple[str, ...]]] = {
    "log": ("log", skew.CONTRACT, catalogue.FOLDER),
    "consumers": (consumers.FOLDER,),
}
_ERASE: Final[dict[str, Callable[[Path], None]]] = {
    "log": _drop_log,
    "keys": _drop_keys,
    "secret": _drop_secret,
    "consumers": _drop_consumers,
}
