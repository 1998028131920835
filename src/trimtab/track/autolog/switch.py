"""`trimtab.autolog()`: on for what is imported already and for what will be; `disable` undoes it."""

from __future__ import annotations

from trimtab.track.autolog import boosting, estimators, fits
from trimtab.track.autolog.hooks import Patches, Watch

_patches = Patches()
_watch: Watch | None = None


def autolog(
    *,
    models: bool = False,
    score: bool = True,
    system: float = 0.0,
    disable: bool = False,
) -> None:
    """Make a run of every fit of scikit-learn, LightGBM and XGBoost from now on.

    The outermost fit is one run with its parameters, a point per iteration and evaluation set, and
    the score on the training rows (`score`); a grid search or a pipeline is one run. `models` stores
    the fitted model too, `system` looks at the machine every so many seconds. Nothing is imported,
    and no error in here reaches the fit. `disable` undoes all of it.
    """
    global _watch
    if _watch is not None:
        _watch.end()
        _watch = None
    _patches.undo()
    fits.switch(None)
    if disable:
        return
    fits.switch(fits.Options(models=models, score=score, system=system))
    wanted = {
        "sklearn.base": lambda module: estimators.put_on(module, _patches),
        **dict.fromkeys(
            ("lightgbm.engine", "lightgbm", "lightgbm.sklearn"),
            lambda module: boosting.lightgbm(module, _patches),
        ),
        **dict.fromkeys(
            ("xgboost.training", "xgboost", "xgboost.sklearn"),
            lambda module: boosting.xgboost(module, _patches),
        ),
    }
    _watch = Watch(wanted)
    _watch.begin()
