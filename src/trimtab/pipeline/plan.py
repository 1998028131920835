"""What a run would do, and why, without doing any of it: a plan only reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from trimtab.config import Config
from trimtab.pipeline import datasets, explain, load, lookup, outputs
from trimtab.pipeline.flow import Flow
from trimtab.pipeline.graph import Graph, Node, draw
from trimtab.pipeline.keys import Keys, StepKey
from trimtab.pipeline.outputs import Outputs
from trimtab.store import cache
from trimtab.store.records import CachedStep
from trimtab.store.workspace import Workspace

_SHOWN: Final = 3


class PlannedStep(msgspec.Struct, frozen=True, kw_only=True):
    """A step of a plan; `name` is unique in the flow.

    `reasons` say why it runs, the most telling first; () where it is cached. `run` is the run that
    is remembered, `weak` what its key cannot see, `key` "" where it depends on a step that runs
    first.
    """

    name: str
    status: Literal["cached", "run"]
    reasons: tuple[str, ...] = ()
    key: str = ""
    run: str = ""
    weak: tuple[str, ...] = ()

    @property
    def reason(self) -> str:
        """Why, in one line."""
        if self.status == "cached":
            return "nothing changed"
        shown = "; ".join(self.reasons[:_SHOWN])
        more = len(self.reasons) - _SHOWN
        return shown + (f"; and {more} more" if more > 0 else "")


class PlannedData(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset of a plan: the version's label and digest, "" where the run would make a new one."""

    name: str
    label: str = ""
    digest: str = ""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The datasets and steps of a flow in order."""

    flow: str
    params: dict[str, Any]
    data: tuple[PlannedData, ...]
    steps: tuple[PlannedStep, ...]

    @property
    def nothing_to_do(self) -> bool:
        """Whether every step is remembered."""
        return all(step.status == "cached" for step in self.steps)


def plan(
    ws: Workspace,
    config: Config,
    flow: str | Flow[..., Any] = "",
    params: Mapping[str, Any] | None = None,
    *,
    data: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Plan:
    """The plan of a flow (by default `[model] flow`); stores nothing.

    `data` pins datasets to versions; `folder` holds the code, by default the project's. Raises
    NotFoundError, UsageError and PipelineError where the flow cannot be found or drawn.
    """
    drawn = draw(named(ws, config, flow, folder), config, params or {})
    planner = _Planner(ws, config, drawn)
    found = tuple(planner.dataset(node, (data or {}).get(node.name, "")) for node in _data(drawn))
    steps = tuple(planner.step(node) for node in drawn.steps)
    return Plan(flow=drawn.flow.name, params=dict(drawn.params), data=found, steps=steps)


def named(
    ws: Workspace, config: Config, flow: str | Flow[..., Any], folder: Path | None = None
) -> Flow[..., Any]:
    """The flow that is meant: itself, `module:name` in the code folder, or `[model] flow`."""
    if isinstance(flow, Flow):
        return flow
    return load.load_flow(flow or config.model.flow, folder or ws.project_dir)


def before(ws: Workspace, graph: Graph) -> dict[str, CachedStep]:
    """What each step of a graph gave last, by its name."""
    return cache.last(ws, {node.name for node in graph.steps})


def why(key: StepKey, last: CachedStep | None, changed: Mapping[str, str]) -> tuple[str, ...]:
    """Why a step whose key is not remembered runs, told from the last one of its name.

    `changed` is what it read last time and is different now, as `lookup.find` told.
    """
    if changed:
        return tuple(explain.observed(changed))
    if last is None:
        return (explain.NEVER,)
    found = explain.reasons(last.components, key.components, key.root)
    return tuple(found) or ("what it made is gone from the store",)


class _Planner:
    def __init__(self, ws: Workspace, config: Config, graph: Graph) -> None:
        self._ws = ws
        self._config = config
        self._graph = graph
        self._keys = Keys(graph, config)
        self._outputs: dict[int, Outputs] = {}
        self._before = before(ws, graph)

    def dataset(self, node: Node, pinned: str) -> PlannedData:
        """A dataset node."""
        version = datasets.peek(self._ws, self._config, node.name, pinned=pinned)
        if version is None:
            return PlannedData(name=node.name)
        self._outputs[node.number] = outputs.of_dataset(version.digest)
        return PlannedData(name=node.name, label=version.label, digest=version.digest)

    def step(self, node: Node) -> PlannedStep:
        """A step node whose inputs have been planned."""
        waits = [
            self._graph.nodes[ref.node].name for ref in node.inputs if ref.node not in self._outputs
        ]
        if waits:
            reasons = tuple(f"input is made anew: {name}" for name in dict.fromkeys(waits))
            return PlannedStep(name=node.name, status="run", reasons=reasons)
        key = self._keys.of(node, self._outputs)
        if node.step is not None and not node.step.cache:
            return PlannedStep(name=node.name, status="run", reasons=("not cached",), key=key.key)
        known, changed = lookup.find(self._ws, key.key, self._ws.project_dir)
        if known is None:
            reasons = why(key, self._before.get(key.name), changed)
            return PlannedStep(
                name=node.name, status="run", reasons=reasons, key=key.key, weak=key.weak
            )
        self._outputs[node.number] = outputs.of_cached(known)
        weak = tuple(known.weak)
        return PlannedStep(name=node.name, status="cached", key=key.key, run=known.run, weak=weak)


def _data(graph: Graph) -> tuple[Node, ...]:
    return tuple(node for node in graph.nodes if node.step is None)
