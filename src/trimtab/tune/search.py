"""`search`: a step that tries parameters by cross-validation and refits the best."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import msgspec

from trimtab import config as project_file
from trimtab.errors import NotFoundError
from trimtab.pipeline import context
from trimtab.pipeline.step import Scope, step
from trimtab.track import run as tracking
from trimtab.tune import roles as naming
from trimtab.tune.candidate import Candidate, Trial
from trimtab.tune.roles import Roles

if TYPE_CHECKING:
    import polars as pl

    from trimtab.pipeline.context import Context

ALGORITHM: Final = 1
"""Part of the key of every search and trial; a change of how trials are made or scored raises it."""
_LIBRARIES: Final = ("optuna", "scikit-learn", "numpy", "polars")
# How many trials there are, and what else might have been tried, is nothing to a single trial.
_NOT_OF_A_TRIAL: Final = ("param:trials", "param:space")


def _of_project(scope: Scope) -> dict[str, Any]:
    libraries = {name: version(name) for name in _LIBRARIES}
    roles = msgspec.to_builtins(naming.of(scope.config))
    return {"roles": roles, "algorithm": ALGORITHM, "libraries": libraries}


@step(name="search", extras=_of_project)
def search(
    estimator: Callable[..., Any],
    rows: pl.DataFrame,
    *,
    space: Mapping[str, Sequence[Any]] | None = None,
    trials: int = 20,
    cv: int = 5,
    seed: int = 0,
    target: str = "",
) -> Candidate:
    """Search the best parameters of an estimator factory and fit it on all rows but the withheld.

    `estimator` is a function whose arguments are the search space and that returns an unfitted
    estimator. `space` gives a range `(lo, hi)` or a list of choices per argument; without one there
    is one trial. The last 20 % of the rows by time are withheld from every trial. In a plain call
    roles come from the project file, or from `target`. Raises DataError, ConfigError, PipelineError.
    """
    # scikit-learn and polars: only where a search really runs.
    from trimtab.tune import study  # noqa: PLC0415

    running = context.current()
    return study.best(
        estimator,
        rows,
        _roles(running, target),
        space=space or {},
        plan=study.Plan(trials=trials, cv=cv, seed=seed),
        memo=_memo(running, trials if space else 1) if running else study.run_now,
    )


def _roles(running: Context | None, target: str) -> Roles:
    if running is not None:
        found = msgspec.convert(running.extras["roles"], Roles)
    else:
        try:
            found = naming.of(project_file.load(project_file.find()))
        except NotFoundError:
            found = Roles()
    return msgspec.structs.replace(found, target=target) if target else found


def _memo(
    running: Context, total: int
) -> Callable[[int, dict[str, Any], Callable[[], Trial]], Trial]:
    """Trials that are remembered one by one, each a run with its folds as a series."""

    def remembered(number: int, params: dict[str, Any], fit: Callable[[], Trial]) -> Trial:
        made: list[Trial] = []

        def make() -> dict[str, Any]:
            made.append(_tracked(running, number, params, fit))
            return dict(msgspec.to_builtins(made[0]))

        found = context.memo(running, {"trial": params}, make, without=_NOT_OF_A_TRIAL)
        trial = msgspec.structs.replace(msgspec.convert(found, Trial), number=number)
        known = "" if made else ", known already"
        shown = ", ".join(f"{name}={value}" for name, value in params.items()) or "defaults"
        text = f"trial {number + 1}: {trial.metric} {trial.score:.4f} with {shown}{known}"
        running.progress(number + 1, total, text)
        return trial

    return remembered


def _tracked(
    running: Context, number: int, params: dict[str, Any], fit: Callable[[], Trial]
) -> Trial:
    name = f"trial {number + 1}"
    with tracking.start_run(
        name, params, kind="trial", parent=running.run, ws=running.ws, capture=False, spool=False
    ) as run:
        trial = msgspec.structs.replace(fit(), run=run.id)
        for fold, value in enumerate(trial.folds):
            run.log({f"cv_{trial.metric}": value}, step=fold)
    return trial
