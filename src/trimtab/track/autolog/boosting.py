"""LightGBM and XGBoost: a point per iteration for every evaluation set, while it trains; of a
cross-validation the mean of the folds.

Their scikit-learn classes train through the same functions, inside of a `fit` that has a run.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

from trimtab.track.active import ActiveRun
from trimtab.track.autolog import fits
from trimtab.track.autolog.hooks import Patches

_ORIGINAL: Final = "__trimtab_original__"
_NAMES: Final = ("train", "cv")


def lightgbm(module: ModuleType, patches: Patches) -> None:
    """Patch `train` and `cv` wherever lightgbm keeps them; `module` is one of those places."""
    for name in _NAMES:
        _patch(module, name, patches, lambda _: _lightgbm_callback)


def xgboost(module: ModuleType, patches: Patches) -> None:
    """Patch `train` and `cv` wherever xgboost keeps them; `module` is one of those places."""
    for name in _NAMES:
        _patch(module, name, patches, _xgboost_callback)


def _patch(
    module: ModuleType, name: str, patches: Patches, make: Callable[[ModuleType], Any]
) -> None:
    train = vars(module).get(name)
    if not callable(train):
        return
    if hasattr(train, _ORIGINAL):  # imported from a module that is patched
        patches.note(module, name, getattr(train, _ORIGINAL))
        return

    @functools.wraps(train)
    def watched(*args: Any, **kwargs: Any) -> Any:
        given = args, kwargs
        if fits.current() is not None:
            try:
                given = _with_callback(train, args, kwargs, make(module))
            except Exception as error:
                fits.tell(error)
        return train(*given[0], **given[1])

    with_run = fits.wrapped(watched, functools.partial(_before, name), _after)

    @functools.wraps(train)
    def replaced(*args: Any, **kwargs: Any) -> Any:
        # in the run of a fit the iterations are its own
        inside = fits.current() is not None
        return (watched if inside else with_run)(*args, **kwargs)

    setattr(replaced, _ORIGINAL, train)
    patches.replace(module, name, replaced)


def _with_callback(
    train: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], callback: Any
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments with one more callback, wherever the others are given."""
    place = list(inspect.signature(train).parameters).index("callbacks")
    if place < len(args):
        more = [*(args[place] or ()), callback]
        return (*args[:place], more, *args[place + 1 :]), kwargs
    return args, {**kwargs, "callbacks": [*(kwargs.get("callbacks") or ()), callback]}


def _before(
    name: str, params: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    given = dict(params if params is not None else kwargs.get("params") or {})
    rounds = kwargs.get("num_boost_round", args[1] if len(args) > 1 else None)
    if rounds is not None:
        given.setdefault("num_boost_round", rounds)
    return name, given


def _after(
    run: ActiveRun, booster: Any, _params: Any, _args: tuple[Any, ...], _kwargs: dict[str, Any]
) -> None:
    best = getattr(booster, "best_iteration", None)
    if isinstance(best, int) and best >= 0:
        run.set_tags({"best_iteration": best})
    chosen = fits.options()
    if chosen is None or not chosen.models:
        return
    if hasattr(booster, "model_to_string"):
        run.log_model(booster.model_to_string().encode(), "model", file="model.txt")
    elif hasattr(booster, "save_raw"):
        run.log_model(bytes(booster.save_raw("json")), "model", file="model.json")


def _lightgbm_callback(env: Any) -> None:
    def note() -> None:
        run = fits.current()
        if run is not None and env.evaluation_result_list:
            # (data, metric, value, …), or (data, metric, mean, …, deviation) of its cv
            values = {f"{one[0]}/{one[1]}": one[2] for one in env.evaluation_result_list}
            run.log(values, step=env.iteration)

    fits.guarded(note)


def _xgboost_callback(module: ModuleType) -> Any:
    # xgboost is loaded already: this is called by its own train.
    import xgboost  # noqa: PLC0415

    class Watcher(xgboost.callback.TrainingCallback):
        """Logs what was evaluated in each iteration."""

        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            """Log, and never end the training."""
            fits.guarded(lambda: _log(epoch, evals_log))
            return False

    return Watcher()


def _log(epoch: int, evals_log: Any) -> None:
    run = fits.current()
    if run is None:
        return
    values = {}
    for data, found in evals_log.items():
        for metric, series in found.items():
            last = series[-1]
            values[f"{data}/{metric}"] = last[0] if isinstance(last, tuple) else last
    if values:
        run.log(values, step=epoch)
