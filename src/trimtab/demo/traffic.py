"""The bank's side of an endpoint: applications go out over HTTP, outcomes come back days later.

It knows nothing of the platform but the endpoint's address, the shape of a request, and the folder
that outcomes are put into.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import polars as pl

from trimtab.demo.command import Failure
from trimtab.demo.loans import NUMBERS, WORDS

INPUTS = [*NUMBERS, *WORDS]
ANSWER = {
    "prediction_id": pl.String,
    "model": pl.String,
    "decision": pl.Boolean,
    "score": pl.Float64,
}
OUTCOME = ["prediction_id", "repaid", "labelled_at", "application_id", "group"]


def send(
    url: str,
    applications: pl.DataFrame,
    *,
    batch: int = 20,
    sent: Callable[[int], None] = lambda rows: None,
) -> pl.DataFrame:
    """Applications in their order with what the endpoint answered; raises Failure.

    Each request carries up to `batch` rows of the model's inputs and their event times; `sent`
    hears how many rows each answered request held. Adds the columns prediction_id and model (text),
    decision (boolean) and score (float).
    """
    address = urlsplit(url)
    answers: list[tuple[str, str, bool, float]] = []
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    with closing(connection):
        for rows in applications.iter_slices(batch):
            said = _post(connection, f"{address.path.rstrip('/')}/predict", _request(rows))
            answers += [
                (one["id"], said["model_version"], one["decision"], one["score"])
                for one in said["predictions"]
            ]
            sent(len(rows))
    return applications.hstack(pl.DataFrame(answers, schema=ANSWER, orient="row"))


def write_outcomes(folder: Path, answered: pl.DataFrame, labelled_at: datetime) -> Path:
    """What became of answered applications, as one more Parquet file of `folder`.

    Columns: prediction_id, repaid, labelled_at, application_id, group. The file is renamed into
    place, so a reader sees all of it or nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    outcomes = answered.with_columns(
        labelled_at=pl.lit(labelled_at, dtype=pl.Datetime("us", "UTC"))
    ).select(OUTCOME)
    path = folder / f"{labelled_at:%Y-%m-%d}.parquet"
    if path.exists():
        raise Failure(f"the outcomes of {labelled_at:%Y-%m-%d} are there already: {path}")
    part = path.with_suffix(".part")
    outcomes.write_parquet(part)
    return part.rename(path)


class Outcomes:
    """Outcomes on their way: those of a day arrive `delay` days later."""

    def __init__(self, folder: Path, delay: int = 1) -> None:
        self.folder = folder
        self.delay = delay
        self._waiting: dict[int, pl.DataFrame] = {}

    def expect(self, day: int, answered: pl.DataFrame) -> None:
        """Remember a day's answered applications."""
        self._waiting[day] = answered

    def arrive(self, day: int, midnight: datetime) -> Path | None:
        """Write what is due on the day that begins at `midnight`; None where nothing is."""
        due = [earlier for earlier in sorted(self._waiting) if earlier + self.delay <= day]
        if not due:
            return None
        answered = pl.concat([self._waiting.pop(earlier) for earlier in due])
        return write_outcomes(self.folder, answered, midnight)


def _request(rows: pl.DataFrame) -> bytes:
    times = rows["applied_at"].dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_list()
    return json.dumps({"rows": rows.select(INPUTS).to_dicts(), "event_time": times}).encode()


def _post(connection: http.client.HTTPConnection, path: str, body: bytes) -> dict[str, Any]:
    where = f"http://{connection.host}:{connection.port}{path}"
    try:
        connection.request("POST", path, body, {"content-type": "application/json"})
        response = connection.getresponse()
        said = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise Failure(f"{where} does not answer: {error}") from error
    if response.status != 200:
        text = said[:2_000].decode("utf-8", "replace")
        raise Failure(f"{where} answered {response.status}: {text}")
    found: dict[str, Any] = json.loads(said)
    return found
