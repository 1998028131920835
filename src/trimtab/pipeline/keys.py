"""The key of a step call: code, inputs, parameters and declared extras, each a named component.

The key is the digest of the components; a component that differs from last time is the reason
that a step runs again (`explain`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from trimtab import hashing
from trimtab.config import Config
from trimtab.errors import PipelineError
from trimtab.pipeline import fingerprint as prints
from trimtab.pipeline.fingerprint import Fingerprint
from trimtab.pipeline.graph import Graph, Node, Ref, fill, refs
from trimtab.pipeline.outputs import Outputs
from trimtab.pipeline.step import Scope, Step

_SHOWN: Final = 60


@dataclass(frozen=True)
class StepKey:
    """A step call's key with what it is made of.

    `components` map names such as `code:pipeline.clean`, `constant:…`, `dependency:polars`,
    `param:depth`, `input:raw` and `extra:roles` to digests, or to the value itself where it is
    short. `extras` are the declared extras as the step may read them. `weak` lists what the key
    cannot see.
    """

    key: str
    name: str
    root: str
    components: dict[str, str]
    extras: dict[str, Any]
    weak: tuple[str, ...]


class Keys:
    """Makes the keys of one graph; the code is fingerprinted once per step."""

    def __init__(self, graph: Graph, config: Config) -> None:
        self._graph = graph
        self._config = config
        self._prints: dict[int, Fingerprint] = {}

    def of(self, node: Node, outputs: Mapping[int, Outputs]) -> StepKey:
        """The key of a node whose inputs are known: node number -> its outputs."""
        step = node.step
        if step is None:
            raise PipelineError(f"{node.name} is a dataset and has no key")
        print_ = self._print(step)
        components = dict(print_.components)
        weak = set(print_.weak)
        for name, value in node.arguments.items():
            self._argument(name, value, outputs, components, weak)
        extras = self._extras(node, step)
        for name, value in extras.items():
            components[f"extra:{name}"] = _shown(value)
        key = hashing.object_digest("key", {"step": node.name, "components": components})
        return StepKey(key, node.name, print_.root, components, extras, tuple(sorted(weak)))

    def _print(self, step: Step[..., Any]) -> Fingerprint:
        if id(step) not in self._prints:
            self._prints[id(step)] = prints.fingerprint(step)
        return self._prints[id(step)]

    def _argument(
        self,
        name: str,
        value: Any,
        outputs: Mapping[int, Outputs],
        components: dict[str, str],
        weak: set[str],
    ) -> None:
        def given(ref: Ref) -> tuple[str, str]:
            return ("input", outputs[ref.node].digest(ref.item))

        if isinstance(value, Ref):
            components[f"input:{name}"] = given(value)[1]
            return
        is_input = next(refs(value), None) is not None
        if not is_input and _is_short(value):
            components[f"param:{name}"] = _shown(value)
            return
        found = prints.of_value(fill(value, given))
        components.update(found.components)
        components[f"{'input' if is_input else 'param'}:{name}"] = found.root
        weak.update(found.weak)

    def _extras(self, node: Node, step: Step[..., Any]) -> dict[str, Any]:
        if not callable(step.extras):
            return dict(step.extras)
        scope = Scope(self._config, self._graph.datasets(node), node.arguments)
        return dict(step.extras(scope))


def _is_short(value: Any) -> bool:
    """Whether the value stands for itself in a component, so that people can read it."""
    return type(value) in (type(None), bool, int, float, str) and len(repr(value)) <= _SHOWN


def _shown(value: Any) -> str:
    try:
        text = hashing.canonical(value).decode()
    except (TypeError, msgspec.MsgspecError) as error:
        raise PipelineError(f"an extra of a step must be JSON-able: {error}") from error
    return text if len(text) <= _SHOWN else hashing.object_digest("key", value)
