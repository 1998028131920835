"""Sends training rows to an endpoint and reads from its log what it made of them.

Light: the controller does it before it promotes a model, and loads none.
"""

from __future__ import annotations

import http.client
import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from trimtab import ids
from trimtab.errors import ModelError
from trimtab.model import signature
from trimtab.model.signature import Signature
from trimtab.serve.folder import Settings
from trimtab.serve.logged import log
from trimtab.serve.logged.frame import Frame
from trimtab.serve.measured import skew
from trimtab.serve.measured.skew import Predict, Seen, Skew, Training

_WAIT: Final = 10.0
_RETRY: Final = (401, 404, 429, 503)


def live(
    package: Path,
    training: Training,
    *,
    host: str,
    port: int,
    folder: Path,
    settings: Settings,
    label: str,
    key: str = "",
) -> Skew:
    """Replay through the route `label` of an endpoint that serves clients.

    The rows are logged beside the prediction log and never in it. Raises ModelError where the
    endpoint does not answer, or has no such route.
    """
    headers = {"x-route": label} | ({"authorization": f"Bearer {key}"} if key else {})
    place = (folder / settings.log).parent / skew.CONTRACT
    return run(
        training, host, port, place, signature.read(package), path=skew.PATH,
        headers=headers, hidden=tuple(settings.pii),
    )  # fmt: skip


def run(
    training: Training,
    host: str,
    port: int,
    place: Path,
    signed: Signature,
    *,
    path: str,
    headers: dict[str, str] | None = None,
    hidden: tuple[str, ...] = (),
    predict: Predict | None = None,
) -> Skew:
    """Replay through `path` of an address whose rows are logged in the folder `place`.

    `predict` is as `skew.compare` takes it. Raises ModelError where nothing is answered.
    """
    name = f"replay-{ids.new_id()}"
    cursor = {one.name: one.stat().st_size for one in log.segments(place)}
    connection = http.client.HTTPConnection(host, port, timeout=30)
    told = {"content-type": "application/json", **(headers or {})}
    until = time.monotonic() + _WAIT

    def send(body: dict[str, Any]) -> tuple[int, Any]:
        while True:
            connection.request("POST", path, msgspec.json.encode(body), told)
            answer = connection.getresponse()
            text = answer.read()
            # A key and a route that are just made are known within a second.
            if answer.status not in _RETRY or time.monotonic() > until:
                return answer.status, _decoded(text)
            time.sleep(0.1)

    try:
        answers = skew.ask(training, send, name)
    except (OSError, http.client.HTTPException) as error:
        raise ModelError(f"the endpoint does not answer the replayed rows: {error}") from error
    finally:
        connection.close()
    failed = [x for x in answers if isinstance(x, skew.Refused) and x.status in (*_RETRY, 405)]
    if failed:
        raise ModelError(
            f"the endpoint takes no replayed rows: it answered {failed[0].status}",
            hint="an endpoint of an earlier trimtab is to be started again: `trimtab down`, `up`",
        )
    frames, _ = log.read(place, cursor, max_bytes=1 << 30)
    columns = _logged(frames, name, training.rows, signed)
    seen = Seen(columns=columns, answers=answers)
    return skew.compare(training, seen, signed, hidden=hidden, predict=predict)


def _decoded(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None


def _logged(
    frames: Iterable[Frame], name: str, rows: int, signed: Signature
) -> dict[str, list[Any]]:
    """Cells by column, at the place of their row; a column that was never logged is absent."""
    found: dict[str, list[Any]] = {}
    for frame in frames:
        places = [int(x.rpartition("-")[2]) if x.startswith(f"{name}-") else -1 for x in frame.ids]
        for column in signed.inputs:
            try:
                values = frame.column(column.name)
            except KeyError:
                continue
            cells = found.setdefault(column.name, [None] * rows)
            listed = values.tolist() if isinstance(values, np.ndarray) else values
            for place, value in zip(places, listed, strict=True):
                if place >= 0:
                    cells[place] = _cell(value)
    return found


def _cell(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
