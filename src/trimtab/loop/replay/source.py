"""Where a replay's rows and estimator come from: the project's champion, its flow, or a plain file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from trimtab.data import checks, reader, tables
from trimtab.errors import ConfigError, DataError, NotFoundError, UsageError
from trimtab.loop.project import Project
from trimtab.loop.replay import history
from trimtab.loop.replay.history import Cut, History
from trimtab.model import codec
from trimtab.pipeline import datasets, graph, load, outputs, snapshot
from trimtab.pipeline import plan as planning
from trimtab.pipeline.graph import Graph, Ref
from trimtab.pipeline.outputs import Outputs
from trimtab.store import runs, versions
from trimtab.tune import roles as naming
from trimtab.tune import stock
from trimtab.tune.candidate import Candidate, Kind, Task
from trimtab.tune.frames import kinds
from trimtab.tune.roles import Roles

DEFAULT: Final = "linear"
ALL: Final = "all"
"""`NAME@all`: every version of a source, what the loop published of its own traffic among them."""


@dataclass(frozen=True, eq=False)
class Source:
    """Rows to be replayed and the unfitted estimator; `inputs` are digests by name."""

    name: str
    frame: pl.DataFrame
    target: str
    time: str
    features: dict[str, Kind]
    task: Task
    template: Any
    inputs: dict[str, str]
    notes: tuple[str, ...] = ()
    searched: bool = False
    decide: str = ""

    def history(self, cut: Cut) -> History:
        """The rows in order, cut into windows; raises DataError or UsageError."""
        return history.build(
            self.frame,
            target=self.target,
            time=self.time,
            features=self.features,
            cut=cut,
            task=self.task,
            decide=self.decide,
        )


@dataclass(frozen=True)
class Wish:
    """What a person said of the source; "" leaves it to the project, or to the table."""

    target: str = ""
    time: str = ""
    in_order: bool = False
    estimator: str = ""
    seed: int = 0


def of_file(path: Path, wish: Wish, folder: Path) -> Source:
    """A plain table; raises NotFoundError, UsageError and DataError."""
    if not path.is_file():
        raise NotFoundError(f"there is no file {path}", hint="a csv, parquet or ndjson file")
    if not wish.target:
        raise UsageError(
            "a plain table needs a target", hint=f"trimtab replay {path} --target COLUMN"
        )
    frame = reader.read([(path.name, path)]).frame
    roles = Roles(target=wish.target, time=_time(wish, "", frame, path.name))
    _check(frame, roles, path.name)
    features, task = _features(frame, roles), naming.task_of(frame[roles.target])
    return Source(
        name=path.name,
        frame=frame,
        target=roles.target,
        time=roles.time,
        features=features,
        task=task,
        template=_template(wish, features, task, folder),
        inputs={},
    )


def of_project(project: Project, what: str, wish: Wish, run: str) -> Source:
    """The project's history: rows as the flow's own steps clean them, the champion's estimator.

    `what` is a source or a version of one (`loans@v3`, `loans@all`), "" the one with the target. Without a
    model the flow's factory is taken as it stands; a flow without `search` is replayed on the
    source's own rows, and needs a model.
    """
    config = project.config
    found = naming.of(config)
    target = wish.target or found.target
    if not target:
        raise ConfigError("no source of the project has a target", hint="set [data.NAME] target")
    champion, code, label = _champion(project)
    folder = snapshot.materialise(project.ws, code) if code else project.folder
    drawn = graph.draw(planning.named(project.ws, config, "", folder), config, {})
    pinned = _pinned(project, drawn, what)
    inputs, read = _datasets(project, drawn, pinned, run)
    searched = [
        node for node in drawn.steps if node.step is not None and node.step.name == "search"
    ]
    if searched:
        frame = graph.fill(searched[0].arguments["rows"], _values(drawn, read))
    else:
        frame = read(_labelled(project, drawn))
    if not isinstance(frame, pl.DataFrame):
        raise DataError(f"the flow trains on {type(frame).__name__}, a replay needs a table")
    name = label or f"flow {drawn.flow.name}"
    roles = Roles(
        target=target,
        fit_on=found.fit_on,
        key=found.key,
        protected=found.protected,
        time=_time(wish, found.time, frame, "the project's history"),
    )
    _check(frame, roles, name)
    notes = [f"rows and steps of {', '.join(inputs)}; estimator of {name}"]
    if roles.fit_on and roles.fit_on != target:
        notes.append(f"models learn {target}, not [model] fit_on = {roles.fit_on!r}")
    features = dict(champion.features) if champion else _features(frame, roles)
    task = champion.task if champion else naming.task_of(frame[target])
    if wish.estimator:
        template = _template(wish, features, task, folder)
    elif champion is not None:
        template = champion.estimator
    elif searched:
        template = searched[0].arguments["estimator"]()
        notes.append("there is no model yet: the estimator has its default parameters")
    else:
        raise NotFoundError(
            "the project has no model yet, and its flow has no search",
            hint="run `trimtab run` first, or name one: --estimator linear",
        )
    if not (hasattr(template, "fit") and hasattr(template, "get_params")):
        raise UsageError(
            f"the model is a {type(template).__name__}, which cannot be trained again",
            hint="name an estimator: --estimator linear",
        )
    return Source(
        name=", ".join(inputs),
        frame=frame,
        target=target,
        time=roles.time,
        features=features,
        task=task,
        template=template,
        inputs=inputs,
        notes=tuple(notes),
        decide=found.decide if task == "binary" else "",
        searched=champion is not None and not wish.estimator and bool(champion.trials),
    )


def _labelled(project: Project, drawn: Graph) -> str:
    """The flow's dataset that has the target; raises ConfigError."""
    for name in drawn.flow.datasets:
        if project.config.data[name].target:
            return name
    raise ConfigError(
        f"flow {drawn.flow.name} reads no source with a target, and has no search",
        hint="replay a file: trimtab replay FILE --target COLUMN --time COLUMN",
    )


def _champion(project: Project) -> tuple[Candidate | None, str, str]:
    """The champion's candidate (else the newest model's), its code and its label."""
    ws, name = project.ws, project.config.model_name
    for alias in ("champion", "latest"):
        try:
            version = versions.get(ws, "model", f"{name}@{alias}")
        except NotFoundError:
            continue
        for link in runs.users(ws, version.digest):
            made = runs.get(ws, link.run)
            read = [
                one
                for one in runs.links(ws, made.id)
                if (one.direction, one.name) == ("in", "candidate")
            ]
            if link.direction == "out" and read:
                stored = Outputs((read[0].digest,), (codec.CANDIDATE.name,))
                code = runs.get(ws, made.parent).code if made.parent else ""
                return outputs.load(ws, stored), code, version.label
    return None, "", ""


def _pinned(project: Project, drawn: Graph, what: str) -> dict[str, str]:
    if not what:
        return {}
    name = what.partition("@")[0]
    if name not in drawn.flow.datasets:
        raise NotFoundError(
            f"the flow reads no source {name!r}{checks.near(name, drawn.flow.datasets)}",
            hint=f"it reads {', '.join(drawn.flow.datasets)}; a file of your own needs --target",
        )
    return {name: what} if "@" in what else {}


def _datasets(
    project: Project, drawn: Graph, pinned: dict[str, str], run: str
) -> tuple[dict[str, str], Callable[[str], pl.DataFrame]]:
    """Digests of what is read by label, and how a dataset's table is read."""
    ws = project.ws
    found: dict[str, str] = {}
    labels: dict[str, list[str]] = {}
    for name in drawn.flow.datasets:
        asked = pinned.get(name, "")
        whole = asked == f"{name}@{ALL}"
        version = datasets.read(ws, project.config, name, run=run, pinned="" if whole else asked)
        taken = versions.find(ws, "data", name) if whole else [version]
        taken = sorted(taken, key=lambda one: one.number)
        labels[name] = [one.label for one in taken]
        found |= {one.label: one.digest for one in taken}

    def read(name: str) -> pl.DataFrame:
        parts = [tables.read(ws, label) for label in labels[name]]
        return _together(parts, project.config.data[name].key)

    return found, read


def _together(parts: list[pl.DataFrame], key: str) -> pl.DataFrame:
    """The rows of all versions, each once: of a key that is in several the newest."""
    if len(parts) == 1:
        return parts[0]
    rows = pl.concat(parts, how="diagonal_relaxed")
    known = [key] if key and key in rows.columns else None
    return rows.unique(known, keep="last", maintain_order=True)


def _values(drawn: Graph, read: Callable[[str], pl.DataFrame]) -> Callable[[Ref], Any]:
    """What a node gives, by calling the steps before it as plain Python, each once."""
    known: dict[int, Any] = {}

    def value(ref: Ref) -> Any:
        if ref.node not in known:
            node = drawn.nodes[ref.node]
            if node.step is None:
                known[ref.node] = read(node.name)
            else:
                arguments = {key: graph.fill(one, value) for key, one in node.arguments.items()}
                known[ref.node] = graph.call(node.step, arguments)
        made = known[ref.node]
        return made if ref.item is None else made[ref.item]

    return value


def _time(wish: Wish, configured: str, frame: pl.DataFrame, name: str) -> str:
    if wish.in_order:
        if wish.time:
            raise UsageError("--in-order takes rows as they stand, and --time sorts them: name one")
        return ""
    time = wish.time or configured
    if not time:
        dated = [column for column, kind in frame.schema.items() if kind.is_temporal()]
        guess = f"--time {dated[0]}" if dated else "--time COLUMN"
        raise DataError(
            f"{name} has no time column, and a replay needs the order in which rows came",
            hint=f"name it: {guess}; or --in-order where the rows stand in order of time",
        )
    return time


def _check(frame: pl.DataFrame, roles: Roles, name: str) -> None:
    if not frame.height:
        raise DataError(f"{name} has no rows")
    naming.check(frame, roles)


def _features(frame: pl.DataFrame, roles: Roles) -> dict[str, Kind]:
    found = kinds(frame, roles.withheld_from_fit)
    if not found:
        raise DataError(
            "no column is left to learn from", hint="roles take the target and the time"
        )
    return found


def _template(wish: Wish, features: dict[str, Kind], task: Task, folder: Path) -> Any:
    """An estimator by name: one of ours, or `module:factory` of the folder."""
    name = wish.estimator or DEFAULT
    if ":" not in name:
        return stock.make(name, features, task, wish.seed)
    module, _, attribute = name.partition(":")
    factory = getattr(load.load_module(module, folder), attribute, None)
    if not callable(factory):
        raise NotFoundError(
            f"{module}.py has no function {attribute!r}", hint="name one: MODULE:FACTORY"
        )
    made = factory()
    if not (hasattr(made, "fit") and hasattr(made, "get_params")):
        raise UsageError(
            f"{name} gave no estimator but a value of type {type(made).__name__}",
            hint="return an unfitted scikit-learn estimator or pipeline",
        )
    return made
