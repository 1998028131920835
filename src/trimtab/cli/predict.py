"""`trimtab predict`: rows of a file, sent to a running endpoint over HTTP as any client would."""

from __future__ import annotations

import http.client
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from trimtab.cli.session import Session, note
from trimtab.cli.verb import verb
from trimtab.errors import ConflictError, DataError, NotFoundError, TrimtabError
from trimtab.store.records import Endpoint

if TYPE_CHECKING:  # the model's signature is read only when it is asked
    from trimtab.model.signature import Signature

_SECONDS: Final = 60


@verb(
    "predict",
    "trimtab predict loans applications.csv",
    """echo '{"income": 3000, "debt": 900}' | trimtab predict loans -""",
)
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True, dir_okay=False))
@click.option("--limit", type=click.IntRange(1), default=1000, show_default=True, help="Most rows.")
def predict(session: Session, name: str, file: Path, limit: int) -> None:
    """Send rows of a file to an endpoint.

    FILE is csv, parquet or JSON, and what the endpoint answers is printed. Columns that the model
    does not know, such as the target, are left out. `-` reads JSON from stdin. Every answer has
    an id: `trimtab why ID` says what it came from.
    """
    from trimtab.deploy import local  # the database is loaded only when needed

    project = session.project()
    endpoint = local.find(project.ws, name)
    if endpoint is None:
        raise NotFoundError(f"there is no endpoint {name!r}", hint="see `trimtab endpoints ls`")
    if endpoint.state != "ready":
        hint = "`trimtab up` or `trimtab deploy` starts it"
        raise ConflictError(f"endpoint {name!r} is {endpoint.state}", hint=hint)
    signature = _signature(endpoint)
    rows = _known(_read(file, limit, signature), signature)
    answer = _send(endpoint, rows)
    session.answer(answer, _render)


def _signature(endpoint: Endpoint) -> Signature:
    from trimtab.model import signature  # light, but of no use to other commands

    folder = Path(endpoint.routes["routes"][0]["folder"])
    return signature.decode((folder / signature.FILE).read_bytes())


def _read(file: Path, limit: int, signature: Signature) -> list[dict[str, Any]]:
    if str(file) != "-" and not file.is_file():
        raise NotFoundError(f"there is no file {file}")
    if file.suffix.lower() in (".csv", ".tsv", ".parquet", ".ndjson", ".jsonl"):
        from trimtab.data import reader  # brings polars

        declared: dict[str, Any] = {
            column.name: column.kind for column in signature.inputs if column.kind != "boolean"
        }
        frame = reader.read([(file.name, file)], declared).frame.head(limit)
        return [{name: _plain(value) for name, value in row.items()} for row in frame.to_dicts()]
    data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    try:
        found = msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise DataError(
            f"{file} is not JSON: {error}", hint="give a .csv, .parquet, .ndjson or .json file"
        ) from error
    rows = found if isinstance(found, list) else [found]
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise DataError(f"{file}: item {number} is no object", hint="write [{...}, {...}]")
    return rows[:limit]


def _plain(value: Any) -> Any:
    """A cell as JSON has it: NaN is a missing value, a time is text."""
    if isinstance(value, float) and value != value:  # noqa: PLR0124 NaN alone differs from itself
        return None
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def _known(rows: list[dict[str, Any]], signature: Signature) -> list[dict[str, Any]]:
    kinds = {column.name: column.kind for column in (*signature.inputs, *signature.context)}
    left = sorted({name for row in rows for name in row if name not in kinds})
    if left:
        note(f"left out, the model does not know: {', '.join(left)}")
    return [
        {
            name: str(value) if kinds[name] == "text" and value is not None else value
            for name, value in row.items()
            if name in kinds
        }
        for row in rows
    ]


def _send(endpoint: Endpoint, rows: list[dict[str, Any]]) -> dict[str, Any]:
    connection = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=_SECONDS)
    body = msgspec.json.encode({"rows": rows})
    try:
        connection.request("POST", "/predict", body, {"content-type": "application/json"})
        answer = connection.getresponse()
        said = answer.read()
    except OSError as error:
        hint = "its log is endpoint.log in its folder: see `trimtab endpoints show`"
        raise ConflictError(
            f"endpoint {endpoint.name!r} does not answer: {error}", hint=hint
        ) from error
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise _refused(answer.status, said)
    found: dict[str, Any] = msgspec.json.decode(said)
    return found


def _refused(status: int, said: bytes) -> TrimtabError:
    try:
        error = msgspec.json.decode(said)["error"]
        place = "".join(
            f" ({key} {error[key]})" for key in ("row", "column") if error.get(key) is not None
        )
        return DataError(f"{error['message']}{place}", hint=error.get("hint", ""))
    except (msgspec.DecodeError, KeyError, TypeError):
        return TrimtabError(f"the endpoint answered {status}")


def _render(answer: dict[str, Any]) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import words

    found: list[dict[str, Any]] = answer["predictions"]
    columns = [name for name in (found[0] if found else {}) if name not in ("id", "scores")]
    paper.table(
        ["prediction", *columns],
        [(str(one["id"]), *(words.cell(one[name]) for name in columns)) for one in found],
        right=[name for name in columns if name in ("score", "value")],
    )
    paper.say(f"answered by {answer['model_version']}")
