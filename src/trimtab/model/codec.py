"""How the pipeline stores fitted estimators and candidates: skops, JSON and Parquet in a folder.

Light until it is used: a step that stores a table asks every codec whether a value is its own, and
must not load scikit-learn for the question.
"""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from trimtab import plugins
from trimtab.errors import IntegrityError
from trimtab.model import signature

if TYPE_CHECKING:
    from trimtab.model.function import FunctionCode
    from trimtab.model.onnx_file import OnnxFile
    from trimtab.tune.candidate import Candidate

ESTIMATOR_FILE: Final = "estimator.skops"
CANDIDATE_FILE: Final = "candidate.json"
BROUGHT_FILE: Final = "signature.json"
ONNX_FILE: Final = "given.onnx"
OUTPUT_FILE: Final = "output.txt"
_BROUGHT: Final = ("OnnxFile", "FunctionCode")
_TABLES: Final = ("train", "withheld")


class EstimatorCodec:
    """A fitted scikit-learn estimator as `estimator.skops`."""

    name = "estimator"

    def matches(self, value: object) -> bool:
        """Whether this is an estimator, told by the names of its base classes."""
        return any(
            base.__name__ == "BaseEstimator" and base.__module__ == "sklearn.base"
            for base in type(value).__mro__
        )

    def write(self, value: Any, folder: Path) -> None:
        """Write the file; raises RefusedError for a type that reading would refuse."""
        # scikit-learn and skops, only where an estimator is stored.
        from trimtab.model import native  # noqa: PLC0415

        (folder / ESTIMATOR_FILE).write_bytes(native.dumps(value))

    def read(self, folder: Path) -> Any:
        """Read it back; raises RefusedError or IntegrityError."""
        from trimtab.model import native  # noqa: PLC0415

        return native.load(folder / ESTIMATOR_FILE)


class CandidateCodec:
    """A `tune.candidate.Candidate`: its model, its rows as Parquet, the rest as JSON."""

    name = "candidate"

    def matches(self, value: object) -> bool:
        """Whether this is a candidate."""
        kind = type(value)
        return kind.__name__ == "Candidate" and kind.__module__ == "trimtab.tune.candidate"

    def write(self, value: Candidate, folder: Path) -> None:
        """Write the files; raises RefusedError for an estimator that cannot be stored."""
        if type(value.estimator).__name__ in _BROUGHT:
            _write_brought(value.estimator, folder)
        else:
            ESTIMATOR.write(value.estimator, folder)
        for name in _TABLES:
            getattr(value, name).write_parquet(folder / f"{name}.parquet", compression="zstd")
        rest = {name: getattr(value, name) for name in _plain(type(value))}
        # Not sorted: the order of the features is the order of the estimator's columns.
        (folder / CANDIDATE_FILE).write_bytes(msgspec.json.encode(rest))

    def read(self, folder: Path) -> Candidate:
        """Read it back; raises RefusedError or IntegrityError."""
        # polars and scikit-learn, only where a candidate is read.
        import polars as pl  # noqa: PLC0415

        from trimtab.tune.candidate import Candidate  # noqa: PLC0415

        try:
            rest = msgspec.json.decode((folder / CANDIDATE_FILE).read_bytes())
            plain: dict[str, Any] = {
                name: msgspec.convert(rest[name], kind) for name, kind in _plain(Candidate).items()
            }
        except (KeyError, msgspec.MsgspecError) as error:
            raise IntegrityError(f"the stored candidate cannot be read: {error}") from error
        for name in _TABLES:
            plain[name] = pl.read_parquet(folder / f"{name}.parquet")
        brought = (folder / BROUGHT_FILE).is_file()
        model = _read_brought(folder) if brought else ESTIMATOR.read(folder)
        return Candidate(estimator=model, **plain)


def _write_brought(model: OnnxFile | FunctionCode, folder: Path) -> None:
    (folder / BROUGHT_FILE).write_bytes(signature.encode(model.signature))
    if model.signature.engine == "python":
        model.write(folder)  # type: ignore[union-attr]
    else:
        (folder / ONNX_FILE).write_bytes(model.data)  # type: ignore[union-attr]
        (folder / OUTPUT_FILE).write_text(model.output, encoding="utf-8")  # type: ignore[union-attr]


def _read_brought(folder: Path) -> OnnxFile | FunctionCode:
    # onnx, or the search for a function's files, only where such a model is read.
    from trimtab.model import function  # noqa: PLC0415
    from trimtab.model.onnx_file import OnnxFile  # noqa: PLC0415

    signed = signature.decode((folder / BROUGHT_FILE).read_bytes())
    if signed.engine == "python":
        return function.read(folder, signed)
    return OnnxFile(
        data=(folder / ONNX_FILE).read_bytes(),
        signature=signed,
        output=(folder / OUTPUT_FILE).read_text(encoding="utf-8"),
    )


def _plain(kind: type[Candidate]) -> dict[str, Any]:
    """The fields that fit into JSON, with their types."""
    types = typing.get_type_hints(kind)
    skipped = {"estimator", *_TABLES}
    return {
        field.name: types[field.name]
        for field in dataclasses.fields(kind)
        if field.name not in skipped
    }


ESTIMATOR: Final = EstimatorCodec()
CANDIDATE: Final = CandidateCodec()

plugins.register("codecs", "estimator", ESTIMATOR)
plugins.register("codecs", "candidate", CANDIDATE)
