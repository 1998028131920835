"""A flow: a function that says which steps there are and what depends on what."""

from __future__ import annotations

import difflib
import functools
import inspect
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, TypeVar

from trimtab.errors import PipelineError
from trimtab.pipeline.handle import Dataset, Handle
from trimtab.pipeline.step import Node, Tracer, tracing

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Graph:
    """A traced flow. `datasets` are the sources it reads, `output` the handle that it returns."""

    name: str
    nodes: tuple[Node, ...]
    datasets: tuple[str, ...]
    params: dict[str, Any]
    output: Handle


class Flow(Generic[P, R]):
    """A function made a flow; called directly it is plain Python."""

    def __init__(self, function: Callable[P, R]) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.name = function.__name__

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function on real values."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<flow {self.name}>"


def flow(function: Callable[P, R]) -> Flow[P, R]:
    """Make a function a flow. Parameters annotated `Dataset` are sources, others run parameters."""
    return Flow(function)


def trace(found: Flow[..., Any], sources: Collection[str], params: Mapping[str, Any]) -> Graph:
    """Call the flow with handles; raises PipelineError for unknown sources or parameters."""
    datasets: list[str] = []
    arguments: dict[str, Any] = {}
    hints = _hints(found)
    parameters = inspect.signature(found.function).parameters
    for name, parameter in parameters.items():
        if hints.get(name) is Dataset:
            datasets.append(_source(found, name, sources))
            arguments[name] = Handle(f"data:{name}", f"dataset {name!r}")
        elif name in params:
            arguments[name] = _converted(found, name, params[name], hints.get(name))
        elif parameter.default is not parameter.empty:
            arguments[name] = parameter.default
        else:
            raise PipelineError(
                f"flow {found.name!r} needs a value for {name!r}",
                hint=f"`trimtab run -p {name}=VALUE`, or annotate it `{name}: Dataset`",
            )
    unknown = [name for name in params if name not in parameters or name in datasets]
    if unknown:
        known = [name for name in parameters if name not in datasets]
        raise PipelineError(
            f"flow {found.name!r} has no parameter {unknown[0]!r}" + _near(unknown[0], known),
            hint=f"it has {', '.join(known) or 'none'}",
        )
    tracer = Tracer()
    token = tracing.set(tracer)
    try:
        output = found.function(**arguments)
    finally:
        tracing.reset(token)
    if not isinstance(output, Handle):
        raise PipelineError(
            f"flow {found.name!r} returned {type(output).__name__}, not the result of a step",
            hint="return what a step, or search(...), returned",
        )
    plain = {name: value for name, value in arguments.items() if not isinstance(value, Handle)}
    return Graph(found.name, tuple(tracer.nodes), tuple(datasets), plain, output)


def _hints(found: Flow[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(found.function)
    except NameError as error:
        raise PipelineError(
            f"flow {found.name!r} has an annotation that is not defined: {error}"
        ) from error


def _source(found: Flow[..., Any], name: str, sources: Collection[str]) -> str:
    if name not in sources:
        raise PipelineError(
            f"flow {found.name!r} reads dataset {name!r}, which [data] does not name"
            + _near(name, sources),
            hint=f"[data] has {', '.join(sources) or 'no source'}",
        )
    return name


def _converted(found: Flow[..., Any], name: str, value: Any, hint: Any) -> Any:
    if not isinstance(value, str) or hint in (str, None, Any):
        return value
    try:
        if hint is bool:
            return {"true": True, "false": False, "1": True, "0": False}[value.lower()]
        return hint(value)
    except (ValueError, KeyError, TypeError) as error:
        wanted = getattr(hint, "__name__", str(hint))
        raise PipelineError(
            f"{name}={value!r} is no {wanted}, which flow {found.name!r} wants"
        ) from error


def _near(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f", did you mean {near[0]!r}?" if near else ""
