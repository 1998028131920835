"""The files of a model that MLflow logged, by flavor: ONNX, scikit-learn, LightGBM, XGBoost.

Graphs, texts and trees are read by their libraries, skops by its list of trusted types, a pickle only
where it is allowed. What `MLmodel` says of a file is never believed over the file.
"""

from __future__ import annotations

import importlib
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from trimtab.errors import IntegrityError, MissingExtraError, ModelError, RefusedError
from trimtab.model import mlmodel, native, ubjson
from trimtab.model.mlmodel import MlModel
from trimtab.model.signature import Task

MAX_BYTES: Final = 1 << 30
_GRAPH: Final = "onnx"
_SKOPS: Final = "skops"
_PICKLES: Final = ("pickle", "cloudpickle")
_XGBOOST: Final = {
    "binary": ("binary:logistic",),
    "multiclass": ("multi:softprob", "multi:softmax"),
    "regression": ("reg:", "count:poisson"),
}
_LIGHTGBM: Final = {
    "binary": ("binary",),
    "multiclass": ("multiclass", "softmax"),
    "regression": (
        "regression",
        "huber",
        "fair",
        "poisson",
        "quantile",
        "mape",
        "gamma",
        "tweedie",
    ),
}


@dataclass(frozen=True)
class Flavored:
    """A model that was read: a fitted estimator, or the bytes of an ONNX graph.

    `columns` are the names that it has of its own, in its order; `said` is how it was stored.
    """

    said: str
    estimator: Any = None
    graph: bytes | None = None
    columns: tuple[str, ...] = ()


def load(
    folder: Path, described: MlModel, task: Task, classes: int, *, allow_pickle: bool = False
) -> Flavored:
    """Read the model of a folder for a task; `classes` is their number.

    Raises ModelError for a flavor that is not read or a file that is not what it should be,
    RefusedError for a pickle that is not allowed and for types that are not built from a file.
    """
    name = next((one for one in _READERS if one in described.flavors), "")
    if not name:
        known = ", ".join(sorted(described.flavors))[:200]
        raise ModelError(
            f"no flavor of the model is read here; it has {known}",
            hint=f"log it as {', '.join(_READERS)}, or export it to ONNX",
        )
    return _READERS[name](folder, described.flavors[name], task, classes, allow_pickle)


def _onnx(folder: Path, entry: dict[str, Any], *_: Any) -> Flavored:
    path = _file(folder, entry.get("data"))
    return Flavored(said=_GRAPH, graph=path.read_bytes())


def _sklearn(
    folder: Path, entry: dict[str, Any], task: Task, _classes: int, allow_pickle: bool
) -> Flavored:
    path = _file(folder, entry.get("pickled_model"))
    found, how = _estimator(path, entry, allow_pickle)
    if task == "regression" and hasattr(found, "classes_"):
        raise ModelError("the model is a classifier, and the target is a number")
    return Flavored(said=f"scikit-learn, {how}", estimator=found, columns=_named(found))


def _lightgbm(
    folder: Path, entry: dict[str, Any], task: Task, classes: int, allow_pickle: bool
) -> Flavored:
    path = _file(folder, entry.get("data"))
    library = _library("lightgbm")
    if not _is_booster(entry):
        found, how = _estimator(path, entry, allow_pickle)
        return Flavored(said=f"lightgbm, {how}", estimator=found, columns=_named(found))
    try:
        booster = library.Booster(model_str=path.read_text("utf-8"))
    except Exception as error:  # the library's own, and a text that is none
        raise _damaged(path, "lightgbm", error) from error
    said = booster.dump_model(num_iteration=1).get("objective", "").partition(" ")[0]
    _check(said, _LIGHTGBM[task], task)
    return Flavored(
        said="lightgbm, text",
        estimator=_wrapped(library, booster, task, classes),
        columns=tuple(booster.feature_name()),
    )


def _wrapped(library: Any, booster: Any, task: Task, classes: int) -> Any:
    """The estimator of LightGBM around a booster."""
    found = library.LGBMRegressor() if task == "regression" else library.LGBMClassifier()
    width = booster.num_feature()
    # The library has no call that makes one; these are what its own fit sets.
    known: dict[str, Any] = {"_Booster": booster, "fitted_": True, "_objective": task}
    known |= {"_n_features": width, "_n_features_in": width}
    if task != "regression":
        known |= {"_classes": np.arange(classes), "_n_classes": classes}
        given = booster.num_model_per_iteration()
        if given != (1 if task == "binary" else classes):
            raise ModelError(f"the booster gives {given} scores, the target has {classes} classes")
    vars(found).update(known)
    return found


def _xgboost(
    folder: Path, entry: dict[str, Any], task: Task, classes: int, _allow: bool
) -> Flavored:
    path = _file(folder, entry.get("data"))
    library = _library("xgboost")
    found = library.XGBRegressor() if task == "regression" else library.XGBClassifier()
    data = path.read_bytes()
    if not (_is_json(data) or ubjson.is_object(data)):
        raise _damaged(path, "xgboost", ValueError("it is neither JSON nor UBJSON"))
    try:
        found.load_model(bytearray(data))
        booster = found.get_booster()
        config = msgspec.json.decode(booster.save_config())
    except Exception as error:
        raise _damaged(path, "xgboost", error) from error
    _check(config["learner"]["objective"]["name"], _XGBOOST[task], task)
    if task != "regression":
        found.n_classes_ = classes if task == "binary" else int(found.n_classes_)
        if found.n_classes_ != classes:
            raise ModelError(
                f"the booster knows {found.n_classes_} classes, the target has {classes}"
            )
    return Flavored(
        said="xgboost, " + ("JSON" if path.suffix == ".json" else "UBJSON"),
        estimator=found,
        columns=tuple(booster.feature_names or ()),
    )


_READERS: Final[dict[str, Callable[..., Flavored]]] = {
    "onnx": _onnx,
    "sklearn": _sklearn,
    "xgboost": _xgboost,
    "lightgbm": _lightgbm,
}


def _estimator(path: Path, entry: dict[str, Any], allow_pickle: bool) -> tuple[Any, str]:
    """A stored estimator, and in which format; pickle only where it is allowed."""
    how = mlmodel.text(entry.get("serialization_format")) or "cloudpickle"  # older ones say nothing
    if how == _SKOPS:
        _check_archive(path)
        return native.loads(path.read_bytes()), _SKOPS
    if how not in _PICKLES:
        raise ModelError(f"the format {how[:40]!r} of {path.name} is not read here")
    if not allow_pickle:
        raise RefusedError(
            f"{path.name} is a pickle, which is a program: it is not run here",
            hint='log it with serialization_format="skops"; where you trust who logged it: '
            "--allow-pickle",
        )
    # Reading one is refused above, so that nothing that unpickles is loaded before.
    from trimtab.model import unpickle  # noqa: PLC0415

    found = unpickle.load(path)
    if not hasattr(found, "predict"):
        raise ModelError(f"the pickle holds a {type(found).__name__}, which is no estimator")
    return found, "pickle"


def _file(folder: Path, said: Any) -> Path:
    path = mlmodel.inside(folder, said)
    if path.stat().st_size > MAX_BYTES:
        raise ModelError(f"{path.name} is larger than {MAX_BYTES:,} bytes")
    return path


def _check_archive(path: Path) -> None:
    """Refuse an archive that claims to hold more than a model may."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(one.file_size for one in archive.infolist())
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise IntegrityError(f"{path.name} is no skops file: {error}") from error
    if size > MAX_BYTES:
        raise ModelError(f"{path.name} says it unpacks to {size:,} bytes; at most {MAX_BYTES:,}")


def _is_json(data: bytes) -> bool:
    try:
        return isinstance(msgspec.json.decode(data), dict)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return False


def _is_booster(entry: dict[str, Any]) -> bool:
    kind, data = mlmodel.text(entry.get("model_class")), mlmodel.text(entry.get("data"))
    return kind.endswith(".Booster") or data.endswith(".lgb")


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError(
            f"a model of {name} needs {name} to be read: {error}", hint=f"pip install {name}"
        ) from error


def _named(estimator: Any) -> tuple[str, ...]:
    names = getattr(estimator, "feature_names_in_", None)
    return () if names is None else tuple(str(name) for name in names)


def _check(said: str, known: tuple[str, ...], task: Task) -> None:
    if not said.startswith(known):
        raise ModelError(
            f"the booster's objective is {said[:60]!r}, and the target asks for a {task} model",
            hint="the scores of such an objective are not what the task needs",
        )


def _damaged(path: Path, library: str, error: Exception) -> ModelError:
    said = str(error).strip().partition("\n")[0][:200]
    return ModelError(
        f"{library} cannot read {path.name}: {said or type(error).__name__}",
        hint="the file is damaged, or is of another flavor than MLmodel says",
    )
