"""`trimtab predict`: rows of a file, sent to a running endpoint over HTTP as any client would."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
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
    """Send rows of a csv, parquet or JSON file to an endpoint and print what it answers.

    Columns that the model does not know, such as the target, are left out. `-` reads JSON from
    stdin. Every answer has an id: `trimtab why ID` says what it came from.
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
    rows = _known(_read(file, limit), signature)
    answer = _send(f"{local.url(endpoint)}/predict", rows)
    session.answer(answer, _render)


def _signature(endpoint: Endpoint) -> Signature:
    from trimtab.model import signature  # light, but of no use to other commands

    folder = Path(endpoint.routes["routes"][0]["folder"])
    return signature.decode((folder / signature.FILE).read_bytes())


def _read(file: Path, limit: int) -> list[dict[str, Any]]:
    if file.suffix.lower() in (".csv", ".tsv", ".parquet", ".ndjson", ".jsonl"):
        from trimtab.data import reader  # brings polars

        frame = reader.read([(file.name, file)]).frame.head(limit)
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


def _send(url: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    request = urllib.request.Request(
        url,
        data=msgspec.json.encode({"rows": rows}),
        headers={"content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
            found: dict[str, Any] = msgspec.json.decode(answer.read())
            return found
    except urllib.error.HTTPError as error:
        raise _refused(error) from error
    except urllib.error.URLError as error:
        raise ConflictError(f"{url} does not answer: {error.reason}") from error


def _refused(error: urllib.error.HTTPError) -> TrimtabError:
    try:
        said = msgspec.json.decode(error.read())["error"]
        place = "".join(
            f" ({key} {said[key]})" for key in ("row", "column") if said.get(key) is not None
        )
        return DataError(f"{said['message']}{place}", hint=said.get("hint", ""))
    except (msgspec.DecodeError, KeyError, TypeError):
        return TrimtabError(f"the endpoint answered {error.code} {error.reason}")


def _render(answer: dict[str, Any]) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import words

    found: list[dict[str, Any]] = answer["predictions"]
    columns = [name for name in (found[0] if found else {}) if name not in ("id", "scores")]
    paper.table(
        ["prediction", *columns],
        [
            (str(one["id"]), *(words.cell(one[name]) for name in columns))
            for one in found
        ],
        right=[name for name in columns if name in ("score", "value")],
    )
    paper.say(f"answered by {answer['model_version']}")
