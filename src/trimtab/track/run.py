"""Runs from Python: `with start_run("fit") as run: run.log({"loss": 0.3})`.

Thin over the store: a run's row is there when the block is entered, its points at the latest a
second after `log`, its end and its error when the block is left.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import msgspec

from trimtab import config, ids
from trimtab.errors import NotFoundError, UsageError
from trimtab.store import artifacts, metrics, runs, trees
from trimtab.store.records import Artifact, Point, Run
from trimtab.store.series import compaction
from trimtab.store.workspace import Workspace, open_workspace
from trimtab.track import environment, git, process

_BUFFERED: Final = 1_000
_SECONDS: Final = 1.0


class ActiveRun:
    """A run that is going on."""

    def __init__(self, ws: Workspace, run: Run) -> None:
        self.ws = ws
        self._run = run
        self._points: list[Point] = []
        self._steps: dict[str, int] = {}
        self._flushed = time.monotonic()

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

        Raises UsageError for a value that is no number.
        """
        now = ids.now()
        for key, value in values.items():
            try:
                number = float(value)
            except (TypeError, ValueError) as error:
                raise UsageError(f"metric {key!r} is no number: {value!r}") from error
            at = self._steps.get(key, 0) if step is None else step
            self._steps[key] = at + 1
            self._points.append(Point(key=key, step=at, time=now, value=number))
        if len(self._points) >= _BUFFERED or time.monotonic() - self._flushed > _SECONDS:
            self.flush()

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Add parameters; raises UsageError where one would change."""
        changed = [
            k for k, v in params.items() if k in self._run.params and self._run.params[k] != v
        ]
        if changed:
            raise UsageError(
                f"parameter {changed[0]!r} of run {self.name} was {self._run.params[changed[0]]!r}",
                hint="a parameter is set once; log what changes as a metric",
            )
        self._update("params", {**self._run.params, **params})

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags."""
        self._update("tags", {**self._run.tags, **tags})

    def log_artifact(self, path: str | Path, name: str = "") -> str:
        """Store a file or folder under a name (by default its own) and return the tree's digest."""
        source = Path(path)
        if source.is_dir():
            digest = trees.put_folder(self.ws.blobs, source)
        elif source.is_file():
            digest = trees.put_files(self.ws.blobs, {source.name: self.ws.blobs.put_file(source)})
        else:
            raise NotFoundError(f"there is no file or folder {source}")
        size = sum(entry.size for entry in trees.entries(self.ws.blobs, digest))
        made = Artifact(digest=digest, kind="file", size=size, run=self.id, created_at=ids.now())
        artifacts.record(self.ws, made)
        runs.link(self.ws, self.id, "out", name or source.name, digest)
        return digest

    def use(self, name: str, digest: str) -> None:
        """Note that the run read an artifact."""
        runs.link(self.ws, self.id, "in", name, digest)

    def flush(self) -> None:
        """Make every point that was logged durable."""
        points, self._points = self._points, []
        self._flushed = time.monotonic()
        metrics.append(self.ws, self.id, points)

    def _update(self, field: str, value: dict[str, Any]) -> None:
        runs.update(self.ws, self.id, **{field: value})
        self._run = msgspec.structs.replace(self._run, **{field: value})


active: Final[ContextVar[ActiveRun | None]] = ContextVar("active_run", default=None)


@contextmanager
def start_run(
    name: str = "run",
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, Any] | None = None,
    *,
    kind: str = "run",
    parent: str = "",
    cause: Mapping[str, Any] | None = None,
    key: str = "",
    ws: Workspace | None = None,
    capture: bool = True,
) -> Iterator[ActiveRun]:
    """Begin a run, and end it with the block: "failed" on an exception, "cancelled" on Ctrl-C.

    Inside of another run it is nested below it. `capture` notes the git state and the environment
    lock. Without `ws` it goes to the project that the working directory lies in.
    """
    outer = active.get()
    home = ws or (outer.ws if outer else _workspace(Path.cwd()))
    noted: dict[str, Any] = {process.TAG: process.mark()}
    found = git.state(home.project_dir) if capture else None
    if found is not None:
        noted["git"] = msgspec.to_builtins(found)
    run = runs.start(
        home,
        kind,
        name,
        params=dict(params or {}),
        tags={**noted, **(tags or {})},
        parent=parent or (outer.id if outer and outer.ws.root == home.root else ""),
        cause=dict(cause or {}),
        key=key,
        environment=environment.record(home) if capture else "",
    )
    started = ActiveRun(home, run)
    token = active.set(started)
    try:
        yield started
        finish(started, "done")
    except BaseException as error:
        finish(started, "cancelled" if isinstance(error, KeyboardInterrupt) else "failed", error)
        raise
    finally:
        active.reset(token)


def finish(run: ActiveRun, status: Any, error: BaseException | None = None) -> None:
    """End a run: its points, status, memory and error in one transaction."""
    with run.ws.transaction():
        run.flush()
        fields: dict[str, Any] = {} if error is None else {"error": as_data(error)}
        runs.finish(run.ws, run.id, status, peak_bytes=process.peak_bytes(), **fields)
    compaction.tidy(run.ws, run=run.id)


def as_data(error: BaseException) -> dict[str, Any]:
    """An error as what the store keeps."""
    return {
        "type": type(error).__name__,
        "message": str(error) or type(error).__name__,
        "hint": getattr(error, "hint", ""),
        "traceback": "".join(traceback.format_exception(error))[-20_000:],
    }


def log(values: Mapping[str, float], step: int | None = None) -> None:
    """Add points to the run that is going on; raises UsageError where there is none."""
    run = active.get()
    if run is None:
        raise UsageError("no run is going on", hint="wrap it: with trimtab.start_run(...) as run:")
    run.log(values, step)


@lru_cache(4)
def _open(file: Path, name: str) -> Workspace:
    return open_workspace(file.parent, name)


def _workspace(folder: Path) -> Workspace:
    file = config.find(folder)
    return _open(file, config.load(file).project.name)
