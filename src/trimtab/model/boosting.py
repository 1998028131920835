"""LightGBM and XGBoost estimators, made known to skl2onnx where a model holds one.

The converters are those of onnxmltools. Neither library is imported before an estimator of its own
asks for it, so they stay optional.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from skl2onnx import update_registered_converter
from skl2onnx.common.shape_calculator import (
    calculate_linear_classifier_output_shapes,
    calculate_linear_regressor_output_shapes,
)

from trimtab.errors import ModelError

_HOMES: Final = {
    "lightgbm": (
        "onnxmltools.convert.lightgbm.operator_converters.LightGbm",
        "convert_lightgbm",
        ("LGBMClassifier", "LGBMRegressor"),
    ),
    "xgboost": (
        "onnxmltools.convert.xgboost.operator_converters.XGBoost",
        "convert_xgboost",
        ("XGBClassifier", "XGBRFClassifier", "XGBRegressor", "XGBRFRegressor"),
    ),
}
_CLASSIFIER: Final = {"nocl": [True, False], "zipmap": [True, False, "columns"]}
_known: Final[set[str]] = set()


def home(part: Any) -> str:
    """Which of the two libraries an object is of: "lightgbm", "xgboost", or ""."""
    name = type(part).__module__.partition(".")[0]
    return name if name in _HOMES else ""


def register(parts: Iterable[Any]) -> None:
    """Make the converters known that these estimators need; raises ModelError without onnxmltools."""
    for name in sorted({home(part) for part in parts} - {""} - _known):
        module, function, estimators = _HOMES[name]
        library = importlib.import_module(name)
        try:
            converter = getattr(importlib.import_module(module), function)
        except ImportError as error:
            raise ModelError(
                f"a model of {name} needs onnxmltools to become ONNX: {error}",
                hint="pip install onnxmltools",
            ) from error
        for estimator in estimators:
            classifier = "Classifier" in estimator
            update_registered_converter(
                getattr(library, estimator),
                f"{name.capitalize()}{estimator}",
                calculate_linear_classifier_output_shapes
                if classifier
                else calculate_linear_regressor_output_shapes,
                converter,
                options=_CLASSIFIER if classifier else {"split": None},
            )
        _known.add(name)


@contextmanager
def plain_names(parts: Iterable[Any]) -> Iterator[None]:
    """Let XGBoost call its features f0, f1, ... for a while: the converter knows no other names."""
    boosters = [
        part.get_booster()
        for part in parts
        if home(part) == "xgboost" and hasattr(part, "get_booster")
    ]
    named = [(booster, booster.feature_names) for booster in boosters if booster.feature_names]
    try:
        for booster, names in named:
            booster.feature_names = [f"f{index}" for index in range(len(names))]
        yield
    finally:
        for booster, names in named:
            booster.feature_names = names
