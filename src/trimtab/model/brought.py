"""Models that no search fitted: an ONNX file, a PyTorch module, a Python function.

Each becomes a candidate, so that everything after the fit is the same for them. `rows` are rows with
known truth that the model was not fitted on: evaluation, golden rows, reference and baseline come from
them.
"""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl

from trimtab.errors import DataError, MissingExtraError, ModelError
from trimtab.model import describe, function, parity
from trimtab.model.onnx_file import OnnxFile
from trimtab.model.shaping import shaped
from trimtab.model.signature import Column, Engine, Signature
from trimtab.tune.candidate import Candidate
from trimtab.tune.frames import features as prepare
from trimtab.tune.study import baseline

_CHECKED: Final = 200
_OPSET: Final = 18
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")


def onnx_model(
    model: bytes | str | Path, signature: Signature, rows: pl.DataFrame, *, output: str = ""
) -> Candidate:
    """An ONNX graph, as bytes or the path of a file, as a candidate.

    An input of the graph that is called like a column takes that column; any other takes all
    remaining numbers or all texts, as a matrix in the order of the signature. `output` names the
    scores where several outputs could be them.

    Raises ModelError where the graph and the signature do not fit, RefusedError for operators
    outside of the ONNX standard or weights in other files, DataError for rows that lack a column.
    """
    data = model if isinstance(model, bytes) else _read(Path(model))
    signed = _completed(signature, rows, "onnx")
    file = OnnxFile(data=data, signature=signed, output=output)
    frame = _frame(rows, signed)
    shaped(file.raw(frame), signed, frame.height)
    file.packed(file.raw(frame).shape)
    return _candidate(file, signed, rows)


def function_model(
    call: str | Callable[..., Any],
    signature: Signature,
    rows: pl.DataFrame,
    *,
    files: Sequence[str] = (),
) -> Candidate:
    """A function of the project, itself or as `module:name`, as a candidate.

    It gets a dictionary with one array per column (numbers as float64 with NaN for null, texts as
    str with "" for null) and returns the scores: the positive class's probability, one column per
    class, or the value. The package carries the project's modules that it imports, and `files`
    (paths below the folder they are imported from). It is served only where
    `[serve] allow_python = true`.

    Raises ModelError, NotFoundError or RefusedError for what cannot be carried.
    """
    signed = _completed(signature, rows, "python")
    carried = function.collect(call, signed, files=files)
    function.check(call, carried, _frame(rows, signed))
    return _candidate(carried, signed, rows)


def torch_model(module: Any, signature: Signature, rows: pl.DataFrame) -> Candidate:
    """A `torch.nn.Module` that takes one float32 matrix of the columns, as an ONNX candidate.

    Raises MissingExtraError without torch, ModelError where the export fails or answers otherwise.
    """
    try:
        torch: Any = importlib.import_module("torch")
        importlib.import_module("onnxscript")  # by which torch writes ONNX
    except ImportError as error:
        raise MissingExtraError(
            f"a PyTorch model needs torch and onnxscript to become ONNX: {error}",
            hint="pip install 'trimtab[torch]'",
        ) from error
    signed = _completed(signature, rows, "onnx")
    if signed.words:
        raise ModelError(
            f"column {signed.words[0]!r} is a text, which no PyTorch module takes",
            hint="encode it in the rows before, or export a graph that encodes it",
        )
    module = module.eval()
    given = torch.from_numpy(_frame(rows, signed).to_numpy().astype(np.float32))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, of what torch itself does while it exports
            exported = torch.onnx.export(
                module,
                (given[:2],),
                input_names=["numbers"],
                output_names=[signed.output],
                dynamic_shapes=({0: torch.export.Dim("rows")},),
                opset_version=_OPSET,
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # torch raises whatever the module does, at length and in colour
        said = _COLOUR.sub("", str(error)).strip().partition("\n")[0]
        raise ModelError(
            f"PyTorch cannot export the module: {said or type(error).__name__}",
            hint="torch.export.export(module, ...) says more; no branch may depend on a row's values",
        ) from error
    candidate = onnx_model(exported.model_proto.SerializeToString(), signature, rows)
    with torch.no_grad():
        expected = module(given).numpy().astype(np.float64)
    got = candidate.estimator.scores(_frame(rows, signed))
    scale = max(float(expected.std()), 1e-9) if signed.task == "regression" else 1.0
    found = parity.compare(shaped(expected, signed, len(given)), got, scale=scale)
    if found.refusal:
        raise ModelError(f"the exported graph does not hold: {found.refusal}")
    return candidate


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise DataError(f"there is no ONNX file {path}")
    return path.read_bytes()


def _completed(signature: Signature, rows: pl.DataFrame, engine: Engine) -> Signature:
    """The signature with what the rows tell of its columns; raises ModelError or DataError."""
    if not signature.inputs:
        raise ModelError("the signature has no inputs", hint="Signature(inputs=(Column(...), ...))")
    wanted = [*(c.name for c in signature.inputs), signature.target]
    if missing := [name for name in wanted if name not in rows.columns]:
        raise DataError(
            f"the rows have no column {missing[0]!r}",
            hint="the signature's inputs and its target must be among them",
        )
    if not rows.height:
        raise DataError("there are no rows to judge the model by")
    if signature.task == "regression":
        classes: tuple[Any, ...] = ()
    else:
        classes = signature.classes
        if len(classes) < 2 or (signature.task == "binary" and len(classes) != 2):
            raise ModelError(
                f"a {signature.task} signature has {len(classes)} classes",
                hint="classes=(...) in the order of the model's scores",
            )
    binary = signature.task == "binary"
    signed = msgspec.structs.replace(
        signature,
        engine=engine,
        classes=classes,
        inputs=tuple(_seen(c, rows[c.name]) for c in signature.inputs),
        positive=(classes[1] if signature.positive is None else signature.positive)
        if binary
        else None,
        threshold=(0.5 if signature.threshold is None else signature.threshold) if binary else None,
        reason="" if engine == "onnx" else "it is a Python function",
    )
    if binary:
        _ = signed.positive_index
    return signed


def _seen(declared: Column, values: pl.Series) -> Column:
    """What is declared of a column, and else what the rows show."""
    seen = describe.column(declared.name, declared.kind, values)
    return msgspec.structs.replace(
        declared,
        categories=declared.categories or seen.categories,
        lo=seen.lo if declared.lo is None else declared.lo,
        hi=seen.hi if declared.hi is None else declared.hi,
    )


def _frame(rows: pl.DataFrame, signed: Signature) -> pl.DataFrame:
    """Some rows as the model gets them, without what the signature refuses."""
    taken = describe.admissible(rows, signed).head(_CHECKED)
    if not taken.height:
        raise DataError(
            "every row has a null or a text that the signature does not allow",
            hint="Column(..., nullable=True) where null may come",
        )
    return prepare(taken, {c.name: c.kind for c in signed.inputs})


def _candidate(estimator: Any, signed: Signature, rows: pl.DataFrame) -> Candidate:
    return Candidate(
        estimator=estimator,
        params={},
        task=signed.task,
        target=signed.target,
        fit_on=signed.target,
        classes=signed.classes,
        positive=signed.positive,
        threshold=signed.threshold,
        features={c.name: c.kind for c in signed.inputs},
        train=rows,
        withheld=rows,
        baseline=baseline(rows[signed.target], signed.task),
    )
