"""Who calls an endpoint: requests by caller and day, in `consumers/` of its folder.

Counting costs one look into a dict. What was counted is added to the day's file every few seconds,
under a lock and by rename, so that workers share it and a crash loses those seconds at most. It
holds ids and names of keys and hashes of token subjects; never an address, and no subject itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from trimtab import ids

FOLDER: Final = "consumers"
FLUSH_SECONDS: Final = 5.0
KEEP_DAYS: Final = 92
MAX_KEYS: Final = 20_000
OTHERS: Final = "others"
REPLAY: Final = "replay"  # the contract by which training rows are replayed, see `skew`
_DAY: Final = 86_400_000_000
_TOKEN: Final = "token-"  # noqa: S105 - how ids of token bearers begin, see `auth`

Key = tuple[str, str, str]
"""Caller's id, contract, label of the model."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What one caller asked in one tongue of one model on one day; `last` in microseconds."""

    caller: str
    name: str
    contract: str
    model: str
    requests: int
    last: int


class DayFile(msgspec.Struct, frozen=True, kw_only=True):
    """`consumers/2026-11-21.json`, a day in UTC."""

    version: int = 1
    rows: tuple[Row, ...] = ()


class Consumer(msgspec.Struct, frozen=True, kw_only=True):
    """Who called, how often, when last, on how many days, in which tongues and which models."""

    caller: str
    name: str
    requests: int
    last: int
    days: int
    contracts: dict[str, int]
    models: dict[str, int]


class Counter:
    """Counts of one process that no file has yet; `note` and `take` from one thread."""

    __slots__ = ("_counts", "_names")

    def __init__(self) -> None:
        self._counts: dict[Key, int] = {}
        self._names: dict[str, str] = {}

    def note(self, caller: str, name: str, contract: str, model: str, count: int = 1) -> None:
        """So many requests."""
        try:
            self._counts[caller, contract, model] += count
        except KeyError:
            self._first(caller, name, contract, model, count)

    def take(self) -> list[Row]:
        """What was counted since the last time, as of now."""
        now, names = ids.now(), self._names
        taken = [
            Row(
                caller=caller,
                name=names.get(caller, ""),
                contract=contract,
                model=model,
                requests=count,
                last=now,
            )
            for (caller, contract, model), count in self._counts.items()
        ]
        self._counts, self._names = {}, {}
        return taken

    def give_back(self, rows: Sequence[Row]) -> None:
        """Count again what no file took."""
        for row in rows:
            key = (row.caller, row.contract, row.model)
            self._counts[key] = self._counts.get(key, 0) + row.requests
            self._names.setdefault(row.caller, row.name)

    def _first(self, caller: str, name: str, contract: str, model: str, count: int) -> None:
        if contract == REPLAY:  # rows that no client asked about
            return
        if len(self._counts) >= MAX_KEYS:
            caller = name = OTHERS
        self._names[caller] = "" if caller.startswith(_TOKEN) else name
        key = (caller, contract, model)
        self._counts[key] = self._counts.get(key, 0) + count


def add(folder: Path, rows: Sequence[Row]) -> None:
    """Add counts to the file of the day; raises OSError, and then nothing was added."""
    if not rows:
        return
    place = folder / FOLDER
    place.mkdir(exist_ok=True)
    path = place / f"{_day(max(row.last for row in rows))}.json"
    with _alone(place):
        is_new = not path.exists()
        known = {(row.caller, row.contract, row.model): row for row in _read(path)}
        for row in rows:
            key = (row.caller, row.contract, row.model)
            before = known.get(key)
            known[key] = msgspec.structs.replace(
                row, requests=row.requests + (before.requests if before else 0)
            )
        staged = path.with_name(f".{path.name}")
        staged.write_bytes(msgspec.json.encode(DayFile(rows=tuple(known.values()))))
        staged.replace(path)
        if is_new:
            _drop(place, _day(rows[0].last - KEEP_DAYS * _DAY))


def read(folder: Path, since: int = 0) -> list[Consumer]:
    """Who called on the day of `since` (microseconds) or later, who called last first.

    A file that cannot be read counts for nothing.
    """
    first = _day(since)
    found: dict[str, list[tuple[str, Row]]] = {}
    for path in sorted((folder / FOLDER).glob("*.json")):
        if path.stem >= first:
            for row in _read(path):
                found.setdefault(row.caller, []).append((path.stem, row))
    consumers = [_of(caller, rows) for caller, rows in found.items()]
    return sorted(consumers, key=lambda one: (-one.last, one.caller))


def size(folder: Path) -> tuple[int, int, int]:
    """Files, rows and bytes of all days."""
    files = sorted((folder / FOLDER).glob("*.json"))
    return (
        len(files),
        sum(len(_read(one)) for one in files),
        sum(one.stat().st_size for one in files),
    )


def _of(caller: str, rows: Sequence[tuple[str, Row]]) -> Consumer:
    contracts: dict[str, int] = {}
    models: dict[str, int] = {}
    for _, row in rows:
        contracts[row.contract] = contracts.get(row.contract, 0) + row.requests
        models[row.model] = models.get(row.model, 0) + row.requests
    return Consumer(
        caller=caller,
        name=rows[-1][1].name,
        requests=sum(row.requests for _, row in rows),
        last=max(row.last for _, row in rows),
        days=len({day for day, _ in rows}),
        contracts=contracts,
        models=models,
    )


def _read(path: Path) -> Sequence[Row]:
    try:
        file = msgspec.json.decode(path.read_bytes(), type=DayFile)
        return file.rows if file.version == 1 else ()
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return ()


def _day(micros: int) -> str:
    return datetime.fromtimestamp(max(micros, 0) / 1e6, UTC).date().isoformat()


def _drop(place: Path, before: str) -> None:
    for path in place.glob("*.json"):
        if path.stem < before:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _alone(place: Path) -> Iterator[None]:
    handle = os.open(place / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
