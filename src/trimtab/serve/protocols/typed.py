"""The endpoint's own contract: `POST /predict`, typed JSON in three shapes or a table.

`{"row": {...}}`, `{"rows": [{...}, ...]}` or `{"columns": {name: [...]}}`, with optional `ids` and
`event_time` (one per row) beside it. docs/serving.md is the specification.
"""

from __future__ import annotations

from typing import Any, Final

from trimtab import ids
from trimtab.errors import InputError, TrimtabError
from trimtab.model.signature import Signature
from trimtab.serve.answer import Answer, Call
from trimtab.serve.protocols import formats, parse
from trimtab.serve.protocols.formats import Form
from trimtab.serve.protocols.parse import Rows
from trimtab.serve.reply import Response, encode, refused

SHAPES: Final = ("row", "rows", "columns")
_NAMED: Final = Form("json", header=True)
_KEYS: Final = frozenset({*SHAPES, "ids", "id", "event_time"})


class Typed:
    """The typed contract under its name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def read(self, call: Call, signature: Signature) -> Rows:
        """The rows of a body; raises Refusal or InputError."""
        if formats.plain(call.headers):
            return rows(parse.decode_json(call.body))
        form = formats.sent(call.headers.get("content-type", ""))
        reply = formats.wanted(call.headers.get("accept", ""), _NAMED)
        if form.kind == "json":
            found = rows(parse.decode_json(call.body))
        else:
            found, _ = formats.read(form, call.body, signature)
        return Rows(
            columns=found.columns,
            count=found.count,
            ids=found.ids,
            event_times=found.event_times,
            options=None if reply.kind == "json" else reply,
        )

    def write(self, answer: Answer) -> Response:
        """`{"model", "model_version", "predictions": [{"id", "decision", "score"}]}`, or a table."""
        if isinstance(answer.options, Form):
            return formats.write(answer.options, answer)
        return write(answer)

    def fail(self, error: TrimtabError) -> Response:
        """The usual error object."""
        return refused(error)


def rows(request: Any) -> Rows:
    """The rows of a decoded body; raises Refusal or InputError."""
    if not isinstance(request, dict):
        raise InputError("the body is not an object", hint='send {"rows": [{...}]}')
    given = [key for key in SHAPES if key in request]
    for key in request:
        if key not in _KEYS:
            raise InputError(
                f"unknown key {key[:80]!r}",
                hint='send {"rows": [{...}]}, {"row": {...}} or {"columns": {...}}, '
                "with ids and event_time beside it",
            )
    if len(given) != 1:
        raise InputError(
            f"the body has {' and '.join(given) or 'no rows'}",
            hint="send exactly one of row, rows and columns",
        )
    columns, count = _columns(given[0], request[given[0]])
    return Rows(
        columns=columns,
        count=count,
        ids=_ids(request, count),
        event_times=_times(request.get("event_time"), count),
    )


def write(answer: Answer) -> Response:
    """The reply in JSON."""
    body = encode(
        {
            "model": answer.name,
            "model_version": answer.label,
            "request_id": answer.request,
            "predictions": predictions(answer),
        }
    )
    return Response(status=200, body=body)


def predictions(answer: Answer) -> list[dict[str, Any]]:
    """One object per row: `id` and `decision` with `score` (and `scores` by label), or `value`."""
    task, score = answer.signature.task, answer.outputs.score.tolist()
    rows = zip(answer.ids, answer.outputs.decision, score, strict=True)
    if task == "regression":
        return [{"id": name, "value": value} for name, _, value in rows]
    if task == "binary":
        return [{"id": name, "decision": label, "score": value} for name, label, value in rows]
    labels = [str(label) for label in answer.signature.classes]
    return [
        {
            "id": name,
            "decision": label,
            "score": max(values),
            "scores": dict(zip(labels, values, strict=True)),
        }
        for name, label, values in rows
    ]


def _columns(shape: str, value: Any) -> tuple[dict[str, list[Any]], int]:
    if shape == "row":
        if not isinstance(value, dict):
            raise InputError("row is not an object", row=0)
        return {name: [cell] for name, cell in value.items()}, 1
    if shape == "rows":
        if not isinstance(value, list):
            raise InputError("rows is not a list", hint="send a list of objects")
        parse.check_count(len(value))
        return parse.from_records(value), len(value)
    if not isinstance(value, dict):
        raise InputError("columns is not an object", hint="send one list per column")
    count = 0
    for index, (name, cells) in enumerate(value.items()):
        if not isinstance(cells, list):
            raise InputError(f"column {name[:80]!r} is not a list", column=name[:80])
        if index and len(cells) != count:
            raise InputError(
                f"column {name[:80]!r} has {len(cells)} values, the first column has {count}",
                row=min(count, len(cells)),
                column=name[:80],
            )
        count = len(cells)
    parse.check_count(count)
    return value, count


def _ids(request: dict[str, Any], count: int) -> list[str] | None:
    given = request.get("ids")
    if "id" in request:
        given = [request["id"]]
    if given is None:
        return None
    if not isinstance(given, list) or len(given) != count:
        raise InputError(f"ids is not a list of {count} ids, one per row", column="ids")
    found = [parse.check_id(value, row) for row, value in enumerate(given)]
    if len(set(found)) != count:
        first = {name: row for row, name in reversed(list(enumerate(found)))}
        row = next(i for i, name in enumerate(found) if first[name] != i)
        raise InputError("an id is given twice", row=row, column="ids")
    return found


def _times(given: Any, count: int) -> list[int] | None:
    if given is None:
        return None
    listed = given if isinstance(given, list) else [given] * count
    if len(listed) != count:
        raise InputError(
            f"event_time has {len(listed)} values for {count} rows", column="event_time"
        )
    return [read_time(value, row) for row, value in enumerate(listed)]


def read_time(value: Any, row: int | None = None) -> int:
    """An event time, RFC 3339 text or integer microseconds, in microseconds; raises InputError."""
    if isinstance(value, int) and not isinstance(value, bool):
        return parse.check_time(value, row)
    try:
        if not isinstance(value, str):
            raise ValueError("not a text")
        return parse.check_time(ids.parse_time(value), row)
    except (ValueError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            "an event time is not RFC 3339 text",
            hint="for example 2026-01-31T12:00:00Z, or microseconds since 1970",
            row=row,
            column="event_time",
        ) from None
