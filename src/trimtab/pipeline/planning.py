"""What a run would do, and why: keys without running anything.

A step's key covers its code, the digests of its inputs, its parameters and what it declares. Once an
input's digest is not known yet, because the step that makes it must run, the steps behind it must
run too.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trimtab import hashing
from trimtab.config import Config
from trimtab.errors import NotFoundError, PipelineError
from trimtab.pipeline import fingerprint
from trimtab.pipeline.flow import Graph, trace
from trimtab.pipeline.handle import Handle
from trimtab.pipeline.load import load
from trimtab.pipeline.step import Node
from trimtab.store import cache, versions
from trimtab.store.records import CachedStep, Version
from trimtab.store.workspace import Workspace


@dataclass(frozen=True)
class Planned:
    """A step of a plan. `key` is "" where it depends on a step that must run."""

    id: str
    name: str
    action: str
    reason: str
    key: str = ""
    weak: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """A flow's steps in order: "cached" or "run", and why."""

    flow: str
    steps: tuple[Planned, ...]
    data: dict[str, str] = field(default_factory=dict)

    @property
    def nothing_to_do(self) -> bool:
        """Whether every step is cached."""
        return all(step.action == "cached" for step in self.steps)


@dataclass(frozen=True)
class Prepared:
    """A step ready for lookup: its key, what the key is made of, and its inputs' digests."""

    key: str
    components: dict[str, str]
    weak: tuple[str, ...]


def plan(ws: Workspace, config: Config, folder: Path, params: Mapping[str, Any]) -> Plan:
    """The plan of the project's flow; raises NotFoundError where a source has no version."""
    graph = trace(load(folder, config.model.flow), config.data, params)
    data = inputs(ws, graph, {})
    known: dict[str, str] = {f"data:{name}": one.digest for name, one in data.items()}
    steps = []
    for node in graph.nodes:
        waits = [one.node for one in handles(node.arguments) if one.node not in known]
        if waits:
            steps.append(Planned(node.id, node.step.name, "run", f"{waits[0]} runs first"))
            continue
        prepared = prepare(node, known, config)
        found = lookup(ws, prepared.key)
        if found is not None:
            known[node.id] = found.outputs[0]
            steps.append(
                Planned(
                    node.id,
                    node.step.name,
                    "cached",
                    "nothing changed",
                    prepared.key,
                    prepared.weak,
                )
            )
        else:
            why = reason(ws, node, prepared)
            steps.append(Planned(node.id, node.step.name, "run", why, prepared.key, prepared.weak))
    return Plan(graph.name, tuple(steps), {name: one.label for name, one in data.items()})


def inputs(ws: Workspace, graph: Graph, wanted: Mapping[str, str]) -> dict[str, Version]:
    """The version of each source that a flow reads: the one wanted, else the latest."""
    found = {}
    for name in graph.datasets:
        try:
            found[name] = versions.get(ws, "data", wanted.get(name, f"{name}@latest"))
        except NotFoundError as error:
            raise NotFoundError(
                f"source {name!r} has no version yet", hint=f"`trimtab data add {name}` makes one"
            ) from error
    return found


def prepare(node: Node, known: Mapping[str, str], config: Config) -> Prepared:
    """The key of a step whose inputs are known."""
    code = fingerprint.fingerprint(node.step.function)
    components = dict(code.components)
    weak = list(code.weak)
    for name, value in node.arguments.items():
        if isinstance(value, Handle):
            components[f"input:{name}"] = known[value.node]
        elif inspect.isfunction(value) or inspect.isclass(value):
            reached = fingerprint.fingerprint(value)
            weak += reached.weak
            components |= reached.components
            components[f"param:{name}"] = reached.root
        else:
            components[f"param:{name}"] = _param(node, name, value)
    if node.step.extras is not None:
        components["config"] = hashing.object_digest("key", node.step.extras(config))
    key = hashing.object_digest("key", [node.step.name, components])
    return Prepared(key, components, tuple(dict.fromkeys(weak)))


def lookup(ws: Workspace, key: str) -> CachedStep | None:
    """The remembered step of a key, if what it read beside its inputs is still the same."""
    found = cache.get(ws, key)
    if found is None or not all(ws.blobs.has(digest) for digest in found.outputs):
        return None
    return found if not changed(found.observed) else None


def changed(seen: Mapping[str, str]) -> str:
    """The first environment variable or file that a step read and that is different now, or ""."""
    for what, before in seen.items():
        if current(what) != before:
            return what
    return ""


def current(what: str) -> str:
    """What `env:NAME` or `file:PATH` holds now, as a digest; "" where it is not there."""
    kind, _, name = what.partition(":")
    if kind == "env":
        value = os.environ.get(name)
        return "" if value is None else hashing.digest("key", value.encode())
    path = Path(name)
    return hashing.file_digest(path) if path.is_file() else ""


def reason(ws: Workspace, node: Node, prepared: Prepared) -> str:
    """Why a step must run, by comparing with the last time."""
    exact = cache.get(ws, prepared.key)
    if exact is not None:
        what = changed(exact.observed)
        kind, _, name = what.partition(":")
        return (
            f"{'environment variable' if kind == 'env' else 'file'} {name} changed"
            if what
            else ("its output is no longer in the store")
        )
    last = cache.last(ws, node.step.name)
    if last is None:
        return "never run"
    old, new = last.components, prepared.components
    differing = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    if not differing:
        return "its code or inputs changed"
    said = [_said(name, old, new) for name in sorted(differing)]
    return "; ".join(said[:3]) + (f"; and {len(said) - 3} more" if len(said) > 3 else "")


def handles(arguments: Mapping[str, Any]) -> list[Handle]:
    """The handles among a call's arguments."""
    return [value for value in arguments.values() if isinstance(value, Handle)]


def _said(name: str, old: Mapping[str, str], new: Mapping[str, str]) -> str:
    kind, _, what = name.partition(":")
    words = {"param": "parameter", "config": "roles in trimtab.toml"}
    label = f"{words.get(kind, kind)} {what}".strip()
    if name not in old:
        return f"{label} is new"
    return f"{label} is gone" if name not in new else f"{label} changed"


def _param(node: Node, name: str, value: Any) -> str:
    if _holds_handle(value):
        raise PipelineError(
            f"step {node.id!r} gets the result of a step inside of a collection ({name})",
            hint="pass each result as an argument of its own",
        )
    try:
        return hashing.canonical(value).decode() + f":{type(value).__name__}"
    except TypeError as error:
        raise PipelineError(
            f"step {node.id!r} gets {name}={type(value).__qualname__}, which cannot be part of a key",
            hint="pass numbers, text, lists, dicts, functions or results of steps",
        ) from error


def _holds_handle(value: Any) -> bool:
    if isinstance(value, Handle):
        return True
    if isinstance(value, dict):
        return any(_holds_handle(one) for one in value.values())
    return isinstance(value, list | tuple | set) and any(_holds_handle(one) for one in value)
