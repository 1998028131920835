"""Giving runs away: to a server of MLflow's protocol or to a folder `mlruns`."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from trimtab.errors import DataError, TrimtabError, UsageError
from trimtab.interop.mlflow.state import LoggedModel, Registered, RegisteredVersion
from trimtab.interop.transfer import leaving
from trimtab.interop.transfer.leaving import Leaving
from trimtab.interop.transfer.source import ODD
from trimtab.interop.transfer.tally import Tally
from trimtab.store import runs
from trimtab.store.workspace import Workspace

FOLDER = "mlruns:"
SERVER = ("http://", "https://")


class Target(Protocol):
    """A place that takes runs, in this order: runs, outer ones first; models; registered models."""

    def put(self, one: Leaving) -> None:
        """Take a run."""
        ...

    def put_model(self, model: LoggedModel, files: dict[str, Path], step: int) -> None:
        """Take a logged model of a run that it took."""
        ...

    def put_registered(self, model: Registered, versions: list[RegisteredVersion]) -> None:
        """Take a registered model with some of its versions."""
        ...

    def close(self) -> None:
        """Give back what is open."""
        ...


def export_to_mlflow(ws: Workspace, wanted: list[str], to: str, tally: Tally) -> None:
    """Give runs, by their ids or beginnings of them, to `mlruns:FOLDER` or `http://HOST:PORT`.

    Again it adds what is new, and it goes on where it broke off. Raises UsageError for another
    target, StorageError where the target breaks off, DataError where it answers what is no answer.
    """
    named = [runs.get(ws, one).id for one in dict.fromkeys(wanted)]
    target = _target(ws, to, tally)
    try:
        steps: dict[str, int] = {}
        for run in leaving.ordered(ws, named):
            one = leaving.leaving(ws, run, tally)
            target.put(one)
            steps |= {out["model_id"]: int(out.get("step", 0)) for out in one.run.outputs}
            tally.progress(to)
        models = leaving.models(ws, set(named), tally)
        for model, inner in models:
            target.put_model(model, inner, steps.get(model.id, 0))
        known = {model.id for model, _ in models}
        for registered, versions in leaving.registered(ws, set(named), known, tally):
            target.put_registered(registered, versions)
    except TrimtabError:
        raise
    except ODD as error:
        said = f"{type(error).__name__}: {str(error)[:200]}"
        raise DataError(f"what {to} has cannot be read: {said}") from error
    finally:
        target.close()


def _target(ws: Workspace, to: str, tally: Tally) -> Target:
    if to.startswith(SERVER):
        from trimtab.interop.transfer.to_server import Server  # noqa: PLC0415 - only where asked for

        return Server(ws, to, tally)
    if to.startswith(FOLDER):
        from trimtab.interop.transfer.to_folder import Store  # noqa: PLC0415 - only where asked for

        return Store(ws, Path(to.removeprefix(FOLDER)).expanduser(), tally)
    raise UsageError(f"{to!r} is no target", hint="write mlruns:FOLDER or http://HOST:PORT")
