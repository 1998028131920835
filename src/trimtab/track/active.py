"""A run that is going on in this process: what it takes, and how it ends.

`log` is a write to the run's spool (`track.spool`); everything else goes to its home (`track.homes`).
A run that nobody ends is ended when the interpreter exits; a fork's child writes a spool of its own.
"""

from __future__ import annotations

import array
import atexit
import os
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from trimtab import ids
from trimtab.errors import NotFoundError, TrimtabError, UsageError
from trimtab.store import params as set_once
from trimtab.store import trees
from trimtab.store.records import Artifact, Run, RunStatus
from trimtab.track import media, process, sender
from trimtab.track.capture import Output
from trimtab.track.direct import Direct
from trimtab.track.homes import SpoolHome, StoreHome, begin_of, plain
from trimtab.track.spool import Spool
from trimtab.track.system import Sampler

if TYPE_CHECKING:  # a machine that only writes spools has no database
    from trimtab.store.workspace import Workspace
    from trimtab.track.taker import Taker

active: Final[ContextVar[ActiveRun | None]] = ContextVar("active_run", default=None)
_going: Final[dict[str, ActiveRun]] = {}
_crash: BaseException | None = None


class ActiveRun:
    """A run that is going on. `main` says whether this process ends it."""

    def __init__(
        self,
        home: StoreHome | SpoolHome,
        run: Run,
        *,
        main: bool = True,
        resumes: bool = False,
        spooled: bool = True,
        steps: dict[str, int] | None = None,
        system: float = 0.0,
    ) -> None:
        self.home = home
        self._run = run
        self._main = main
        self._resumes = resumes
        self._spooled = spooled
        self._steps = {} if steps is None else steps
        self._pid = os.getpid()
        self._opening = threading.Lock()
        self._line: Spool | Direct | None = home.spool if isinstance(home, SpoolHome) else None
        self._taker: Taker | None = None
        self._sampler = Sampler(system, home.folder) if system and spooled else None
        self._output: Output | None = None
        self._outer = active.get()
        self._ended = False
        _going[run.id] = self

    @property
    def ws(self) -> Workspace:
        """The store that the run goes to; raises UsageError where it is only spooled."""
        if isinstance(self.home, StoreHome):
            return self.home.ws
        raise UsageError("this run is offline: there is no store", hint="trimtab runs sync DIR")

    @property
    def id(self) -> str:
        """The run's id."""
        return self._run.id

    @property
    def name(self) -> str:
        """The run's name."""
        return self._run.name

    def log(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Add a point to each named series; without `step` a series counts its own points.

        A write to a local file and nothing else: it never waits for the store. Raises UsageError for
        a value that is no number and where the run has ended.
        """
        (self._line or self._opened()).log(values, step)

    def log_array(
        self,
        arrays: str | Mapping[str, Sequence[float]],
        values: Sequence[float] | None = None,
        *,
        steps: Sequence[int] | None = None,
    ) -> None:
        """Add many points at once: `log_array("loss", values)` or `log_array({"loss": values})`.

        Arrays are anything with the buffer of float64 (numpy), or numbers. Without `steps` a series
        counts its own points. Raises UsageError for lengths that differ and values that are no numbers.
        """
        given = {arrays: values} if isinstance(arrays, str) else arrays
        line, now = self._line or self._opened(), ids.now()
        columns = {key: packed("d", one, f"metric {key!r}") for key, one in given.items()}
        at = None if steps is None else packed("q", steps, "steps")
        for key, column in columns.items():
            count = len(column) // 8
            if at is not None and len(at) != len(column):
                raise UsageError(f"metric {key!r} has {count} values and {len(at) // 8} steps")
            first = line.steps.get(key, 0)
            own = at if at is not None else array.array("q", range(first, first + count)).tobytes()
            line.columns(key, own, column, now)
            if count:
                line.steps[key] = memoryview(own).cast("q")[-1] + 1

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Add parameters; raises UsageError where one would change."""
        known, given = self._run.params, plain(params)
        set_once.check(self.name, known, given)
        self._add({key: value for key, value in given.items() if key not in known}, {})

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags."""
        self._add({}, plain(tags))

    def log_artifact(self, path: str | Path, name: str = "") -> str:
        """Store a file or folder under a name (by default its own) and return the tree's digest."""
        source, blobs = Path(path), self.home.blobs
        if source.is_dir():
            digest = trees.put_folder(blobs, source)
        elif source.is_file():
            digest = trees.put_files(blobs, {source.name: blobs.put_file(source)})
        else:
            raise NotFoundError(f"there is no file or folder {source}")
        return self._made(name or source.name, digest)

    def log_figure(self, figure: Any, name: str = "figure.png") -> str:
        """Store a matplotlib or plotly figure, or the bytes of a picture; returns the digest.

        A matplotlib figure is saved as the ending of the name says, plotly's as JSON or HTML.
        """
        name, data = media.figure(figure, name)
        return self._bytes(name, data, {"shows": "figure"})

    def log_table(self, table: Any, name: str = "table") -> str:
        """Store a table: a dict of columns, a list of dicts, a polars or pandas DataFrame.

        Raises UsageError for anything else and for columns of different lengths.
        """
        name, data = media.table(table, name)
        return self._bytes(name, data, {"shows": "table"})

    def log_model(self, model: Any, name: str = "model", *, file: str = "model.onnx") -> str:
        """Store a fitted scikit-learn estimator (skops, never pickle), bytes (of ONNX, where `file`
        does not say otherwise), or a file or folder.

        Raises RefusedError for an estimator of types that reading would refuse.
        """
        with media.model(model, file) as folder:
            digest = trees.put_folder(self.home.blobs, folder)
        return self._made(name, digest, "model")

    def use(self, name: str, digest: str) -> None:
        """Note that the run read an artifact."""
        self.home.link(self.id, "in", name, digest)

    def capture_output(self) -> None:
        """Keep what Python code prints from now on as the artifact `output.log`."""
        if self._output is None:
            self._output = Output()

    def flush(self) -> None:
        """Take every point that was logged into the store; an offline run has nothing to do."""
        if isinstance(self._line, Direct):
            self._line.flush()
        else:
            self._take()

    def tend(self) -> None:
        """Take in what has arrived, and look at the machine; the sender does this."""
        if self._sampler is not None and not self._ended and (found := self._sampler.due()):
            self.log(found)
        self._take()
        if self._taker is not None and not self._ended:
            self._taker.beat()

    def finish(self, status: RunStatus = "done", error: BaseException | None = None) -> None:
        """End the run with all that it has logged; again, it does nothing.

        Where the store refuses, that is said on stderr, and the spool keeps everything.
        """
        if self._ended or self._pid != os.getpid():
            return
        if self._output is not None:
            self._bytes("output.log", self._output.close(), {"shows": "text"})
        self._ended = True
        end: dict[str, Any] = {
            "status": status,
            "ended_at": ids.now(),
            "peak_bytes": process.peak_bytes(),
        }
        if error is not None:
            end["error"] = as_data(error)
        try:
            self._close(end)
        finally:
            _going.pop(self.id, None)
            if active.get() is self:
                active.set(self._outer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.finish(outcome(error), error)

    def forked(self) -> None:
        """In a fork's child: the spool, the database's connections and the end are the parent's."""
        self._main, self._sampler, self._taker, self._output = False, None, None, None
        self._opening = threading.Lock()
        if isinstance(self._line, Spool):
            self._line.abandon()
            self._line = None
        if isinstance(self.home, SpoolHome):
            self.home.spool = None
        else:
            self.ws.engine.dispose(close=False)

    def _opened(self) -> Spool | Direct:
        if self._ended:
            raise UsageError(f"run {self.name} has ended")
        if not self._spooled:
            self._line = Direct(self.ws, self.id, self._steps)
            return self._line
        with self._opening:
            if self._line is None:
                begin = begin_of(
                    self._run, self.home.project, main=self._main, resumes=self._resumes
                )
                self._line = Spool(self.home.folder, begin, self._steps)
                if isinstance(self.home, SpoolHome):
                    self.home.spool = self._line
            return self._line

    def tended(self) -> None:
        """Have the sender look after it."""
        if isinstance(self.home, StoreHome):
            # The database and numpy, only where there is a store.
            from trimtab.track.taker import Taker  # noqa: PLC0415

            self._taker = Taker(self.ws, self.id)
        sender.add(self)

    def _take(self, *, last: bool = False) -> None:
        if self._taker is not None and isinstance(self._line, Spool):
            self._taker.take(self._line.path, left=self._line.left, last=last)

    def _close(self, end: dict[str, Any]) -> None:
        sender.remove(self)
        line, self._line = self._line, None
        if isinstance(line, Spool):
            line.close(end if self._main else None)
            if line.lost:
                end = {**end, "lost": line.lost}
        if self._taker is None and not isinstance(line, Direct) and self._spooled:
            return
        try:
            self._into_store(line, end)
        except (TrimtabError, OSError) as error:
            if not isinstance(line, Spool):
                raise
            print(  # noqa: T201 - training is over, and its results are worth more than an error
                f"trimtab: run {self.name}: {error}; {line.path} keeps it: trimtab runs sync",
                file=sys.stderr,
            )

    def _into_store(self, line: Spool | Direct | None, end: dict[str, Any]) -> None:
        if self._taker is not None and isinstance(line, Spool):
            self._taker.take(line.path, left=line.left, last=True)
            if line.lost and self._main:
                self.set_tags({"lost_points": line.lost})
        if isinstance(line, Direct):
            with self.ws.transaction():
                line.flush()
                self.home.end(self.id, end)
        elif self._main:
            self.home.end(self.id, end)
        is_many = line.batches > 1 if isinstance(line, Direct) else line is not None
        if is_many and isinstance(self.home, StoreHome):
            self.home.tidy(self.id)

    def _bytes(self, name: str, data: bytes, meta: dict[str, Any]) -> str:
        blobs = self.home.blobs
        digest = trees.put_files(blobs, {Path(name).name: blobs.put(data)})
        return self._made(name, digest, meta=meta)

    def _made(
        self, name: str, digest: str, kind: str = "file", meta: dict[str, Any] | None = None
    ) -> str:
        size = sum(entry.size for entry in trees.entries(self.home.blobs, digest))
        made = Artifact(
            digest=digest, kind=kind, size=size, meta=meta or {}, run=self.id, created_at=ids.now()
        )
        self.home.link(self.id, "out", name, made)
        return digest

    def _add(self, params: dict[str, Any], tags: dict[str, Any]) -> None:
        known = self.home.add(self.id, params, tags) or self._run
        self._run = msgspec.structs.replace(
            self._run, params={**known.params, **params}, tags={**known.tags, **tags}
        )


def packed(kind: str, values: Any, what: str) -> bytes:
    """Numbers of one dimension as little-endian bytes; raises UsageError for others."""
    made, shape = getattr(values, "astype", None), getattr(values, "shape", (0,))
    if len(shape) != 1:
        raise UsageError(f"{what}: an array of {len(shape)} dimensions, not one")
    try:
        if made is not None:
            # a cast would drop the half of a step and an imaginary part
            if values.dtype.kind not in ("cMm" if kind == "d" else "fcMmOu"):
                return bytes(made({"d": "<f8", "q": "<i8"}[kind]).tobytes())
            values = values.tolist()
        return array.array(kind, values).tobytes()
    except (TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"{what} are no numbers: {error}") from error


def outcome(error: BaseException | None) -> RunStatus:
    """How a run ends that is left so."""
    if error is None or (isinstance(error, SystemExit) and error.code in {None, 0}):
        return "done"
    return "cancelled" if isinstance(error, KeyboardInterrupt) else "failed"


def as_data(error: BaseException) -> dict[str, Any]:
    """An error as what the store keeps."""
    return {
        "type": type(error).__name__,
        "message": str(error) or type(error).__name__,
        "hint": getattr(error, "hint", ""),
        "traceback": "".join(traceback.format_exception(error))[-20_000:],
    }


def watch_exit() -> None:
    """Have runs that nobody ends ended with the interpreter, failed where it ends by an exception."""
    if sys.excepthook is not _excepthook:
        _before.append(sys.excepthook)
        sys.excepthook = _excepthook


_before: Final[list[Any]] = []


def _excepthook(kind: type[BaseException], error: BaseException, at: TracebackType | None) -> None:
    global _crash
    _crash = error
    (_before[-1] if _before else sys.__excepthook__)(kind, error, at)


def _finish_all() -> None:
    for run in reversed(list(_going.values())):
        try:
            run.finish(outcome(_crash), _crash)
        except Exception as error:
            print(f"trimtab: run {run.name}: {error}", file=sys.stderr)  # noqa: T201 - nobody is left


def _forked() -> None:
    for run in list(_going.values()):
        run.forked()


atexit.register(_finish_all)
os.register_at_fork(after_in_child=_forked)
