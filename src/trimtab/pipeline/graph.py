"""A flow drawn as a graph: the datasets and step calls in the order of the code, and the edges.

Drawing runs the flow's own code with handles in place of rows; no step runs.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trimtab.config import Config
from trimtab.errors import NotFoundError, PipelineError, TrimtabError
from trimtab.pipeline import blame, tracing
from trimtab.pipeline.flow import Flow
from trimtab.pipeline.handle import Handle, reference
from trimtab.pipeline.step import Step


@dataclass(frozen=True)
class Ref:
    """An edge: the output of node `node`, or item `item` of it."""

    node: int
    item: int | None = None


@dataclass(frozen=True, eq=False)
class Node:
    """A dataset (`step` is None) or the call of a step with its bound arguments.

    Handles among the arguments are `Ref`s. `name` is unique in the graph.
    """

    number: int
    name: str
    step: Step[..., Any] | None
    arguments: Mapping[str, Any]
    inputs: tuple[Ref, ...]


@dataclass(frozen=True, eq=False)
class Graph:
    """A drawn flow. `result` is what the flow returned, with `Ref`s in place of handles."""

    flow: Flow[..., Any]
    params: Mapping[str, Any]
    nodes: tuple[Node, ...]
    result: Any

    @property
    def steps(self) -> tuple[Node, ...]:
        """The nodes that are steps."""
        return tuple(node for node in self.nodes if node.step is not None)

    def datasets(self, node: Node) -> tuple[str, ...]:
        """The names of all datasets that flow into a node, by way of other nodes too."""
        if node.step is None:
            return (node.name,)
        found = [name for ref in node.inputs for name in self.datasets(self.nodes[ref.node])]
        return tuple(dict.fromkeys(found))


def draw(flow: Flow[..., Any], config: Config, params: Mapping[str, Any]) -> Graph:
    """Draw a flow; raises PipelineError naming the line where its code cannot be drawn."""
    bound = flow.bind(params)
    pen = _Pen()
    arguments = dict(bound)
    for name in flow.datasets:
        if name not in config.data:
            raise _no_dataset(flow, name, config)
        arguments[name] = pen.dataset(name)
    token = tracing.active.set(pen)
    try:
        result = flow.function(**arguments)
    except TrimtabError as error:
        raise blame.drawing(flow, error) from error
    except Exception as error:
        raise blame.drawing(flow, error) from error
    finally:
        tracing.active.reset(token)
    return Graph(flow, bound, tuple(pen.nodes), template(result))


def template(value: Any) -> Any:
    """A value with its handles replaced by references, inside of lists, tuples and dicts too."""
    if isinstance(value, Handle):
        return Ref(*reference(value))
    if type(value) in (list, tuple):
        return type(value)(template(item) for item in value)
    if type(value) is dict:
        return {key: template(item) for key, item in value.items()}
    return value


def refs(value: Any) -> Iterator[Ref]:
    """The references inside of a template."""
    if isinstance(value, Ref):
        yield value
    elif type(value) in (list, tuple):
        for item in value:
            yield from refs(item)
    elif type(value) is dict:
        for item in value.values():
            yield from refs(item)


def fill(value: Any, load: Callable[[Ref], Any]) -> Any:
    """A template with its references replaced by what `load` gives."""
    if isinstance(value, Ref):
        return load(value)
    if next(refs(value), None) is None:
        return value
    if type(value) is dict:
        return {key: fill(item, load) for key, item in value.items()}
    return type(value)(fill(item, load) for item in value)


class _Pen:
    """The tracer that takes a graph down."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._names: dict[str, int] = {}

    def dataset(self, name: str) -> Handle:
        node = Node(len(self.nodes), self._unique(name), None, {}, ())
        self.nodes.append(node)
        return Handle(node.number, f"[data.{name}]")

    def add(self, step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Handle:
        """Note the call of a step."""
        try:
            bound = step.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise PipelineError(f"step {step.name}: {error}") from error
        bound.apply_defaults()
        arguments = {name: template(value) for name, value in bound.arguments.items()}
        inputs = tuple(dict.fromkeys(refs(list(arguments.values()))))
        node = Node(len(self.nodes), self._unique(step.name), step, arguments, inputs)
        self.nodes.append(node)
        return Handle(node.number, node.name, step.items)

    def _unique(self, name: str) -> str:
        count = self._names[name] = self._names.get(name, 0) + 1
        return name if count == 1 else f"{name}-{count}"


def call(step: Step[..., Any], arguments: Mapping[str, Any]) -> Any:
    """Call a step's function with bound arguments."""
    bound = inspect.BoundArguments(step.signature, dict(arguments))
    return step.function(*bound.args, **bound.kwargs)


def _no_dataset(flow: Flow[..., Any], name: str, config: Config) -> NotFoundError:
    near = difflib.get_close_matches(name, config.data, n=1, cutoff=0.5)
    return NotFoundError(
        f"flow {flow.name} takes the dataset {name!r}, and there is no [data.{name}]"
        + (f", did you mean {near[0]!r}?" if near else ""),
        hint=f"datasets of the project: {', '.join(config.data) or 'none'}",
    )
