"""A model that somebody else's tool logged, as a candidate: its columns found in a table with truth.

After this it is packaged, judged and served as any other. Which of the rows it was fitted on nobody
here knows, so `withheld` are the rows that a search would have withheld.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import polars as pl

from trimtab.errors import DataError, ModelError, RefusedError
from trimtab.model import boosting, brought, convert
from trimtab.model.flavors import Flavored
from trimtab.model.mlmodel import MlModel
from trimtab.model.signature import Column, Kind, Signature
from trimtab.tune import frames, roles, study
from trimtab.tune.candidate import Candidate, Class, Task
from trimtab.tune.roles import Roles

_UNNAMED: Final = re.compile(r"Column_\d+\Z")
_SEED: Final = 0


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows with known truth, and where they are from: `label` is the data version."""

    label: str
    table: pl.DataFrame
    roles: Roles
    task: Task
    classes: tuple[Class, ...]


def rows(label: str, table: pl.DataFrame, named: Roles) -> Rows:
    """The rows of a data version whose target is known; raises DataError or ConfigError."""
    named = Roles(
        target=named.target, time=named.time, key=named.key, protected=named.protected,
        decide=named.decide,
    )  # fmt: skip
    roles.check(table, named)
    known = table.drop_nulls([named.target])
    if known.schema[named.target].is_float():
        known = known.drop_nans([named.target])
    task = roles.task_of(known[named.target])
    found = () if task == "regression" else study.outcomes(known[named.target], task)
    return Rows(label, known, named, task, tuple(np.unique(found).tolist()) if len(found) else ())


def candidate(described: MlModel, read: Flavored, given: Rows) -> Candidate:
    """The candidate that a model is; raises ModelError, DataError or RefusedError where it is none."""
    features = _features(_columns(described, read), described, given)
    positive, threshold = roles.decision(given.roles.decide, given.classes, given.task)
    train, withheld = study.split(given.table, given.roles, given.task, _SEED)
    if read.graph is not None:
        return _of_graph(read.graph, features, given, (positive, threshold), (train, withheld))
    estimator = convert.unwrap(read.estimator)
    width = getattr(estimator, "n_features_in_", len(features))
    if width != len(features):
        raise ModelError(f"the model takes {width} columns, its signature names {len(features)}")
    _check_classes(estimator, given)
    words = [name for name, kind in features.items() if kind == "text"]
    if words and boosting.home(estimator):
        raise ModelError(
            f"the booster takes the text {words[0]!r} as a category of its own, which is not served",
            hint="fit a pipeline that encodes its texts, such as with OneHotEncoder, before it",
        )
    return Candidate(
        estimator=estimator,
        params={},
        task=given.task,
        target=given.roles.target,
        fit_on=given.roles.target,
        classes=given.classes,
        positive=positive,
        threshold=threshold,
        features=features,
        train=train,
        withheld=withheld,
        baseline=study.baseline(train[given.roles.target], given.task),
    )


def _of_graph(
    graph: bytes,
    features: dict[str, Kind],
    given: Rows,
    decided: tuple[Class | None, float | None],
    parts: tuple[pl.DataFrame, pl.DataFrame],
) -> Candidate:
    inputs = tuple(
        Column(name=name, kind=kind, nullable=_has_gaps(given.table[name]))
        for name, kind in features.items()
    )
    signed = Signature(
        task=given.task, engine="onnx", inputs=inputs, target=given.roles.target,
        classes=given.classes, positive=decided[0], threshold=decided[1],
    )  # fmt: skip
    found = brought.onnx_model(graph, signed, given.table)
    guess = study.baseline(parts[0][given.roles.target], given.task)
    return dataclasses.replace(found, train=parts[0], withheld=parts[1], baseline=guess)


def _columns(described: MlModel, read: Flavored) -> tuple[str, ...]:
    """The names of the columns in the model's order; raises ModelError where they are not known."""
    declared = tuple(one.name for one in described.columns)
    own = () if all(_UNNAMED.match(name) for name in read.columns) else read.columns
    if not own and not declared:
        raise ModelError(
            "neither the model nor MLmodel says which columns it takes",
            hint="log it with signature=infer_signature(X, model.predict(X)) of a table",
        )
    if not own or not declared:
        return own or declared
    if sorted(own) == sorted(declared):
        return own
    if [_plain(name) for name in own] == [_plain(name) for name in declared]:
        return declared  # LightGBM writes "_" for some characters of a name
    other = next(name for name in (*own, *declared) if (name in own) != (name in declared))
    raise ModelError(
        f"MLmodel's signature and the model itself differ in the column {other!r}",
        hint="log it with the signature of the table that it was fitted on",
    )


def _features(names: Sequence[str], described: MlModel, given: Rows) -> dict[str, Kind]:
    """The columns with their kinds in the table; raises DataError or RefusedError."""
    if hidden := [name for name in names if name in given.roles.withheld_from_fit]:
        raise RefusedError(
            f"the model reads {hidden[0]!r}, which no model of this project may see",
            hint="the target, key, time and protected columns are withheld from every fit",
        )
    lacking = [name for name in names if name not in given.table.columns]
    if lacking:
        raise DataError(
            f"the model takes {', '.join(map(repr, lacking[:5]))}, which {given.label} does not have",
            hint=f"it has {', '.join(given.table.columns[:40])}; a model is judged on the columns of "
            "the source, so what it makes of them belongs into the model",
        )
    kinds = frames.kinds(given.table.select(names), ())
    declared = {one.name: one.kind for one in described.columns}
    for name in names:
        kind, said = kinds.get(name), declared.get(name)
        if kind is None:
            raise DataError(f"column {name!r} of {given.label} is no number, boolean or text")
        if said is not None and (said == "text") != (kind == "text"):
            raise DataError(f"column {name!r} is a {said} to the model, a {kind} in {given.label}")
    return {name: kinds[name] for name in names}


def _check_classes(estimator: Any, given: Rows) -> None:
    """Raise ModelError where the model's classes are neither the target's nor their places."""
    if given.task == "regression" or not hasattr(estimator, "classes_"):
        return
    own = tuple(np.asarray(estimator.classes_).tolist())
    if own != given.classes and own != tuple(range(len(given.classes))):
        raise ModelError(
            f"the model's classes are {list(own)[:20]}, those of {given.roles.target!r} "
            f"{list(given.classes)[:20]}",
            hint="fit it on the target's own values, or on 0, 1, ... in their sorted order",
        )


def _has_gaps(values: pl.Series) -> bool:
    return values.null_count() > 0 or (values.dtype.is_float() and bool(values.is_nan().any()))


def _plain(name: str) -> str:
    return re.sub(r"[^\w]", "_", name)
