"""Training rows as a client would send them: the source's own cells beside those that were fitted.

A step before the fit may drop rows, join and cast, but must not change a cell: what it did change,
a replay shows as skew, because a client sends what the source has.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from trimtab.data import tables
from trimtab.errors import TrimtabError
from trimtab.loop.candidate import skew
from trimtab.loop.project import Project
from trimtab.model import convert, golden
from trimtab.model import estimator as asked
from trimtab.model.decide import decide
from trimtab.model.function import FunctionCode
from trimtab.model.load import LoadedModel
from trimtab.model.onnx_file import OnnxFile
from trimtab.model.signature import Signature
from trimtab.model.witness import arrays
from trimtab.serve.folder import Settings
from trimtab.serve.measured import rehearsal
from trimtab.serve.measured.skew import Training
from trimtab.store.records import Evidence
from trimtab.tune.candidate import Candidate
from trimtab.tune.frames import features

ROWS: Final = 256


def rows(
    project: Project, candidate: Candidate, model: LoadedModel, data: Mapping[str, str]
) -> Training:
    """A sample of the rows that a candidate was fitted on, with the original's own answers.

    `model` is its package, `data` the versions of the sources that the run read, by name.
    """
    signed = model.signature
    frame = candidate.train.sample(min(ROWS, candidate.train.height), seed=0)
    ask = _original(candidate, model)
    places, scores = asked.answerable(ask, features(frame, candidate.features))
    frame = frame[places.tolist()]
    scale = golden.decode((model.folder / golden.FILE).read_bytes()).scale
    return Training(
        sent=_sent(project, frame, signed, data),
        features={c.name: _cells(frame[c.name], c.kind) for c in signed.inputs},
        scores=scores.tolist(),
        decisions=decide(signed, scores),
        scale=scale,
    )


def rehearse(
    project: Project, training: Training, package: Path, subject: str, run: str
) -> Evidence:
    """Replay rows through a throwaway endpoint and keep them for the real one; raises ModelError."""
    kept = skew.keep(project, training, subject)
    found = rehearsal.rehearse(package, training, settings(project))
    return skew.evidence_of(found, subject, skew.WINDOW, kept, run)


def settings(project: Project) -> Settings:
    """What a throwaway endpoint is allowed: what the real one is."""
    serve = project.config.serve
    return Settings(name="bench", invalid=serve.invalid, allow_python=serve.allow_python)


def _original(candidate: Candidate, model: LoadedModel) -> asked.Ask:
    """What the package was made of; of a function its package is the only form there is."""
    estimator = convert.unwrap(candidate.estimator)
    if isinstance(estimator, OnnxFile):
        return estimator.scores
    if isinstance(estimator, FunctionCode):
        return lambda frame: model.predict(arrays(frame, model.signature)).score.astype(np.float64)
    return asked.asker(estimator, model.signature)


def _sent(
    project: Project, frame: pl.DataFrame, signed: Signature, data: Mapping[str, str]
) -> dict[str, list[Any]]:
    """Cells of the source where it has the row by its key and the column with its kind."""
    found = {c.name: _cells(frame[c.name], c.kind) for c in signed.inputs}
    made = set(project.config.model.upstream)
    for name, config in project.config.data.items():
        if not config.key or config.key not in frame.columns or name not in data:
            continue
        wanted = [c.name for c in signed.inputs if c.name not in made and c.name != config.key]
        source = _source(project, data[name], config.key, wanted)
        if source is None or source.schema[config.key] != frame.schema[config.key]:
            continue
        places = pl.DataFrame({config.key: frame[config.key]}).with_row_index("place")
        joined = places.join(source, on=config.key, how="inner").sort("place")
        for column in signed.inputs:
            known = column.name in joined.columns and column.name != config.key
            if known and _kind(joined.schema[column.name]) == _kind(frame.schema[column.name]):
                cells = _cells(joined[column.name], column.kind)
                for place, cell in zip(joined["place"].to_list(), cells, strict=True):
                    found[column.name][place] = cell
    return found


def _source(project: Project, label: str, key: str, names: list[str]) -> pl.DataFrame | None:
    """The rows of a source whose key stands there once."""
    try:
        schema = tables.schema(project.ws, label).types
        if key not in schema:
            return None
        raw = tables.read(project.ws, label, [key, *(x for x in names if x in schema)])
    except TrimtabError:  # what the run read may have been removed since
        return None
    return raw.filter(pl.col(key).is_not_null() & pl.col(key).is_unique())


def _kind(dtype: pl.DataType) -> str:
    if dtype == pl.Boolean:
        return "boolean"
    if dtype.is_numeric():
        return "number"
    if dtype in (pl.String, pl.Categorical) or isinstance(dtype, pl.Enum):
        return "text"
    return str(dtype)


def _cells(values: pl.Series, kind: str) -> list[Any]:
    """Cells as JSON has them: whole numbers as such, missing as null."""
    if kind == "text":
        return values.cast(pl.String).to_list()
    if values.dtype.is_decimal():
        values = values.cast(pl.Float64)
    if values.dtype.is_float():
        values = values.cast(pl.Float64).fill_nan(None)
    if kind == "boolean" and values.dtype != pl.Boolean:
        values = values.cast(pl.Boolean)
    if kind == "number" and values.dtype == pl.Boolean:
        values = values.cast(pl.Float64)
    return values.to_list()
