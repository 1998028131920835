"""Reading a spool: from any frame on, as columns of points and documents, as far as it is whole."""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.errors import IntegrityError
from trimtab.store.series.points import Columns, Series
from trimtab.track.spool import HEAD, MAGIC, RESERVE, START, VERSION, Begin

AT_ONCE: Final = 8 << 20
_COLUMNS: Final = struct.Struct("<cIqI")
_FIRST: Final = 32


@dataclass
class Batch:
    """What stands between two places of a spool. `end` is how the run ended, `over` whether this
    file goes on no more.
    """

    since: int
    until: int
    columns: Columns
    documents: list[dict[str, Any]] = field(default_factory=list)
    end: dict[str, Any] | None = None
    over: bool = False


@dataclass
class _Parts:
    names: dict[str, int] = field(default_factory=dict)
    key: list[NDArray[np.uint32]] = field(default_factory=list)
    step: list[NDArray[np.int64]] = field(default_factory=list)
    time: list[NDArray[np.int64]] = field(default_factory=list)
    value: list[NDArray[np.float64]] = field(default_factory=list)

    def numbers(self, keys: list[str]) -> NDArray[np.uint32]:
        found = [self.names.setdefault(key, len(self.names)) for key in keys]
        return np.array(found, dtype=np.uint32)

    def columns(self) -> Columns:
        return Columns(
            tuple(self.names),
            _joined(self.key, np.uint32),
            Series(
                _joined(self.step, np.int64),
                _joined(self.time, np.int64),
                _joined(self.value, np.float64),
            ),
        )


class Reader:
    """A spool as it stands. Raises IntegrityError where it is none, or a newer one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.at = 0
        self._forms: list[list[str]] = []
        with path.open("rb") as stream:
            start = stream.read(len(START))
            head = stream.read(HEAD.size)
            body = stream.read(HEAD.unpack(head)[0]) if len(head) == HEAD.size else b""
        if start[:4] == MAGIC and start[4:5] > VERSION:
            raise IntegrityError(f"{path} was written by a newer trimtab", hint="upgrade trimtab")
        whole = start == START and len(head) == HEAD.size
        if not whole or HEAD.unpack(head) != (len(body), zlib.crc32(body)) or body[:1] != b"b":
            raise IntegrityError(f"{path} is no whole spool")
        try:
            self.begin = msgspec.msgpack.decode(body[1:], type=Begin)
        except msgspec.MsgspecError as error:
            raise IntegrityError(f"{path} is no whole spool: {error}") from error
        self._first = self.at = len(START) + HEAD.size + len(body)

    def ending(self) -> dict[str, Any]:
        """How the run ended where the disk was too full to say so at the end, else nothing."""
        with self.path.open("rb") as stream:
            stream.seek(self._first)
            body = _body(stream.read(HEAD.size + RESERVE), 0)
        if body is None or bytes(body[:1]) != b"p":
            return {}
        (length,) = struct.unpack_from("<I", body, 1)
        found: dict[str, Any] = msgspec.msgpack.decode(body[5 : 5 + length])
        return found

    @property
    def rest(self) -> int:
        """Bytes that are not read, or cannot be."""
        return os.stat(self.path).st_size - self.at

    def seek(self, place: int) -> None:
        """Go on at a place where a frame begins, knowing the keys that were named before it."""
        if place < self.at:
            self.at, self._forms = self._first, []
        while self.at < place:
            batch = self.read(min(AT_ONCE, place - self.at))
            if batch.until == batch.since:
                raise IntegrityError(f"{self.path} was cut: it ends before byte {place}")

    def read(self, most: int = AT_ONCE) -> Batch:
        """The next whole frames of about so many bytes, nothing where there are none."""
        with self.path.open("rb") as stream:
            stream.seek(self.at)
            data = stream.read(most)
            if len(data) >= HEAD.size and HEAD.unpack_from(data)[0] + HEAD.size > len(data):
                data += stream.read(min(HEAD.unpack_from(data)[0] + HEAD.size - len(data), 1 << 30))
        batch, parts, at = Batch(self.at, self.at, Columns((), _NONE, _NO_POINTS)), _Parts(), 0
        while not batch.over and (taken := self._frame(data, at, batch, parts)):
            at += taken
        self.at += at
        batch.until, batch.columns = self.at, parts.columns()
        return batch

    def _frame(self, data: bytes, at: int, batch: Batch, parts: _Parts) -> int:
        """Take in the frame at a place, and those like it that follow; how many bytes they are."""
        body = _body(data, at)
        if body is None:
            return 0
        size = HEAD.size + len(body)
        kind = bytes(body[:1])
        try:
            if kind in {b"s", b"v"}:
                return self._points(data, at, size, kind, parts)
            if kind == b"c":
                self._columns(bytes(body), parts)
            elif kind == b"k":
                self._forms.append(msgspec.msgpack.decode(body[1:], type=list[str]))
            elif kind == b"d":
                batch.documents.append(msgspec.msgpack.decode(body[1:], type=dict[str, Any]))
            elif kind == b"e":
                batch.end = msgspec.msgpack.decode(body[1:], type=dict[str, Any])
            if kind in {b"e", b"r"}:
                batch.over = True
        except (msgspec.MsgspecError, struct.error, LookupError, ValueError) as error:
            raise IntegrityError(f"{self.path} cannot be read: {error}") from error
        return size

    def _points(self, data: bytes, at: int, size: int, kind: bytes, parts: _Parts) -> int:
        (number,) = struct.unpack_from("<I", data, at + HEAD.size + 1)
        keys = self._forms[number]
        width = len(keys)
        fields: list[Any] = [("length", "<u4"), ("crc", "<u4"), ("kind", "S1"), ("form", "<u4")]
        if kind == b"s":
            fields += [("step", "<i8"), ("time", "<i8"), ("value", "<f8", (width,))]
        else:
            fields += [("time", "<i8"), ("step", "<i8", (width,)), ("value", "<f8", (width,))]
        rows = _alike(data, at, size, np.dtype(fields))
        count = len(rows)
        steps = np.repeat(rows["step"], width) if kind == b"s" else rows["step"].reshape(-1)
        parts.key.append(np.tile(parts.numbers(keys), count))
        parts.step.append(steps.astype(np.int64))
        parts.time.append(np.repeat(rows["time"], width).astype(np.int64))
        parts.value.append(rows["value"].reshape(-1).astype(np.float64))
        return count * size

    def _columns(self, body: bytes, parts: _Parts) -> None:
        _, number, now, count = _COLUMNS.unpack_from(body)
        begin = _COLUMNS.size
        steps = np.frombuffer(body, "<i8", count, begin).astype(np.int64)
        values = np.frombuffer(body, "<f8", count, begin + 8 * count).astype(np.float64)
        parts.key.append(np.repeat(parts.numbers(self._forms[number]), count))
        parts.step.append(steps)
        parts.time.append(np.full(count, now, dtype=np.int64))
        parts.value.append(values)


def _body(data: bytes, at: int) -> memoryview | None:
    """The body of the frame at a place, or None where it is not whole."""
    if at + HEAD.size > len(data):
        return None
    length, crc = HEAD.unpack_from(data, at)
    begin = at + HEAD.size
    body = memoryview(data)[begin : begin + length]
    return body if length and len(body) == length and zlib.crc32(body) == crc else None


def _alike(data: bytes, at: int, size: int, kind: np.dtype[Any]) -> NDArray[Any]:
    """The frames from a place on that are of the first one's size, kind and keys, and whole."""
    if kind.itemsize != size:
        raise ValueError("a frame of points has another length than its keys give")
    whole, window = (len(data) - at) // size, _FIRST
    first = np.frombuffer(data, kind, 1, at)[0]
    taken = 0
    while taken < whole:
        rows = np.frombuffer(data, kind, min(window, whole - taken), at + taken * size)
        same = (rows["length"] == first["length"]) & (rows["kind"] == first["kind"])
        same &= rows["form"] == first["form"]
        begins = range(at + taken * size + HEAD.size, at + (taken + len(rows)) * size, size)
        sums = [zlib.crc32(data[begin : begin + size - HEAD.size]) for begin in begins]
        same &= rows["crc"] == np.array(sums, dtype=np.uint32)
        if not same.all():
            taken += int(same.argmin())
            break
        taken, window = taken + len(rows), window * 4
    return np.frombuffer(data, kind, taken, at)


def _joined(found: list[NDArray[Any]], kind: Any) -> NDArray[Any]:
    return np.concatenate(found) if found else np.empty(0, kind)


_NONE: Final = np.empty(0, np.uint32)
_NO_POINTS: Final = Series(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float64))
