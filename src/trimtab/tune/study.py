"""The search itself: withhold, cross-validate a few trials, refit the best.

The last 20 % of the rows by time (stratified at random where there is none) are withheld from every
trial. Optuna samples and keeps nothing: a trial that is known already is told again, so a search
that was killed goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from trimtab.errors import DataError, PipelineError
from trimtab.tune import roles as naming
from trimtab.tune import space as spaces
from trimtab.tune.candidate import Candidate, Class, Task, Trial
from trimtab.tune.frames import features, kinds
from trimtab.tune.roles import Roles

WITHHELD: Final = 0.2
SCORING: Final = {
    "binary": ("roc_auc", "roc_auc"),
    "multiclass": ("log_loss", "neg_log_loss"),
    "regression": ("rmse", "neg_root_mean_squared_error"),
}
Factory = Callable[..., Any]
Memo = Callable[[int, dict[str, Any], Callable[[], Trial]], Trial]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How much to try."""

    trials: int = 20
    cv: int = 5
    seed: int = 0


def run_now(_number: int, _params: dict[str, Any], fit: Callable[[], Trial]) -> Trial:
    """The memo that remembers nothing."""
    return fit()


def best(
    factory: Factory,
    rows: pl.DataFrame,
    roles: Roles,
    *,
    space: Mapping[str, Sequence[Any]],
    plan: Plan,
    memo: Memo = run_now,
) -> Candidate:
    """Search and refit; raises DataError for unfit rows, PipelineError for an unfit estimator.

    `memo(number, params, fit)` gives a trial's result, from an earlier search where it knows it.
    """
    if not isinstance(rows, pl.DataFrame):
        raise PipelineError(f"search needs a polars DataFrame of rows, not {type(rows).__name__}")
    naming.check(rows, roles)
    spaces.check(space, factory)
    usable = _with_truth(rows, dict.fromkeys((roles.target, roles.learned)))
    task = naming.task_of(usable[roles.learned])
    train, withheld = split(usable, roles, task, plan.seed)
    wanted = kinds(train, roles.withheld_from_fit)
    if not wanted:
        raise DataError(
            "no column is left to learn from", hint="roles take the target, key, time and protected"
        )
    labels = outcomes(train[roles.learned], task)
    _check_folds(labels, task, plan.cv)
    trials = _search(factory, features(train, wanted), labels, task, space, plan, memo)
    winner = max(trials, key=lambda trial: (trial.score, -trial.number))
    estimator = _fit(factory, winner.params, features(train, wanted), labels)
    classes = _classes(train[roles.learned], task)
    positive, threshold = naming.decision(roles.decide, classes, task)
    return Candidate(
        estimator=estimator,
        params=winner.params,
        task=task,
        target=roles.target,
        fit_on=roles.learned,
        classes=classes,
        positive=positive,
        threshold=threshold,
        features=wanted,
        train=train,
        withheld=withheld,
        trials=tuple(trials),
        baseline=baseline(train[roles.target], task),
    )


def _with_truth(rows: pl.DataFrame, columns: Iterable[str]) -> pl.DataFrame:
    """The rows whose target is known; a float target may be missing as NaN too."""
    floats = [name for name in columns if rows.schema[name].is_float()]
    return rows.drop_nulls(list(columns)).drop_nans(floats)


def split(
    rows: pl.DataFrame, roles: Roles, task: Task, seed: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows to learn from, and the last fifth by time, or a stratified fifth, to judge by."""
    keep = max(round(rows.height * WITHHELD), 1)
    if rows.height - keep < 2:
        raise DataError(f"{rows.height} rows are too few: some are withheld to judge the model by")
    if roles.time:
        ordered = rows.sort(roles.time, maintain_order=True)
        return ordered.head(rows.height - keep), ordered.tail(keep)
    # scikit-learn is heavy and needed only where a model is fitted.
    from sklearn.model_selection import train_test_split  # noqa: PLC0415

    index = np.arange(rows.height)
    labels = None if task == "regression" else rows[roles.learned].cast(pl.String).to_numpy()
    try:
        left, right = train_test_split(index, test_size=keep, random_state=seed, stratify=labels)
    except ValueError:  # a class too small to stratify by
        left, right = train_test_split(index, test_size=keep, random_state=seed)
    return rows[np.sort(left)], rows[np.sort(right)]


def _search(
    factory: Factory,
    table: pl.DataFrame,
    labels: NDArray[Any],
    task: Task,
    space: Mapping[str, Sequence[Any]],
    plan: Plan,
    memo: Memo,
) -> list[Trial]:
    import optuna  # noqa: PLC0415 half a second, only for a search

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=plan.seed)
    )
    wanted = spaces.distributions(space)
    trials: list[Trial] = []
    for number in range(plan.trials if space else 1):
        asked = study.ask(wanted)
        params = dict(asked.params)

        def fit(number: int = number, params: dict[str, Any] = params) -> Trial:
            return _cross_validate(factory, number, params, table, labels, task, plan)

        trial = memo(number, params, fit)
        study.tell(asked, trial.score)
        trials.append(trial)
    return trials


def _cross_validate(
    factory: Factory,
    number: int,
    params: dict[str, Any],
    table: pl.DataFrame,
    labels: NDArray[Any],
    task: Task,
    plan: Plan,
) -> Trial:
    # scikit-learn is heavy and needed only where a model is fitted.
    from sklearn.metrics import get_scorer  # noqa: PLC0415
    from sklearn.model_selection import KFold, StratifiedKFold  # noqa: PLC0415

    metric, scoring = SCORING[task]
    kind = KFold if task == "regression" else StratifiedKFold
    folds = kind(n_splits=plan.cv, shuffle=True, random_state=plan.seed)
    scorer = get_scorer(scoring)
    scores = []
    for left, right in folds.split(np.zeros(len(labels)), labels):
        estimator = _fit(factory, params, table[left], labels[left])
        try:
            scores.append(float(scorer(estimator, table[right], labels[right])))
        except Exception as error:  # a user's estimator may raise anything
            raise PipelineError(
                f"scoring trial {number} with {params} failed: {type(error).__name__}: {error}"
            ) from error
    if not np.isfinite(scores).all():
        raise PipelineError(
            f"trial {number} with {params} scored {scores}, which are not all numbers",
            hint="the estimator predicts NaN or infinite values on held-out rows",
        )
    return Trial(
        number=number, params=params, score=float(np.mean(scores)), folds=scores, metric=metric
    )


def _fit(
    factory: Factory, params: dict[str, Any], table: pl.DataFrame, labels: NDArray[Any]
) -> Any:
    estimator = factory(**params)
    if not (hasattr(estimator, "fit") and hasattr(estimator, "predict")):
        raise PipelineError(
            f"{factory.__name__} returned {type(estimator).__name__}, which is no estimator",
            hint="return an unfitted scikit-learn estimator or pipeline",
        )
    try:
        return estimator.fit(table, labels)
    except Exception as error:  # a user's estimator may raise anything
        raise PipelineError(
            f"fitting {factory.__name__} with {params or 'its defaults'} failed: "
            f"{type(error).__name__}: {error}",
            hint="try it by itself: the factory and the step before it are plain Python",
        ) from error


def outcomes(column: pl.Series, task: Task) -> NDArray[Any]:
    """A target column without gaps as an estimator gets it: classes as they are, or numbers."""
    if task == "regression":
        return column.cast(pl.Float64).to_numpy()
    if column.dtype.is_float():
        return column.cast(pl.Int64).to_numpy()
    return np.array(column.to_list())


def _classes(column: pl.Series, task: Task) -> tuple[Class, ...]:
    if task == "regression":
        return ()
    return tuple(np.unique(outcomes(column, task)).tolist())


def _check_folds(labels: NDArray[Any], task: Task, cv: int) -> None:
    if cv < 2:
        raise PipelineError(f"cv = {cv}: cross-validation needs at least 2 folds")
    if len(labels) < cv:
        raise DataError(f"{len(labels)} rows are fewer than the {cv} folds of cross-validation")
    if task == "regression":
        return
    values, counts = np.unique(labels, return_counts=True)
    if counts.min() < cv:
        raise DataError(
            f"class {values.tolist()[counts.argmin()]!r} has {counts.min()} training rows, "
            f"fewer than the {cv} folds of cross-validation",
            hint="lower cv, join rare classes, or bring more rows",
        )


def baseline(column: pl.Series, task: Task) -> dict[str, Any]:
    """What guessing without inputs gives: the mean, or the share of each class."""
    if task == "regression":
        return {"value": float(column.cast(pl.Float64).mean() or 0.0)}  # type: ignore[arg-type]
    counts = column.drop_nulls().value_counts().iter_rows()
    return {"shares": {str(label): count / len(column.drop_nulls()) for label, count in counts}}
