"""What MLflow's scoring server reads and says: its four JSON shapes and the keys of its errors.

Source: mlflow 3.17, mlflow/pyfunc/scoring_server. A frame comes as `dataframe_split` or
`dataframe_records`; `instances` (also TF Serving's, KServe's and Vertex AI's) are rows, `inputs`
columns or a tensor. `/ping`, `/health` and `/version` are in `lookups`.
"""

from __future__ import annotations

from typing import Any, Final

from trimtab.errors import InputError, TrimtabError
from trimtab.model.signature import Signature
from trimtab.serve.protocols import cells, parse
from trimtab.serve.protocols.parse import Rows
from trimtab.serve.reply import status_of

SHAPES: Final = ("dataframe_split", "dataframe_records", "instances", "inputs")
_CODES: Final = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "REQUEST_LIMIT_EXCEEDED",
    500: "INTERNAL_ERROR",
    501: "NOT_IMPLEMENTED",
    503: "TEMPORARILY_UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def rows(shape: str, value: Any, signature: Signature) -> Rows:
    """The rows under one of SHAPES; raises Refusal or InputError."""
    if shape == "dataframe_split":
        return _split(value, signature)
    if shape == "inputs" and isinstance(value, dict):
        return _columns(value)
    if not isinstance(value, list):
        raise InputError(f"{shape} is not a list", hint="send one entry per row")
    parse.check_count(len(value))
    if shape != "dataframe_records" and value and isinstance(value[0], list):
        return _rows(cells.by_position(value, signature), len(value))
    if shape != "dataframe_records" and len(signature.inputs) == 1 and _flat(value):
        return _rows(cells.by_position([[x] for x in value], signature), len(value))
    return _rows(parse.from_records(value), len(value))


def error_keys(error: TrimtabError) -> dict[str, Any]:
    """What MLflow's clients look for in an error; no stack trace is ever given away."""
    status = status_of(error)
    code = _CODES.get(status) or ("BAD_REQUEST" if status < 500 else "INTERNAL_ERROR")
    return {"error_code": code, "message": error.message, "stack_trace": ""}


def _split(value: Any, signature: Signature) -> Rows:
    """`{columns?, data, index?}` as pandas' to_dict(orient="split") writes it."""
    if not isinstance(value, dict) or not isinstance(value.get("data"), list):
        raise InputError(
            "dataframe_split is not an object with data",
            hint='send {"dataframe_split": {"columns": [...], "data": [[...], ...]}}',
        )
    if unknown := value.keys() - {"columns", "data", "index"}:
        raise InputError(
            f"dataframe_split has the unknown key {min(unknown)[:80]!r}",
            hint="send columns, data and index",
        )
    if not isinstance(value.get("index"), list | None):
        raise InputError("the index of dataframe_split is not a list")
    data, names = value["data"], value.get("columns")
    parse.check_count(len(data))
    if names is None:
        return _rows(cells.by_position(data, signature) if data else {}, len(data))
    if not isinstance(names, list) or not all(isinstance(x, str) for x in names):
        raise InputError("the columns of dataframe_split are not a list of names")
    if len(set(names)) != len(names):
        raise InputError("two columns have the same name", hint="name each column once")
    for row, values in enumerate(data):
        if not isinstance(values, list) or len(values) != len(names):
            raise InputError(f"row {row} is not a list of {len(names)} cells", row=row)
    columns = dict(zip(names, map(list, zip(*data, strict=True)), strict=True)) if data else {}
    return _rows(columns, len(data))


def _columns(value: dict[str, Any]) -> Rows:
    """One list per column, of shape [N] or [N, 1]."""
    columns: dict[str, list[Any]] = {}
    for name, values in value.items():
        if not isinstance(values, list):
            raise InputError(f"input {name[:80]!r} is not a list", column=name[:80])
        alone = bool(values) and all(isinstance(x, list) and len(x) == 1 for x in values)
        columns[name] = [x[0] for x in values] if alone else values
    count = len(next(iter(columns.values()), ()))
    parse.check_count(count)
    for name, values in columns.items():
        if len(values) != count:
            raise InputError(
                f"input {name[:80]!r} has {len(values)} values, the first input has {count}",
                row=min(count, len(values)),
                column=name[:80],
            )
    return _rows(columns, count)


def _flat(value: list[Any]) -> bool:
    return not any(isinstance(x, list | dict) for x in value)


def _rows(columns: dict[str, list[Any]], count: int) -> Rows:
    return Rows(columns=columns, count=count)
