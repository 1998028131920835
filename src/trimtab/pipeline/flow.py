"""The `flow` decorator: a function that says which steps there are and what depends on what.

Called directly, a flow is the plain function. `driver.run` draws it once with handles and then
runs its steps.
"""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, ParamSpec, TypeVar, overload

import msgspec

from trimtab.errors import PipelineError, UsageError
from trimtab.pipeline.handle import Dataset

P = ParamSpec("P")
R = TypeVar("R")

_PLAIN: Final = {"int": int, "float": float, "str": str, "bool": bool}


class Flow(Generic[P, R]):
    """A function that calls steps; its arguments are datasets and run parameters."""

    __wrapped__: Callable[P, R]
    __name__: str

    def __init__(self, function: Callable[P, R], *, name: str = "") -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.name = name or function.__name__

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The function's result on real values."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<flow {self.name}>"

    @property
    def reference(self) -> str:
        """`module:name`, by which another process finds it."""
        return f"{self.function.__module__}:{self.function.__qualname__}"

    @functools.cached_property
    def datasets(self) -> tuple[str, ...]:
        """The parameters that are bound to datasets."""
        return tuple(name for name, one in self._parameters.items() if _is_dataset(one))

    @functools.cached_property
    def _parameters(self) -> dict[str, inspect.Parameter]:
        return dict(inspect.signature(self.function).parameters)

    def bind(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The run parameters, defaults filled in and text turned into the annotated type.

        Raises UsageError for an unknown, missing or unreadable one.
        """
        known = {name: one for name, one in self._parameters.items() if name not in self.datasets}
        for name in given:
            if name not in known:
                raise self._unknown(name, list(known))
        bound = {}
        for name, one in known.items():
            if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD):
                raise PipelineError(f"flow {self.name} cannot take *{name}: name its parameters")
            if name in given:
                bound[name] = _typed(self.name, one, given[name])
            elif one.default is not one.empty:
                bound[name] = one.default
            else:
                raise UsageError(
                    f"flow {self.name} needs the parameter {name!r}",
                    hint=f"give it with -p {name}=VALUE, or annotate it as Dataset",
                )
        return bound

    def _unknown(self, name: str, known: list[str]) -> UsageError:
        if name in self.datasets:
            return UsageError(
                f"{name!r} of flow {self.name} is a dataset and is bound to [data.{name}]",
                hint="change its source in trimtab.toml",
            )
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        return UsageError(
            f"flow {self.name} has no parameter {name!r}"
            + (f", did you mean {near[0]!r}?" if near else ""),
            hint=f"it has: {', '.join(known) or 'none'}",
        )


@overload
def flow(function: Callable[P, R], /) -> Flow[P, R]: ...
@overload
def flow(*, name: str = ...) -> Callable[[Callable[P, R]], Flow[P, R]]: ...
def flow(
    function: Callable[P, R] | None = None, /, *, name: str = ""
) -> Flow[P, R] | Callable[[Callable[P, R]], Flow[P, R]]:
    """Make a function a flow; raises PipelineError for anything but a plain function."""

    def decorate(decorated: Callable[P, R]) -> Flow[P, R]:
        if not inspect.isfunction(decorated) or inspect.iscoroutinefunction(decorated):
            raise PipelineError(f"@flow goes on a plain function, not on {decorated!r}")
        return Flow(decorated, name=name)

    return decorate if function is None else decorate(function)


def _is_dataset(parameter: inspect.Parameter) -> bool:
    annotation = parameter.annotation
    if isinstance(annotation, str):
        return annotation.strip().rpartition(".")[2] == "Dataset"
    return annotation is Dataset


def _typed(flow_name: str, parameter: inspect.Parameter, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    annotation = parameter.annotation
    kind = _PLAIN.get(annotation, annotation) if isinstance(annotation, str) else annotation
    if kind is parameter.empty and parameter.default not in (parameter.empty, None):
        kind = type(parameter.default)
    if kind not in (int, float, bool):
        return value
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError as error:
        raise UsageError(
            f"parameter {parameter.name!r} of flow {flow_name} must be {kind.__name__}, "
            f"not {value!r}"
        ) from error
