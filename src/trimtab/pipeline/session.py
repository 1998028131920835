"""One run of a flow in one process: the graph, what its nodes gave so far, and who listens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trimtab.config import Config
from trimtab.pipeline import graph as graphs
from trimtab.pipeline import outputs as stores
from trimtab.pipeline.events import Listener, silent
from trimtab.pipeline.graph import Graph, Node, Ref
from trimtab.pipeline.keys import Keys, StepKey
from trimtab.pipeline.outputs import Outputs
from trimtab.store.workspace import Workspace


@dataclass(eq=False)
class Session:
    """A flow on its way. `run` is the id of the flow's run; `code` and `environment` its digests."""

    ws: Workspace
    config: Config
    graph: Graph
    run: str = ""
    code: str = ""
    environment: str = ""
    listener: Listener = silent
    folder: Path = Path()
    outputs: dict[int, Outputs] = field(default_factory=dict)
    _values: dict[tuple[int, int | None], Callable[[], Any]] = field(default_factory=dict)
    _made: dict[int, StepKey] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.keys = Keys(self.graph, self.config)
        self._left = Counter(ref.node for node in self.graph.nodes for ref in node.inputs)

    def key(self, node: Node) -> StepKey:
        """The key of a node whose inputs are known."""
        if node.number not in self._made:
            self._made[node.number] = self.keys.of(node, self.outputs)
        return self._made[node.number]

    def arguments(self, node: Node) -> dict[str, Any]:
        """The arguments of a step with the values of its inputs, loaded where needed."""
        return {name: graphs.fill(value, self.value) for name, value in node.arguments.items()}

    def value(self, ref: Ref) -> Any:
        """The value of an output: from memory where nobody can have changed it, else loaded."""
        place = (ref.node, ref.item)
        if place in self._values:
            return self._values[place]()
        outputs = self.outputs[ref.node]
        value = stores.load(self.ws, outputs, ref.item)
        self._keep(ref.node, ref.item, value, outputs)
        return value

    def keep(self, node: Node, items: list[Any]) -> None:
        """Hold what a step just gave for the steps after it."""
        outputs = self.outputs[node.number]
        for number, value in enumerate(items):
            self._keep(node.number, number if outputs.is_tuple else None, value, outputs)

    def finished(self, node: Node) -> None:
        """Let go of values that no later step reads."""
        for ref in node.inputs:
            self._left[ref.node] -= 1
            if not self._left[ref.node]:
                for place in [place for place in self._values if place[0] == ref.node]:
                    del self._values[place]

    def _keep(self, node: int, item: int | None, value: Any, outputs: Outputs) -> None:
        if not self._left[node] or (item is None and outputs.is_tuple):
            return
        again = stores.in_memory(outputs.codecs[item or 0], value)
        if again is not None:
            self._values[node, item] = again
