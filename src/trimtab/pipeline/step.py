"""A step: a function whose result is remembered under a key of its code, inputs and parameters.

Called directly it is plain Python. Called inside of a flow that is being traced it returns a handle.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, TypeVar, overload

from trimtab.errors import PipelineError
from trimtab.pipeline.handle import Handle

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Node:
    """One call of a step in a flow; arguments by name, some of them handles."""

    id: str
    step: Step[..., Any]
    arguments: dict[str, Any]


class Tracer:
    """Collects the nodes of a flow, in the order of their calls."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []

    def call(self, step: Step[..., Any], arguments: dict[str, Any]) -> Handle:
        """Note a call and promise its result."""
        known = sum(1 for node in self.nodes if node.step.name == step.name)
        node = Node(step.name if not known else f"{step.name}#{known + 1}", step, arguments)
        self.nodes.append(node)
        return Handle(node.id, f"step {node.id!r}")


tracing: ContextVar[Tracer | None] = ContextVar("tracing", default=None)


class Step(Generic[P, R]):
    """A function made a step. `config_keys` name what of the project its result depends on."""

    def __init__(
        self, function: Callable[P, R], name: str, extras: Callable[[Any], Any] | None = None
    ) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.name = name
        self.extras = extras
        self._signature = inspect.signature(function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function, or inside of a flow promise to."""
        tracer = tracing.get()
        if tracer is None:
            return self.function(*args, **kwargs)
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise PipelineError(f"step {self.name!r} is called wrongly: {error}") from error
        bound.apply_defaults()
        return tracer.call(self, dict(bound.arguments))  # type: ignore[return-value]

    def __repr__(self) -> str:
        return f"<step {self.name}>"


@overload
def step(function: Callable[P, R], /) -> Step[P, R]: ...
@overload
def step(
    *, name: str = "", extras: Callable[[Any], Any] | None = None
) -> Callable[[Callable[P, R]], Step[P, R]]: ...
def step(
    function: Callable[P, R] | None = None,
    /,
    *,
    name: str = "",
    extras: Callable[[Any], Any] | None = None,
) -> Step[P, R] | Callable[[Callable[P, R]], Step[P, R]]:
    """Make a function a step. `extras` gets the project's Config and returns what else is in the key."""
    if function is not None:
        return Step(function, name or function.__name__)

    def wrap(inner: Callable[P, R]) -> Step[P, R]:
        return Step(inner, name or inner.__name__, extras)

    return wrap
