"""`trimtab predict`: rows of a file, sent to a running endpoint over HTTP as any client would; or,
with an output, a whole table scored by a model version in this process.
"""

from __future__ import annotations

import http.client
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from trimtab.cli.session import Session, note
from trimtab.cli.verb import verb
from trimtab.errors import (
    ConflictError,
    DataError,
    NotFoundError,
    RefusedError,
    TrimtabError,
    UsageError,
)
from trimtab.store.records import Endpoint

if TYPE_CHECKING:  # numerical libraries are loaded only when they are needed
    from trimtab.deploy.batch.job import Progress, Report
    from trimtab.model.signature import Signature

_SECONDS: Final = 60


@verb(
    "predict",
    "trimtab predict loans applications.csv",
    """echo '{"income": 3000, "debt": 900}' | trimtab predict loans -""",
    "trimtab predict loans@champion january.parquet scored.parquet",
    "trimtab predict loans 'sqlite:///crm.db?query=SELECT * FROM people' out.csv --keep id",
)
@click.argument("name")
@click.argument("source", metavar="FILE")
@click.argument("output", type=click.Path(path_type=Path), required=False, metavar="[OUTPUT]")
@click.option(
    "--limit", type=click.IntRange(1), default=1000, show_default=True, help="Most rows to send."
)
@click.option(
    "--keep", multiple=True, metavar="COLUMN", help="A column that goes to OUTPUT (default: keys)."
)
@click.option("--strict", is_flag=True, help="Refuse a table with a row that cannot be scored.")
@click.option("--overwrite", is_flag=True, help="Replace OUTPUT where it exists.")
@click.option(
    "--key", metavar="env:NAME|FILE", default="", help="Where the endpoint's API key is kept."
)
def predict(
    session: Session,
    name: str,
    source: str,
    output: Path | None,
    limit: int,
    keep: tuple[str, ...],
    strict: bool,
    overwrite: bool,
    key: str,
) -> None:
    """Score rows of a file, by an endpoint or a model version.

    Without OUTPUT, NAME is an endpoint, and what it answers to the rows of a csv, parquet or JSON
    FILE is printed. Columns that the model does not know, such as the target, are left out. `-`
    reads JSON from stdin. Every answer has an id: `trimtab why ID` says what it came from. --key says
    where the API key is, never the key itself.

    With OUTPUT, NAME is a model version (`loans` is `loans@champion`) and needs no endpoint. FILE
    is a csv, parquet, arrow or ndjson file, a folder of them, or an sqlite:// or postgresql://
    address with ?query=. It is read in chunks; what is killed goes on where it was when it is run
    again, and OUTPUT appears when it is whole. Rows that the model cannot take are listed with
    their reason in OUTPUT's .quarantine.csv.
    """
    if output is None:
        if keep or strict or overwrite:
            raise UsageError("--keep, --strict and --overwrite go with an output file")
        session.answer(_ask(session, name, Path(source), limit, key), _render)
        return
    if key:
        raise UsageError("--key is for an endpoint: an output file is scored without one")
    session.answer(_batch(session, name, source, output, keep, strict, overwrite), _render_batch)


def _ask(session: Session, name: str, file: Path, limit: int, key: str) -> dict[str, Any]:
    """What an endpoint answers."""
    from trimtab.deploy import local  # the database is loaded only when needed
    from trimtab.loop import secret
    from trimtab.loop.retiring import retirement

    project = session.project()
    endpoint = local.find(project.ws, name)
    if endpoint is None:
        hint = "see `trimtab endpoints ls`"
        if "@" in name:
            hint = f"without an endpoint, name an output: trimtab predict {name} {file} OUTPUT"
        raise NotFoundError(f"there is no endpoint {name!r}", hint=hint)
    local.check_ours(project.ws, name)
    ending = retirement.in_force(project.ws, name)
    if ending is not None and retirement.is_over(project.ws, name):
        raise ConflictError(
            retirement.sentence(ending), hint=f"ask {ending.link or 'nobody'} instead"
        )
    if endpoint.state != "ready":
        hint = "`trimtab up` or `trimtab deploy` starts it"
        raise ConflictError(f"endpoint {name!r} is {endpoint.state}", hint=hint)
    signature = _signature(endpoint)
    told = secret.resolve(key, Path.cwd()).decode("latin-1") if key else ""
    return _send(endpoint, _known(_read(file, limit, signature), signature), told)


def _batch(
    session: Session,
    name: str,
    source: str,
    output: Path,
    keep: tuple[str, ...],
    strict: bool,
    overwrite: bool,
) -> Report:
    """Score a table with a model version."""
    from trimtab.cli.counter import Counter  # only for long work
    from trimtab.loop.candidate import scoring  # brings the database and polars

    with Counter() as say:
        return scoring.score(
            session.project(),
            name,
            source,
            output,
            keep=keep,
            strict=strict,
            overwrite=overwrite,
            tell=lambda now: say(_progress(now)),
        )


def _progress(now: Progress) -> str:
    from trimtab.server import words

    left = words.span(int(now.seconds_left * 1e6)) if math.isfinite(now.seconds_left) else "?"
    return f"{now.rows:,} rows, {now.share:.0%}, {now.rows_per_second:,.0f} rows/s, {left} left"


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
            name: _word(value) if kinds[name] == "text" and value is not None else value
            for name, value in row.items()
            if name in kinds
        }
        for row in rows
    ]


def _word(value: Any) -> str:
    """A value as the text that training saw: true and false as tables write them."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _send(endpoint: Endpoint, rows: list[dict[str, Any]], key: str) -> dict[str, Any]:
    connection = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=_SECONDS)
    body = msgspec.json.encode({"rows": rows})
    headers = {"content-type": "application/json"} | ({"x-api-key": key} if key else {})
    try:
        connection.request("POST", "/predict", body, headers)
        answer = connection.getresponse()
        said = answer.read()
    except ValueError:  # http.client refuses it, and would say it in its words
        raise UsageError("what --key names holds no API key", hint="it is one line, tt_…") from None
    except OSError as error:
        hint = "its log is endpoint.log in its folder: see `trimtab endpoints show`"
        raise ConflictError(
            f"endpoint {endpoint.name!r} does not answer: {error}", hint=hint
        ) from error
    finally:
        connection.close()
    if until := answer.getheader("sunset"):
        instead = answer.getheader("link", "").partition(">")[0].removeprefix("<")
        note(f"{endpoint.name} retires on {until}" + (f"; ask {instead}" if instead else ""))
    if answer.status in (http.client.UNAUTHORIZED, http.client.FORBIDDEN):
        raise RefusedError(
            f"endpoint {endpoint.name!r} {'does not know the key' if key else 'asks for a key'}",
            hint="give --key env:NAME or a file; `trimtab endpoints keys add NAME` makes one",
        )
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


def _render_batch(report: Report) -> None:
    from trimtab.cli import paper  # rich is loaded only to print
    from trimtab.server import words

    spent = words.span(int(report.seconds * 1e6))
    paper.say(f"{report.scored:,} of {report.rows:,} rows scored by {report.model} in {spent}")
    if report.resumed:
        paper.say(f"{report.resumed:,} of them were done before")
    for name, count in report.unseen.items():
        paper.say(f"{count:,} rows hold a category of {name!r} that training did not see")
    if report.quarantined:
        paper.say(f"{report.quarantined:,} rows could not be scored: see {report.quarantine}")
    paper.say(report.output)
