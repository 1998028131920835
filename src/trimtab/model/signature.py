"""What a packaged model takes and gives: typed columns in, a score and a decision out.

Written by `package`, read by everything that feeds a model. Importable without a dataframe or
machine-learning library. docs/formats/model-package.md is the specification of its JSON.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Final, Literal

import msgspec

from trimtab.errors import ModelError, NotFoundError

FORMAT: Final = 1
FILE: Final = "signature.json"

Kind = Literal["number", "text", "boolean"]
Task = Literal["binary", "multiclass", "regression"]
Engine = Literal["onnx", "skops", "python"]
Class = str | int | bool | float


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """One input column.

    `nullable`: training saw nulls here, so serving accepts them. `categories` are the texts that
    training saw (empty where there were more than 1,000); an unseen one is accepted and counted
    unless `closed`, which says that the estimator itself refuses it. `lo` and `hi` are the least
    and greatest training value, for people and monitors; they bound nothing. `fill` is what training
    saw most: the median of numbers, the most frequent text or boolean.
    """

    name: str
    kind: Kind
    nullable: bool = False
    categories: tuple[str, ...] = ()
    closed: bool = False
    lo: float | None = None
    hi: float | None = None
    fill: float | str | bool | None = None


class Signature(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The contract of a model.

    `inputs` are scored; `context` columns may be sent along, are logged and never scored.
    `classes` are in the order of the scores, empty for a regression; `positive` and `threshold`
    make a binary score a decision: `positive` where score >= threshold, the other class elsewhere.
    `reason` says why the engine is not ONNX.
    """

    task: Task
    engine: Engine
    inputs: tuple[Column, ...]
    context: tuple[Column, ...] = ()
    target: str = ""
    fit_on: str = ""
    classes: tuple[Class, ...] = ()
    positive: Class | None = None
    threshold: float | None = None
    reason: str = ""
    format: int = FORMAT

    @cached_property
    def numbers(self) -> tuple[str, ...]:
        """Names of the columns packed into the tensor `numbers`, in its order."""
        return tuple(c.name for c in self.inputs if c.kind != "text")

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Names of the columns packed into the tensor `words`, in its order."""
        return tuple(c.name for c in self.inputs if c.kind == "text")

    @property
    def output(self) -> str:
        """The name of the graph's one output."""
        return {"binary": "score", "multiclass": "scores", "regression": "value"}[self.task]

    @cached_property
    def positive_index(self) -> int:
        """Where `positive` stands among `classes`; raises ModelError where it does not."""
        for index, label in enumerate(self.classes):
            if label == self.positive and isinstance(label, bool) == isinstance(
                self.positive, bool
            ):
                return index
        raise ModelError(
            f"the positive class {self.positive!r} is not one of {list(self.classes)}",
            hint='set [model] decide = "P(CLASS) >= 0.5" with one of them',
        )


def encode(signature: Signature) -> bytes:
    """A signature as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(signature), indent=1) + b"\n"


def decode(data: bytes) -> Signature:
    """JSON to a signature; raises ModelError where it is malformed or of a newer format."""
    try:
        probe = msgspec.json.decode(data, type=_Probe)
        if not 1 <= probe.format <= FORMAT:
            raise ModelError(
                f"the model package has format {probe.format}, this trimtab reads up to {FORMAT}",
                hint="upgrade trimtab where the model is served",
            )
        return msgspec.json.decode(data, type=Signature)
    except msgspec.MsgspecError as error:
        raise ModelError(f"{FILE} of the model package cannot be read: {error}") from error


def read(folder: Path) -> Signature:
    """The signature of a package's folder; raises NotFoundError or ModelError."""
    path = folder / FILE
    if not path.is_file():
        raise NotFoundError(f"{folder} is no model package: it has no {FILE}")
    return decode(path.read_bytes())


class _Probe(msgspec.Struct):
    format: int = 0
