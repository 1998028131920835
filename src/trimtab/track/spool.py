"""A run's spool: an append-only file of frames that `log` writes to, one write for each call.

What `log` returned from is in the kernel's page cache, so it survives the death of the process (not a
loss of power). Nothing here knows the store: `track.merge` takes spools in. A disk that refuses
loses points, counted and told once, and never raises in training. docs/formats/spool.md specifies it.
"""

from __future__ import annotations

import contextlib
import os
import struct
import sys
import threading
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from trimtab import ids
from trimtab.errors import DataError, UsageError

MAGIC: Final = b"TTSP"
VERSION: Final = b"1"
START: Final = MAGIC + VERSION + b"\0\0\0"
HEAD: Final = struct.Struct("<II")
SUFFIX: Final = ".spool"
FOLDER: Final = "runs"
"""Where the spools of a workspace's own runs are, in its root."""
UNBORN: Final = ".new"
ROTATE: Final = 64 << 20
"""Bytes after which a run goes on in another file, so that what is taken in already is freed."""
RESERVE: Final = 4096
"""Bytes that a spool keeps from its beginning on, for how the run ended should the disk be full."""
MOST_AT_ONCE: Final = 1 << 16
"""Points in one frame of columns."""


class Begin(msgspec.Struct, frozen=True, kw_only=True):
    """What a spool opens with. `run` is the run's row as it began; `main` says whether the writer is
    the run's own process, whose death ends it; `resumes` that an ended run goes on.
    """

    spool: str
    run: dict[str, Any]
    project: str = ""
    main: bool = True
    resumes: bool = False
    process: dict[str, Any] = {}
    pid: int = 0


class _Form(NamedTuple):
    """A set of keys that are logged together: its number, and how its frames are packed."""

    keys: tuple[str, ...]
    pack: Callable[..., bytes]
    each: Callable[..., bytes]
    number: int


class Spool:
    """A spool that this process writes; safe to use from several threads, closed in a fork's child."""

    def __init__(self, folder: Path, begin: Begin, steps: dict[str, int] | None = None) -> None:
        self.folder = folder
        self.begin = begin
        self.steps = {} if steps is None else steps
        self.lost = 0
        self.left: list[Path] = []  # rotated away, for the sender to take in
        self._lock = threading.Lock()
        self._told = False
        self._open()

    def _open(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        run = self.begin.run["id"]
        self.path = self.folder / f"{run}-{self.begin.spool}{SUFFIX}"
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
        made = self.path.with_suffix(UNBORN)
        self._file = os.open(made, flags, 0o600)
        self._size = 0
        self._forms: dict[tuple[str, ...], _Form] = {}
        opening = START + framed(b"b" + msgspec.msgpack.encode(self.begin))
        self._reserve = len(opening)
        self._write(opening + reserved({}))
        made.rename(self.path)  # so that every spool is one, wherever the process is killed

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be written any more."""
        return self._file < 0

    def log(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Add a point to each named series; without `step` a series counts its own points.

        Raises UsageError for a value that is no number and a step that is no 64-bit integer.
        """
        now = ids.now()
        keys = tuple(values)
        with self._lock:
            form = self._forms.get(keys) or self._form(keys)
            if form is None:
                return
            known = self.steps
            try:
                if step is None:
                    at = [known.get(key, 0) for key in keys]
                    if at.count(at[0]) == len(at):
                        body = form.pack(b"s", form.number, at[0], now, *values.values())
                    else:
                        body = form.each(b"v", form.number, now, *at, *values.values())
                    for key, one in zip(keys, at, strict=True):
                        known[key] = one + 1
                else:
                    body = form.pack(b"s", form.number, step, now, *values.values())
                    for key in keys:
                        known[key] = step + 1
            except (struct.error, TypeError, ValueError, OverflowError):
                self._odd(form, values, step, now)
                return
            data = HEAD.pack(len(body), zlib.crc32(body)) + body
            try:
                if os.write(self._file, data) == len(data):
                    self._size += len(data)
                    if self._size > ROTATE:
                        self._rotate()
                    return
                reason: OSError | None = None
            except OSError as error:
                reason = error
            self._refused(reason, len(keys))

    def columns(self, key: str, steps: bytes, values: bytes, now: int) -> None:
        """Add points as columns: little-endian int64 steps and float64 values."""
        with self._lock:
            for begin in range(0, len(values), MOST_AT_ONCE * 8):
                form = self._forms.get((key,)) or self._form((key,))
                if form is None:
                    self.lost += (len(values) - begin) // 8 - 1
                    return
                part = slice(begin, begin + MOST_AT_ONCE * 8)
                count = len(values[part]) // 8
                head = struct.pack("<cIqI", b"c", form.number, now, count)
                self._put(head + steps[part] + values[part], count)
                if self._size > ROTATE:
                    self._rotate()

    def document(self, **fields: Any) -> None:
        """Add what is no point: `params`, `tags`, `artifact` or `link`."""
        with self._lock:
            self._put(b"d" + encoded(fields), 0)

    def close(self, end: Mapping[str, Any] | None = None) -> None:
        """Write how the run ended, where it did, and close the file."""
        with self._lock:
            if self._file < 0:
                return
            if end is not None:
                if not self._put(b"e" + encoded({**end, "lost": self.lost}), 0):
                    self._end_in_reserve({**end, "lost": self.lost})
                    return
            else:
                self._put(b"r", 0)
            os.close(self._file)
            self._file = -1
            self._told = True  # a thread that still logs is late, and no disk is full

    def abandon(self) -> None:
        """Close the file in a fork's child, where it is the parent's; the lock may have been held."""
        self._lock = threading.Lock()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _form(self, keys: tuple[str, ...]) -> _Form | None:
        """Name keys in the file before they are used; None where the disk refuses."""
        for key in keys:
            if type(key) is not str:
                raise UsageError(f"the name of a metric is text, not {key!r}")
        try:
            body = b"k" + msgspec.msgpack.encode(keys)
        except UnicodeEncodeError as error:
            raise UsageError(f"the name of a metric is no Unicode text: {keys!r}") from error
        if not keys:
            raise UsageError("there is nothing to log")
        count = len(keys)
        made = _Form(
            keys,
            struct.Struct(f"<cIqq{count}d").pack,
            struct.Struct(f"<cIq{count}q{count}d").pack,
            len(self._forms),
        )
        if not self._put(body, count):
            return None
        self._forms[keys] = made
        return made

    def _odd(self, form: _Form, values: Mapping[str, Any], step: Any, now: int) -> None:
        """What the quick way could not pack: text that is a number, or a mistake."""
        numbers = []
        for key, value in values.items():
            try:
                numbers.append(float(value))
            except (TypeError, ValueError, OverflowError) as error:
                raise UsageError(f"metric {key!r} is no number: {value!r}") from error
        at = [self.steps.get(key, 0) if step is None else step for key in form.keys]
        try:
            body = form.each(b"v", form.number, now, *at, *numbers)
        except struct.error as error:
            raise DataError(
                f"metric {form.keys[0]!r} has step {at[0]!r}: a step is a 64-bit integer"
            ) from error
        self.steps.update(zip(form.keys, (one + 1 for one in at), strict=True))
        self._put(body, len(numbers))

    def _put(self, body: bytes, points: int) -> bool:
        try:
            self._write(framed(body))
        except OSError as error:
            self._refused(error, points)
            return False
        return True

    def _write(self, data: bytes) -> None:
        if self._file < 0:
            raise OSError("the spool is closed")
        written = os.write(self._file, data)
        if written != len(data):
            raise OSError("the disk is full")
        self._size += written

    def _end_in_reserve(self, end: dict[str, Any]) -> None:
        """Write how the run ended where the disk has given room already."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        with contextlib.suppress(OSError), self.path.open("r+b") as stream:
            stream.seek(self._reserve)
            stream.write(reserved(end))

    def _refused(self, error: OSError | None, points: int) -> None:
        """Take back what half arrived; count and tell what is lost."""
        self.lost += points
        if self._file >= 0:
            try:
                os.ftruncate(self._file, self._size)
            except OSError:  # the reader drops what is torn; nothing may follow it
                os.close(self._file)
                self._file = -1
        if not self._told:
            self._told = True
            name, why = self.begin.run.get("name", "run"), error or "the disk is full"
            print(  # noqa: T201 - training goes on, and nobody else would say it
                f"trimtab: run {name}: points are being lost, {self.path} cannot be written: {why}",
                file=sys.stderr,
            )

    def _rotate(self) -> None:
        """Go on in another file; where that cannot be made, in this one."""
        before = (self.path, self._file, self._size, self._forms, self.begin)
        self.begin = msgspec.structs.replace(self.begin, spool=ids.new_id(), resumes=False)
        try:
            self._open()
        except OSError:
            self.path, self._file, self._size, self._forms, self.begin = before
            return
        end = framed(b"r")
        with contextlib.suppress(OSError):
            os.write(before[1], end)
        os.close(before[1])
        self.left.append(before[0])


def framed(body: bytes) -> bytes:
    """A frame: length and CRC-32 of the body, the body."""
    return HEAD.pack(len(body), zlib.crc32(body)) + body


def reserved(end: Mapping[str, Any]) -> bytes:
    """The frame of the reserve: always of one length, with how the run ended or nothing."""
    body = encoded(end)
    if len(body) > RESERVE - 5:  # a long traceback
        error = dict(end["error"], traceback="", message=str(end["error"]["message"])[:500])
        body = encoded({**end, "error": error})
    return framed(struct.pack("<cI", b"p", len(body)) + body.ljust(RESERVE - 5, b"\0"))


def encoded(fields: Mapping[str, Any]) -> bytes:
    """A document as MessagePack; a value of a foreign kind as its text."""
    return msgspec.msgpack.encode(dict(fields), enc_hook=str)


def found(folder: Path, run: str = "") -> Sequence[Path]:
    """The spools in a folder, of one run or of all, in the order in which they were begun."""
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    return [folder / name for name in names if name.endswith(SUFFIX) and name.startswith(run)]
