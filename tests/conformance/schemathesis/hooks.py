"""Loaded by schemathesis: bodies that are no JSON, and what a schema cannot say about those that are."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import strategies as st

_folder = Path(os.environ["TRIMTAB_CONFORMANCE_PACKAGES"])
_expected = json.loads((_folder / "loans" / "expected.json").read_text())
_columns = {column["name"]: column["kind"] for column in _expected["columns"]}
_whole = [row for row in _expected["rows"] if None not in row.values()]
_DATATYPES = {"number": "FP32", "boolean": "BOOL", "text": "BYTES"}


def _table(rows: list[dict[str, Any]], header: bool) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(_columns))
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


schemathesis.openapi.media_type(
    "text/csv",
    st.builds(
        _table, st.lists(st.sampled_from(_expected["rows"]), min_size=1, max_size=9), st.booleans()
    ),
)


# Without the header that says how long their JSON is, binary tensors are a body of JSON.
schemathesis.openapi.media_type(
    "application/octet-stream",
    st.integers(1, 9).map(lambda rows: json.dumps({"inputs": _tensors(_whole[:rows])}).encode()),
)


@schemathesis.hook
def before_call(
    context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, Any]
) -> None:
    """Make a request that the schema allows one that makes sense.

    No schema says that columns, and ids beside them, are equally long, that cells under names are of
    those columns, or that the data of a tensor fill its shape and its name is a column's; and every
    other version is made one that exists. Requests that are to break the schema are sent as they
    are.
    """
    meta = case.meta
    if meta is None or meta.generation.mode != schemathesis.GenerationMode.POSITIVE:
        return
    if case.path_parameters and len(str(case.path_parameters.get("version", ""))) % 2:
        case.path_parameters["version"] = "1"
    if isinstance(case.body, dict):
        case.body = _sensible(case.body)


def _sensible(body: dict[str, Any]) -> dict[str, Any]:
    inputs, split = body.get("inputs"), body.get("dataframe_split")
    if isinstance(inputs, list) and isinstance(inputs[0], dict) and "datatype" in inputs[0]:
        kept = {key: value for key, value in body.items() if key != "outputs"}
        return kept | {"inputs": _tensors(_whole[: 1 + len(inputs) % 9])}
    if isinstance(split, dict) and isinstance(split.get("columns"), list):
        chosen = _whole[: 1 + len(split["data"]) % 9]
        data = [[row[name] for name in split["columns"]] for row in chosen]
        return body | {"dataframe_split": split | {"data": data}}
    return _equally_long(body)


def _equally_long(body: dict[str, Any]) -> dict[str, Any]:
    """Columns, and the ids of rows, as long as the shortest of them; no id twice."""
    lists = {
        (shape, name): values
        for shape in ("columns", "inputs")
        for name, values in (body[shape] if isinstance(body.get(shape), dict) else {}).items()
    }
    if isinstance(body.get("rows"), list):
        lists["rows", ""] = body["rows"]
    if isinstance(body.get("ids"), list):
        lists["ids", ""] = list({str(value): value for value in body["ids"]}.values())
    shortest = min((len(values) for values in lists.values()), default=0)
    made = dict(body)
    for (shape, name), values in lists.items():
        cut = values[:shortest]
        made[shape] = made[shape] | {name: cut} if name else cut
    return made


def _tensors(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "datatype": _DATATYPES[kind],
            "shape": [len(rows)],
            "data": [row[name] for row in rows],
        }
        for name, kind in _columns.items()
    ]
