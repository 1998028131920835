"""Estimators whose conversion to ONNX is known to change answers, often without a word.

Each refusal names what is refused and why; what is not listed here must still pass the parity
check of `package`, which holds the graph against the estimator row by row.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator


def parts(estimator: Any) -> Iterator[Any]:
    """The estimator and every estimator nested in its fitted state, each once."""
    seen: set[int] = set()
    waiting = [estimator]
    while waiting:
        here = waiting.pop()
        if id(here) in seen:
            continue
        seen.add(id(here))
        if isinstance(here, BaseEstimator):
            yield here
            waiting.extend(vars(here).values())
        elif isinstance(here, dict):
            waiting.extend(here.values())
        elif isinstance(here, list | tuple | set) or (
            isinstance(here, np.ndarray) and here.dtype == object
        ):
            waiting.extend(x for x in here if isinstance(x, BaseEstimator | list | tuple | dict))


def refusal(estimator: Any) -> str:
    """Why the estimator must not be converted to ONNX, or "" where no trap is known."""
    return next((reason for part in parts(estimator) if (reason := _trap(part))), "")


def _trap(part: Any) -> str:
    name = type(part).__name__
    if getattr(part, "is_categorical_", None) is not None and np.any(part.is_categorical_):
        # sklearn-onnx#1051: the categorical splits are read as thresholds, 6 answers in 10 change.
        return f"{name} with categorical_features loses its categorical splits in ONNX"
    if type(part).__module__.startswith("sklearn.feature_extraction.text"):
        return f"{name} tokenises text differently in ONNX, and needs a locale that images lack"
    if getattr(part, "indicator_", None) is not None:
        return f"{name} with add_indicator puts its columns in another order in ONNX"
    if getattr(part, "handle_unknown", None) == "infrequent_if_exist":
        return (
            f'{name} with handle_unknown="infrequent_if_exist" fails in ONNX on an unseen category'
        )
    if type(part).__module__.startswith("lightgbm."):
        return _lightgbm(part, name)
    return ""


def _lightgbm(part: Any, name: str) -> str:
    parameters: dict[str, Any] = part.get_params() if hasattr(part, "get_params") else {}
    kinds = {parameters.get(key) for key in ("boosting_type", "boosting", "boost")}
    if kinds & {"rf", "random_forest"}:
        return f'{name} with boosting_type="rf" is summed in ONNX where it should be averaged'
    if parameters.get("zero_as_missing"):
        return f"{name} with zero_as_missing takes zero for a number in ONNX"
    return ""
