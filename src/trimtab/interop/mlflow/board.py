"""Everything that MLflow's clients logged, in memory and in the store.

Requests read the records here, so a search costs no database. Changes are made under `lock`, noted,
and written by `write` in one transaction; where that fails the board forgets everything and loads what
the store has. One server writes a project's board: `trimtab up` holds a lock that makes it the one.
What commands change meanwhile is noted (`store.outside`), and the board is read again.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any, Final

from trimtab import ids
from trimtab.interop.mlflow import rows
from trimtab.interop.mlflow.spelt import Spelt
from trimtab.interop.mlflow.state import (
    ACTIVE,
    Experiment,
    Latest,
    LoggedModel,
    Registered,
    RegisteredVersion,
    TrackedRun,
)
from trimtab.interop.mlflow.table import BoardTable
from trimtab.store import metrics, outside, runs, tracked
from trimtab.store.packed import Points
from trimtab.store.records import Run
from trimtab.store.series import reading
from trimtab.store.workspace import Workspace
from trimtab.track.search.table import newest

ROOT: Final = "mlflow-artifacts:/"
Point = tuple[str, float, int, int]
"""Key, value, time and step."""


class Board:
    """The records of a project, by their keys; `loaded` before anything is asked of them."""

    def __init__(self, ws: Workspace) -> None:
        self.ws = ws
        self.lock = threading.RLock()
        self.is_loaded = False
        self._noted = 0
        self._forget()

    def _forget(self) -> None:
        self.is_loaded = False
        self.experiments: dict[int, Experiment] = {}
        self.names: dict[str, Experiment] = {}
        self.runs: dict[str, TrackedRun] = {}
        self.by_experiment: dict[int, dict[str, TrackedRun]] = {}
        self.models: dict[str, LoggedModel] = {}
        self.registered: dict[str, Registered] = {}
        self.versions: dict[str, dict[int, RegisteredVersion]] = {}
        self.spelt = Spelt()
        self._table: BoardTable | None = None
        self._stale: dict[str, TrackedRun | None] = {}
        self._clean()

    def reset(self) -> None:
        """Forget everything; the next `load` finds what is in the store."""
        with self.lock:
            self._forget()

    def _clean(self) -> None:
        self._new: dict[str, TrackedRun] = {}
        self._changed: dict[tuple[str, Any], Any] = {}
        self._gone: dict[tuple[str, Any], dict[str, Any]] = {}
        self._points: dict[str, list[Point]] = {}

    def is_current(self) -> bool:
        """Whether it has been read, and nobody else has noted a change since."""
        return self.is_loaded and outside.noted(self.ws) == self._noted

    def load(self) -> None:
        """Read the store where it has not been read yet, or was changed by somebody else."""
        # in a transaction of its own: a change that is noted is committed before it begins
        if self.is_current():
            return
        with self.ws.transaction(), self.lock:
            if self.is_current():
                return
            # aside, and put in place at once: what asks the disk looks here without the lock
            fresh = Board(self.ws)
            fresh.lock = self.lock
            fresh._read()
            vars(self).update(vars(fresh))

    def _read(self) -> None:
        self._noted = outside.noted(self.ws)
        for row in tracked.load(self.ws, "experiments"):
            self.add_experiment(rows.to_experiment(row))
        for row in tracked.runs(self.ws):
            run = rows.to_tracked(row)
            self.place(run)
            if not run.is_summed:
                run.metrics, run.is_summed = Points(_latest(self.ws, run.id)), True
                self.touch(run)  # written with the next change, so that it is counted once
        for row in tracked.load(self.ws, "logged_models"):
            model = rows.to_logged(row)
            self.models[model.id] = model
        for row in tracked.load(self.ws, "registered_models"):
            self.registered[row["name"]] = rows.to_registered(row)
            self.versions[row["name"]] = {}
        for row in tracked.load(self.ws, "registered_versions"):
            self.versions[row["name"]][row["number"]] = rows.to_version(row)
        if 0 not in self.experiments:
            now = ids.now() // 1000
            self.add_experiment(Experiment(0, "Default", f"{ROOT}0", now, now))
            self.touch(self.experiments[0])
            self.write()
        self.is_loaded = True

    def add_experiment(self, one: Experiment) -> None:
        """Take an experiment in."""
        self.experiments[one.number] = one
        self.by_experiment.setdefault(one.number, {})
        if one.stage == ACTIVE:
            self.names[one.name] = one

    def add_run(self, one: TrackedRun) -> None:
        """Take a new run in."""
        self.place(one)
        self._new[one.id] = one

    def place(self, one: TrackedRun) -> None:
        """Show a run that is in the store."""
        if self._table is not None:
            self._stale.setdefault(one.id, None)
        self.runs[one.id] = one
        self.by_experiment.setdefault(one.experiment, {})[one.id] = one

    def touch(self, one: Any) -> None:
        """Note that a record has changed."""
        key = _key(one)
        if isinstance(one, TrackedRun):
            self.renew(one)
        self._changed[key] = one
        self._gone.pop(key, None)

    def renew(self, one: TrackedRun) -> None:
        """Note that what is shown of a run is different now."""
        if self._table is not None:
            self._stale.setdefault(one.id, one)
        self.spelt.drop(one.id)

    def unplace(self, one: TrackedRun) -> None:
        """Show a run no more."""
        self.renew(one)
        del self.runs[one.id]
        self.by_experiment[one.experiment].pop(one.id, None)

    def table(self) -> BoardTable:
        """All runs, deleted ones too, as they are now."""
        if self._table is None:
            self._table = BoardTable(sorted(self.runs.values(), key=newest))
        elif self._stale:
            pairs = [(before, self.runs.get(run)) for run, before in self._stale.items()]
            self._table = self._table.changed(pair for pair in pairs if pair != (None, None))
        self._stale = {}
        return self._table

    def drop(self, one: Registered | RegisteredVersion) -> None:
        """Note that a record is to go."""
        key = _key(one)
        self._changed.pop(key, None)
        row = _row(one)[1]
        row.pop("body")
        self._gone[key] = row

    def log(self, run: TrackedRun, points: Iterable[Point]) -> None:
        """Add points to a run."""
        self.renew(run)
        latest = run.metrics
        if not isinstance(latest, dict):
            latest = run.metrics = dict(latest)
        found = list(points)
        self._points.setdefault(run.id, []).extend(found)
        for key, value, time, step in found:
            known = latest.get(key)
            if known is None or step > known[2] or _order(value, time, step) > _order(*known):
                latest[key] = (value, time, step)
        if run.is_summed:
            run.is_summed = False
            self.touch(run)

    def write(self) -> None:
        """Write every change that was noted, inside of the caller's transaction."""
        ws = self.ws
        for run in self._new.values():
            own = rows.ordinary(run)
            cause = {"kind": "mlflow", "experiment": self.experiments[run.experiment].name}
            runs.record(ws, Run(kind="run", cause=cause, **own))
            tracked.save(ws, "tracked_runs", [rows.tracked(run)])
        changed: dict[tracked.Kind, list[dict[str, Any]]] = {}
        ordinary = []
        for one in self._changed.values():
            kind, row = _row(one)
            changed.setdefault(kind, []).append(row)
            if isinstance(one, TrackedRun):
                ordinary.append(rows.ordinary(one))
        tracked.save_runs(ws, ordinary)
        gone: dict[Any, list[dict[str, Any]]] = {}
        for (kind_gone, _), keys in self._gone.items():
            gone.setdefault(kind_gone, []).append(keys)
        for kind_gone, found in gone.items():
            tracked.remove(ws, kind_gone, found)
        for kind, values in changed.items():
            tracked.save(ws, kind, values)
        for id_, points in self._points.items():
            stored = [(key, value, time * 1000, step) for key, value, time, step in points]
            metrics.append_rows(ws, id_, stored)
        self._clean()


def _key(one: Any) -> tuple[str, Any]:
    match one:
        case TrackedRun():
            return "tracked_runs", one.id
        case Experiment():
            return "experiments", one.number
        case LoggedModel():
            return "logged_models", one.id
        case Registered():
            return "registered_models", one.name
        case RegisteredVersion():
            return "registered_versions", (one.name, one.number)
    raise TypeError(type(one))


def _row(one: Any) -> tuple[tracked.Kind, dict[str, Any]]:
    match one:
        case TrackedRun():
            return "tracked_runs", rows.tracked(one)
        case Experiment():
            return "experiments", rows.experiment(one)
        case LoggedModel():
            return "logged_models", rows.logged(one)
        case Registered():
            return "registered_models", rows.registered(one)
        case RegisteredVersion():
            return "registered_versions", rows.version(one)
    raise TypeError(type(one))


def _order(value: float, time: int, step: int) -> tuple[int, int, bool, float]:
    is_number = value == value  # noqa: PLR0124 - NaN comes before all numbers
    return step, time, is_number, value if is_number else 0.0


def _latest(ws: Workspace, run: str) -> dict[str, Latest]:
    return {
        key: (value, time // 1000, step)
        for key, (step, time, value) in reading.latest(ws, run).items()
    }
