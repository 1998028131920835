"""`search`: a step that tries parameters by cross-validation and refits the best."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from trimtab import config as project_file
from trimtab import ids
from trimtab.errors import NotFoundError
from trimtab.pipeline import context
from trimtab.pipeline.step import Scope, step
from trimtab.store import metrics, runs
from trimtab.store.records import Point
from trimtab.tune import roles as naming
from trimtab.tune.candidate import Candidate, Trial
from trimtab.tune.roles import Roles

if TYPE_CHECKING:
    import polars as pl

    from trimtab.pipeline.context import Context


def _of_project(scope: Scope) -> dict[str, Any]:
    return {"roles": msgspec.to_builtins(naming.of(scope.config))}


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
    roles come from the project file, or from `target`. Raises DataError, PipelineError.
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
    """Trials remembered under the search's own key, each a run with its folds as a series.

    More trials continue a shorter search: how many were asked for is no part of a trial's key.
    """

    def remembered(number: int, params: dict[str, Any], fit: Callable[[], Trial]) -> Trial:
        made = False

        def make() -> dict[str, Any]:
            nonlocal made
            made = True
            return dict(msgspec.to_builtins(_tracked(running, number, params, fit)))

        key = {"trial": number, "params": params}
        trial = msgspec.convert(context.memo(running, key, make, without=("param:trials",)), Trial)
        facts = {"number": number + 1, "total": total, "params": params, "cached": not made}
        running.say("trial", {**facts, "score": trial.score, "metric": trial.metric})
        return trial

    return remembered


def _tracked(
    running: Context, number: int, params: dict[str, Any], fit: Callable[[], Trial]
) -> Trial:
    ws = running.ws
    run = runs.start(ws, "trial", f"trial {number}", parent=running.run, params=params)
    try:
        trial = msgspec.structs.replace(fit(), run=run.id)
    except BaseException as error:
        failed = {"type": type(error).__name__, "message": str(error)}
        runs.finish(ws, run.id, "failed", error=failed)
        raise
    now = ids.now()
    points = [
        Point(key=f"cv_{trial.metric}", step=fold, time=now, value=value)
        for fold, value in enumerate(trial.folds)
    ]
    with ws.transaction():
        metrics.append(ws, run.id, points)
        runs.finish(ws, run.id, "done")
    return trial
