"""Endpoints of models made by hand: their answers are written to the log, no model is loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

from trimtab import config as project_file
from trimtab import ids
from trimtab.config import Config
from trimtab.model import registry, signature
from trimtab.model.signature import Column, Signature
from trimtab.monitor import basis
from trimtab.monitor.log import traffic
from trimtab.monitor.observe import Seen, observe, told
from trimtab.profile import reference
from trimtab.serve.logged import frame as bytes_of
from trimtab.serve.logged.frame import Frame
from trimtab.serve.logged.log import Log
from trimtab.store import versions
from trimtab.store.records import Version
from trimtab.store.workspace import Workspace, open_workspace

DAY = 86_400_000_000
BEGIN = 20_000 * DAY
ALPHA = 1e-5
INPUTS = (
    Column(name="x", kind="number", nullable=True),
    Column(name="kind", kind="text", nullable=True, categories=("a", "b")),
)
SIGNED = {
    "binary": Signature(
        task="binary", engine="onnx", inputs=INPUTS, target="good",
        context=(Column(name="group", kind="text", nullable=True),),
        classes=("no", "yes"), positive="yes", threshold=0.5,
    ),
    "multiclass": Signature(
        task="multiclass", engine="onnx", inputs=INPUTS, target="good", classes=(0, 1, 2)
    ),
    "regression": Signature(task="regression", engine="onnx", inputs=INPUTS, target="good"),
}  # fmt: skip
BOUNDS = {
    "binary": "roc_auc = { min = 0.7 }",
    "multiclass": "accuracy = { min = 0.4 }",
    "regression": "rmse = { max = 1.5 }",
}
PROJECT = """
[project]
name = "goods"
owner = "somebody@example.org"
[data.goods]
source = "goods/*.parquet"
target = "good"
[require]
{bound}
[serve]
labels = "labels/*.parquet"
event_time = "client"
"""


@dataclass(frozen=True)
class Rows:
    """Rows with what the model says and what is true."""

    columns: dict[str, np.ndarray]
    score: np.ndarray
    decision: list[Any]
    truth: list[Any]


@dataclass
class Site:
    """A project with one endpoint, the days it has lived, and a log."""

    folder: Path
    task: str
    ws: Workspace
    config: Config
    signed: Signature
    version: Version
    log: Log
    noise: np.random.Generator
    ids: dict[int, list[str]] = field(default_factory=dict)
    days: dict[int, Rows] = field(default_factory=dict)

    def rows(self, count: int = 400, *, shift: float = 0.0, meaning: float = 1.0) -> Rows:
        return draw(self.task, self.noise, count, shift, meaning)

    def live(
        self, day: int, count: int = 400, *, role: str = "champion", model: str = "", **how: float
    ) -> None:
        """Answer a day's rows, evenly over the day."""
        rows = self.rows(count, **how)
        names = [ids.new_id() for _ in range(count)]
        moments = BEGIN + day * DAY + np.arange(count) * (DAY // count)
        self.append(rows, names, moments.tolist(), role=role, model=model)
        self.ids.setdefault(day, []).extend(names)
        self.days[day] = rows

    def append(
        self, rows: Rows, names: list[str], moments: list[int], *, role: str, model: str = ""
    ) -> None:
        score = np.asarray(rows.score, dtype="<f4")
        self.log.append(
            [
                Frame(
                    ids=tuple(names),
                    request=ids.new_id(),
                    received_at=ids.now(),
                    endpoint="goods",
                    role=role,
                    model=model or self.version.digest,
                    label="goods@v1",
                    contract="predict",
                    event_times=tuple(moments),
                    numbers=bytes_of.pack_numbers({"x": rows.columns["x"]}),
                    words={"kind": rows.columns["kind"].tolist()},
                    score=score.tobytes(),
                    width=score.shape[1] if score.ndim == 2 else 1,
                    decision=rows.decision,
                )
            ]
        )

    def label(
        self, day: int, *, part: slice = slice(None), name: str = "",
        truth: list[Any] | None = None, at: int | None = None,
    ) -> None:  # fmt: skip
        """Deliver outcomes of a day, as one more file; known at its end unless `at` says else."""
        place = self.folder / "labels"
        place.mkdir(exist_ok=True)
        told = self.days[day].truth if truth is None else truth
        frame = pl.DataFrame(
            {"prediction_id": self.ids[day][part], "good": told[part]}, strict=False
        ).with_columns(
            labelled_at=pl.lit(ids.to_datetime(BEGIN + (day + 1) * DAY if at is None else at))
        )
        frame.write_parquet(place / f"{name or day}.parquet")

    def look(self, lived: int, *, acted: bool = True) -> Seen:
        """Observe at the midnight after so many days, and act on it unless the pass dies."""
        now = BEGIN + lived * DAY
        seen = observe(self.ws, self.config, "goods", self.version, now=now)
        if acted:
            told(self.ws, "goods", seen)
        return seen


def frame(moment: int, status: int = 200, *, role: str = "champion", error: str = "") -> Frame:
    """One request without its rows, as it is counted whether it was answered or not."""
    names = (ids.new_id(),) if status == 200 else ()
    return Frame(
        ids=names, request=ids.new_id(), received_at=moment, endpoint="goods", role=role,
        model="m", label="goods@v1", contract="predict", status=status, error=error,
    )  # fmt: skip


def day(number: int, answered: int, turned: int = 0, **how: Any) -> list[Frame]:
    """A day's requests, some of them turned away: refused for x unless `how` says else."""
    frames = [frame(BEGIN + number * DAY + i) for i in range(answered)]
    said = {"status": 422, "error": "input in x", **how}
    return frames + [frame(BEGIN + number * DAY + i, **said) for i in range(turned)]


def turn_away(place: Site, status: int, error: str) -> Seen:
    """Twelve days of 60 requests of one row, of the last of which 58 are turned away, and a day more.

    What a pass sees that is repeated: it counts nothing twice.
    """
    for number in range(12):
        rows = place.rows(60)
        for i in range(60):
            one = Rows({name: values[i : i + 1] for name, values in rows.columns.items()},
                       rows.score[i : i + 1], rows.decision[i : i + 1], [])  # fmt: skip
            moment = BEGIN + number * DAY + i
            if number < 11 or i < 2:
                place.append(one, [ids.new_id()], [moment], role="champion")
            else:
                place.log.append([frame(moment, status, error=error)])
    place.live(12, 60)
    place.look(13, acted=False)
    return place.look(13, acted=False)


def draw(
    task: str, noise: np.random.Generator, count: int, shift: float = 0.0, meaning: float = 1.0
) -> Rows:
    x = noise.normal(size=count) + shift
    kind = noise.choice(["a", "b"], count).astype(object)
    columns = {"x": x, "kind": kind}
    if task == "binary":
        lean = 1.5 * x + 0.5 * (kind == "a")
        score = sigmoid(lean)
        good = noise.random(count) < sigmoid(meaning * lean)
        return Rows(columns, score, yes(score >= 0.5), yes(good))
    if task == "multiclass":
        score, true = softmax(2 * x), softmax(2 * x * meaning)
        pick = (noise.random((count, 1)) > true.cumsum(axis=1)).sum(axis=1)
        return Rows(columns, score, score.argmax(axis=1).tolist(), pick.clip(0, 2).tolist())
    truth = 2 * x * meaning + noise.normal(size=count)
    return Rows(columns, 2 * x, (2 * x).tolist(), truth.tolist())


def sigmoid(odds: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-odds))


def softmax(lean: np.ndarray) -> np.ndarray:
    power = np.exp(lean[:, None] * np.array([-1.0, 0.0, 1.0]))
    return power / power.sum(axis=1, keepdims=True)


def yes(flags: np.ndarray) -> list[str]:
    return np.where(flags, "yes", "no").tolist()


def write_model(folder: Path, signed: Signature, *, watched: bool = True) -> Path:
    """A package with all that the monitor reads and nothing else."""
    folder.mkdir()
    (folder / signature.FILE).write_bytes(signature.encode(signed))
    if watched:
        rows = draw(signed.task, np.random.default_rng(99), 3_000)
        table = rows.columns | traffic.outputs(rows.score, rows.decision, signed)
        known = reference.fit_reference(table, kinds={"x": "number", "kind": "category"})
        (folder / "reference.profile").write_bytes(reference.encode(known))
        found = basis.fit(signed, known, table, rows.score, rows.decision, rows.truth)
        (folder / basis.FILE).write_bytes(basis.encode(found))
    return folder


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """`site(task="binary", seed=0, watched=True, extra="")`: a project and its endpoint."""
    logs: list[Log] = []

    def build(
        task: str = "binary", *, seed: int = 0, watched: bool = True, extra: str = ""
    ) -> Site:
        folder = tmp_path / task
        folder.mkdir()
        path = folder / "trimtab.toml"
        path.write_text(PROJECT.format(bound=BOUNDS[task]) + extra)
        ws = open_workspace(folder, "goods")
        package = write_model(folder / "package", SIGNED[task], watched=watched)
        version = versions.add(ws, "model", "goods", registry.put(ws, package))
        log = Log(ws.root / "endpoints" / "goods" / "log", "goods")
        logs.append(log)
        return Site(
            folder=folder,
            task=task,
            ws=ws,
            config=project_file.load(path),
            signed=SIGNED[task],
            version=version,
            log=log,
            noise=np.random.default_rng([seed, 1]),
        )

    yield build
    for log in logs:
        log.close()


@pytest.fixture
def place(site: Callable[..., Site]) -> Site:
    """A site whose requests are of the day on which they came."""
    found = site()
    serve = msgspec.structs.replace(found.config.serve, event_time="server")
    found.config = msgspec.structs.replace(found.config, serve=serve)
    return found
