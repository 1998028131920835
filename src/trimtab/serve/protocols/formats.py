"""What a body is and what its client wants back, by Content-Type and Accept; CSV and NumPy arrays.

Turns a table in any format but JSON into one list of cells per column, and answers into any of
them. Arrow and Parquet are read and written by `arrow`, and only with the extra of that name.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from trimtab.errors import InputError
from trimtab.model.signature import Class, Column, Signature
from trimtab.serve.answer import Answer
from trimtab.serve.protocols import arrays, arrow, cells, parse
from trimtab.serve.protocols.cells import Columns
from trimtab.serve.protocols.parse import Rows
from trimtab.serve.reply import JSON, Refusal, Response

Kind = Literal["json", "csv", "npy", "arrow", "parquet"]

CONTENT_TYPES: Final[dict[Kind, str]] = {
    "json": JSON,
    "csv": "text/csv",
    "npy": "application/x-npy",
    "arrow": "application/vnd.apache.arrow.stream",
    "parquet": "application/vnd.apache.parquet",
}
_KINDS: Final[dict[str, Kind]] = {
    **{media: kind for kind, media in CONTENT_TYPES.items()},
    "text/json": "json",
    # What curl and a browser's fetch call a body whose type nobody named.
    "application/x-www-form-urlencoded": "json",
    "text/plain": "json",
    "application/csv": "csv",
    "application/x-parquet": "parquet",
}
_BOOLEANS: Final = {"true": True, "false": False, "1": True, "0": False}
_LONGEST: Final = 1_000


@dataclass(frozen=True, slots=True)
class Form:
    """A format, and for CSV whether there is a header line; None is "look" in and "no" out."""

    kind: Kind
    header: bool | None = None


PLAIN: Final = Form("json")


def plain(headers: Mapping[str, str]) -> bool:
    """Whether a request is JSON and takes JSON: decided without parsing for what most clients send."""
    return (
        headers.get("content-type", "") in ("", JSON)
        and headers.get("accept", "*/*") in ("*/*", JSON)
        and "inference-header-content-length" not in headers
    )


def sent(content_type: str) -> Form:
    """The format of a body; JSON where nothing is said.

    Raises Refusal 415 for a type that is not read, for parameters other than charset=utf-8 and
    CSV's header=present|absent (RFC 4180), and where an extra is not installed.
    """
    if content_type in ("", JSON):
        return PLAIN
    media, parameters = _split(content_type[:_LONGEST])
    kind = _KINDS.get(media) or ("json" if media.endswith("+json") else None)
    if kind is None:
        raise Refusal(
            415,
            "content_type",
            f"this endpoint does not read the content type {media[:80]!r}",
            hint=f"send one of {', '.join(CONTENT_TYPES.values())}",
        )
    charset = parameters.pop("charset", "utf-8").lower()
    header = parameters.pop("header", None) if kind == "csv" else None
    wrong = charset not in ("utf-8", "utf8", "us-ascii") or header not in (
        None, "present", "absent",
    )  # fmt: skip
    if wrong or parameters:
        raise Refusal(
            415,
            "content_type",
            f"the content type {media!r} has a parameter that is not read",
            hint="send charset=utf-8 or no parameter"
            + ("; header=present or header=absent" if kind == "csv" else ""),
        )
    if kind in ("arrow", "parquet"):
        arrow.require(415)
    return Form(kind, None if header is None else header == "present")


def wanted(accept: str, default: Form = PLAIN) -> Form:
    """The format of the reply that a client likes best; `default` where it likes none of ours.

    RFC 9110 section 12.5.1. Raises Refusal 406 where the extra for it is not installed.
    """
    if accept in ("", "*/*"):
        return default
    if accept == JSON:
        return PLAIN
    found = default
    best = 0.0
    for part in accept[:_LONGEST].split(","):
        media, parameters = _split(part)
        quality = _quality(parameters.get("q", "1"))
        form = _form(media, parameters, default)
        if form is not None and quality > best:
            found, best = form, quality
    if found.kind in ("arrow", "parquet"):
        arrow.require(406)
    return found


def read(form: Form, body: bytes, signature: Signature) -> tuple[Rows, Form]:
    """The rows of a body that is not JSON, and its form with what was found out about it.

    Raises Refusal 400 where the body is malformed, 413 where it holds too many rows, and
    InputError.
    """
    if form.kind == "csv":
        return _read_csv(form, body, signature)
    if form.kind == "npy":
        return _rows(arrays.read(body, signature)), form
    columns = arrow.read(form.kind, body)
    known = {c.name for c in (*signature.inputs, *signature.context)}
    kept = {k: v for k, v in columns.items() if k in known or not k.startswith("__index_level_")}
    return _rows(kept), form


def write(form: Form, answer: Answer) -> Response:
    """The reply as a table, one line per row: prediction id, decision, score or scores, or value."""
    if form.kind == "npy":
        body = arrays.write(_decided(answer))
    elif form.kind == "csv":
        body = _csv(answer, header=bool(form.header))
    else:
        body = arrow.write(form.kind, replied(answer))
    return Response(status=200, body=body, content_type=CONTENT_TYPES[form.kind])


def replied(answer: Answer) -> dict[str, Any]:
    """The columns of a reply: `id`, `decision`, `score`; `score_LABEL` per class; or `value`."""
    score = answer.outputs.score
    columns: dict[str, Any] = {"id": list(answer.ids)}
    if answer.signature.task == "regression":
        return columns | {"value": score}
    columns["decision"] = uniform(answer.outputs.decision)
    if answer.signature.task == "binary":
        return columns | {"score": score}
    columns["score"] = score.max(axis=1)
    for place, label in enumerate(answer.signature.classes):
        columns[f"score_{label}"] = score[:, place]
    return columns


def uniform(decisions: list[Class]) -> list[Any]:
    """Decisions of one type: as they are where they have one and it fits 64 bits, else as text."""
    kinds = {type(x) for x in decisions}
    if len(kinds) > 1 or any(type(x) is int and not -(2**63) <= x < 2**63 for x in decisions):
        return [str(x) for x in decisions]
    return decisions


def _rows(columns: Columns) -> Rows:
    return Rows(columns=columns, count=len(next(iter(columns.values()), ())))


def _read_csv(form: Form, body: bytes, signature: Signature) -> tuple[Rows, Form]:
    """RFC 4180 in UTF-8; a line of column names is recognised where nothing is said."""
    try:
        text = io.StringIO(body.decode("utf-8-sig"), newline="")
        lines = list(itertools.islice(csv.reader(text, strict=True), parse.MAX_ROWS + 2))
    except UnicodeDecodeError:
        raise _malformed("CSV", "it is not UTF-8") from None
    except csv.Error as error:
        raise _malformed("CSV", str(error)) from None
    while lines and not lines[-1]:
        lines.pop()
    named = form.header
    if named is None:
        names = {c.name for c in (*signature.inputs, *signature.context)}
        named = bool(lines) and 2 * sum(cell in names for cell in lines[0]) > len(lines[0])
    heads = lines.pop(0) if named and lines else None
    parse.check_count(len(lines))
    found = Form("csv", named)
    if not lines:
        return Rows(columns={}, count=0), found
    width = len(lines[0] if heads is None else heads)
    for row, line in enumerate(lines):
        if len(line) != width:
            raise InputError(f"row {row} has {len(line)} cells instead of {width}", row=row)
    if heads is None:
        columns = cells.positional(signature, width)
        heads = [column.name for column in columns]
    if len(set(heads)) != width:
        raise InputError("two columns have the same name", hint="name each column once")
    kinds = {c.name: c for c in (*signature.inputs, *signature.context)}
    context = {c.name for c in signature.context}
    found_cells = {
        name: _typed(kinds.get(name), list(values), anyway=name in context)
        for name, values in zip(heads, zip(*lines, strict=True), strict=True)
    }
    return Rows(columns=found_cells, count=len(lines)), found


def _typed(column: Column | None, cells: list[str], *, anyway: bool) -> list[Any]:
    """CSV cells by the type of their column; what does not read as it stays text, to be refused."""
    if column is None:
        return cells
    if column.kind == "text":
        return [x or None for x in cells] if anyway or column.nullable else cells
    if column.kind == "boolean":
        return [_BOOLEANS.get(x.lower(), x) if x else None for x in cells]
    try:
        numbers = [float(x) for x in cells]
    except ValueError:
        return [_number(x) for x in cells]
    joined = "".join(cells)
    if math.isfinite(sum(numbers)) and joined.isascii() and "_" not in joined:
        return numbers
    return [_number(x) for x in cells]


def _number(cell: str) -> float | str | None:
    if not cell:
        return None
    try:
        number = float(cell)
    except ValueError:
        return cell
    is_plain = cell.isascii() and "_" not in cell
    return number if math.isfinite(number) and is_plain else cell


def _csv(answer: Answer, *, header: bool) -> bytes:
    columns = replied(answer)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    if header:
        writer.writerow(columns)
    writer.writerows(zip(*map(_written, columns.values()), strict=True))
    return text.getvalue().encode()


def _written(column: Any) -> Iterable[Any]:
    """Cells as CSV has them: lower-case booleans as JSON writes them, floats at full precision."""
    cells = column.tolist() if isinstance(column, np.ndarray) else column
    return (str(x).lower() if isinstance(x, bool) else x for x in cells)


def _decided(answer: Answer) -> Any:
    """Decisions, or the values of a regression."""
    if answer.signature.task == "regression":
        return answer.outputs.score
    return uniform(answer.outputs.decision)


def _split(value: str) -> tuple[str, dict[str, str]]:
    """A media type in lower case and its parameters."""
    media, *rest = value.split(";")
    pairs = (part.partition("=") for part in rest if part.strip())
    parameters = {name.strip().lower(): text.strip().strip('"').lower() for name, _, text in pairs}
    return media.strip().lower(), parameters


def _quality(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if 0 <= value <= 1 else 0.0


def _form(media: str, parameters: Mapping[str, str], default: Form) -> Form | None:
    if media in ("*/*", "application/*"):
        return default
    kind: Kind | None = "csv" if media == "text/*" else _KINDS.get(media)
    if kind is None or media == "text/plain":
        return None
    if kind == "csv":
        said = parameters.get("header")
        return Form("csv", default.header if said is None else said == "present")
    return Form(kind)


def _malformed(what: str, why: str) -> Refusal:
    return Refusal(400, "bad_body", f"the body is not {what}: {why}")
