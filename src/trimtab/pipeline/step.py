"""The `step` decorator: a function whose result is remembered.

Called directly, a step is the plain function. Called inside of a flow that is being drawn, it
gives a handle. What the result depends on is worked out by `keys`, never declared twice.
"""

from __future__ import annotations

import ast
import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, ParamSpec, TypeVar, cast, overload

from trimtab.config import Config
from trimtab.errors import PipelineError
from trimtab.pipeline import tracing

_NOTHING: Final[Mapping[str, Any]] = {}

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Scope:
    """What a step's extras may be made from.

    `datasets` are the names of all datasets that flow into the step, `arguments` its bound
    arguments, handles among them replaced by references.
    """

    config: Config
    datasets: tuple[str, ...]
    arguments: Mapping[str, Any]


Extras = Mapping[str, Any] | Callable[[Scope], Mapping[str, Any]]


class Step(Generic[P, R]):
    """A function that runs as a step of a flow."""

    __wrapped__: Callable[P, R]
    __name__: str

    def __init__(
        self,
        function: Callable[P, R],
        *,
        name: str = "",
        cache: bool = True,
        extras: Extras = _NOTHING,
    ) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.name = name or function.__name__
        self.cache = cache
        self.extras = extras

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The function's result, or a handle of it where a flow is being drawn."""
        tracer = tracing.active.get()
        if tracer is None:
            return self.function(*args, **kwargs)
        return cast(R, tracer.add(self, args, kwargs))

    def __repr__(self) -> str:
        return f"<step {self.name}>"

    @functools.cached_property
    def signature(self) -> inspect.Signature:
        """The signature of the function."""
        return inspect.signature(self.function)

    @functools.cached_property
    def items(self) -> int:
        """How many outputs a return annotated as `tuple[A, B]` promises, else 0."""
        annotation = self.signature.return_annotation
        if isinstance(annotation, str):
            return _written_items(annotation)
        arguments = typing.get_args(annotation)
        is_tuple = typing.get_origin(annotation) is tuple and Ellipsis not in arguments
        return len(arguments) if is_tuple else 0


@overload
def step(function: Callable[P, R], /) -> Step[P, R]: ...
@overload
def step(
    *, name: str = ..., cache: bool = ..., extras: Extras = ...
) -> Callable[[Callable[P, R]], Step[P, R]]: ...
def step(
    function: Callable[P, R] | None = None,
    /,
    *,
    name: str = "",
    cache: bool = True,
    extras: Extras = _NOTHING,
) -> Step[P, R] | Callable[[Callable[P, R]], Step[P, R]]:
    """Make a function a step.

    `cache=False` runs it every time. `extras` are further JSON-able values that its result depends
    on, or a function of the `Scope` that gives them. Raises PipelineError for anything but a plain
    function.
    """

    def decorate(decorated: Callable[P, R]) -> Step[P, R]:
        _check(decorated)
        return Step(decorated, name=name, cache=cache, extras=extras)

    return decorate if function is None else decorate(function)


def _check(function: Any) -> None:
    name = getattr(function, "__qualname__", repr(function))
    if not inspect.isfunction(function):
        raise PipelineError(f"@step goes on a function, {name} is a {type(function).__name__}")
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise PipelineError(
            f"step {name} is a coroutine or generator, whose result cannot be stored",
            hint="return a value: a list, a frame, an array",
        )


def _written_items(annotation: str) -> int:
    """The same for an annotation that is only text, as under `from __future__ import annotations`."""
    try:
        tree = ast.parse(annotation, mode="eval").body
    except SyntaxError:
        return 0
    if not isinstance(tree, ast.Subscript) or ast.unparse(tree.value) not in ("tuple", "Tuple"):
        return 0
    parts = tree.slice.elts if isinstance(tree.slice, ast.Tuple) else [tree.slice]
    is_open = any(isinstance(part, ast.Constant) and part.value is ... for part in parts)
    return 0 if is_open else len(parts)
