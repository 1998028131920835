"""Every `fit` of a scikit-learn estimator, also of classes that are defined later or by the user."""

from __future__ import annotations

from types import ModuleType
from typing import Any, Final

from trimtab.track.active import ActiveRun
from trimtab.track.autolog import fits
from trimtab.track.autolog.hooks import Patches

_MOST_ROWS: Final = 50_000
"""Rows that a training score is computed of at most: the first ones."""


def put_on(module: ModuleType, patches: Patches) -> None:
    """Patch the classes that are there, and those to come; `module` is sklearn.base."""
    base: Any = module.BaseEstimator
    for kind in _below(base):
        _patch(kind, patches)
    own = vars(base).get("__init_subclass__")

    def init_subclass(cls: type, /, **kwargs: Any) -> None:
        if own is not None:
            own.__func__(cls, **kwargs)
        else:
            super(base, cls).__init_subclass__(**kwargs)
        if fits.options() is not None:
            fits.guarded(lambda: _patch(cls, patches))

    patches.replace(base, "__init_subclass__", classmethod(init_subclass))


def _patch(kind: type, patches: Patches) -> None:
    own = vars(kind).get("fit")
    if callable(own) and not fits.is_wrapped(own):
        patches.replace(kind, "fit", fits.wrapped(own, _before, _after))


def _below(kind: type) -> list[type]:
    found: dict[type, None] = {kind: None}
    below: list[type] = kind.__subclasses__()
    for one in below:
        found.update(dict.fromkeys(_below(one)))
    return list(found)


def _before(
    model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    return type(model).__name__, model.get_params(deep=True)


def _after(
    run: ActiveRun, result: Any, model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    chosen = fits.options()
    if chosen is None:
        return
    if hasattr(model, "best_params_"):
        best = {f"best_{name}": value for name, value in model.best_params_.items()}
        run.log_params(fits.readable(best))
        run.log({"best_cv_score": model.best_score_})
        run.log_table(_plain(model.cv_results_), "cv_results")
    if chosen.score:
        fits.guarded(lambda: _score(run, model, args, kwargs))
    if chosen.models:
        run.log_model(model)


def _score(run: ActiveRun, model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    given = dict(zip(("X", "y"), args, strict=False)) | kwargs
    x, y = given.get("X"), given.get("y")
    if x is None or y is None or not hasattr(model, "score") or not hasattr(model, "predict"):
        return
    if len(y) > _MOST_ROWS:
        x, y = x[:_MOST_ROWS], y[:_MOST_ROWS]
    run.log({"training_score": model.score(x, y)})


def _plain(results: dict[str, Any]) -> dict[str, list[Any]]:
    simple = (bool, int, float, str, type(None))
    return {
        name: [one if isinstance(one, simple) else str(one) for one in list(column)]
        for name, column in results.items()
    }
