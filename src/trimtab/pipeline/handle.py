"""The promise of a step's output, which a step call gives inside of a flow.

A flow is run once with handles to learn its shape; a handle can be passed on to steps and be
returned, and anything else that is tried with it is answered with what to do instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from trimtab.errors import PipelineError

if TYPE_CHECKING:
    # A type checker sees what the steps will get.
    from polars import DataFrame

    Dataset = DataFrame
else:

    class Dataset:
        """A flow's parameter that is the rows of `[data.NAME]`, where NAME is its own name."""


class Handle:
    """Output of node number `node`, or item `item` of it where the step returns a tuple."""

    __slots__ = ("_item", "_items", "_name", "_node")

    def __init__(self, node: int, name: str, items: int = 0, item: int | None = None) -> None:
        self._node = node
        self._name = name
        self._items = items
        self._item = item

    def __repr__(self) -> str:
        place = "" if self._item is None else f"[{self._item}]"
        return f"<output of {self._name}{place}>"

    def __iter__(self) -> Iterator[Handle]:
        if not self._items:
            raise PipelineError(
                f"the output of {self._name} cannot be unpacked inside a flow: it is not there yet",
                hint="annotate the step's return as tuple[A, B] to unpack it, or loop inside a step",
            )
        return iter([self[number] for number in range(self._items)])

    def __getitem__(self, item: Any) -> Handle:
        if not self._items or type(item) is not int:
            refuse(self, f"be indexed with {item!r}")
        if not 0 <= item < self._items:
            raise PipelineError(f"{self._name} gives {self._items} outputs, there is no [{item}]")
        return Handle(self._node, self._name, item=item)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        refuse(self, f"be asked for .{name}")

    __hash__ = object.__hash__


def reference(handle: Handle) -> tuple[int, int | None]:
    """The node and item that a handle stands for."""
    return handle._node, handle._item  # noqa: SLF001


def refuse(handle: Handle, attempt: str) -> NoReturn:
    """Raise what tells the author of a flow why this cannot work."""
    raise PipelineError(
        f"{handle!r} cannot {attempt} inside a flow: the flow is only being drawn, "
        "and the step has not run yet",
        hint="move this into a step: pass the output to it, and do it there",
    )


def _refusing(attempt: str) -> Any:
    def method(self: Handle, *_: Any, **__: Any) -> NoReturn:
        refuse(self, attempt)

    return method


_ATTEMPTS = {
    "be used in `if`, `and`, `or` or `not`": ["bool"],
    "be counted with len()": ["len"],
    "be searched with `in`": ["contains"],
    "be compared": ["eq", "ne", "lt", "le", "gt", "ge"],
    "be used in arithmetic": [
        *("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "divmod"),
        *("radd", "rsub", "rmul", "rtruediv", "rfloordiv", "rmod", "rpow", "rmatmul"),
        *("and", "or", "xor", "rand", "ror", "rxor", "lshift", "rshift", "invert"),
        *("neg", "pos", "abs", "round"),
    ],
    "be turned into a number": ["int", "float", "complex", "index"],
    "be put into text": ["format"],
    "be called": ["call"],
    "be used in `with`": ["enter"],
    "be awaited": ["await"],
    "be turned into an array": ["array", "dataframe"],
    "be changed": ["setitem", "delitem"],
}
for _attempt, _names in _ATTEMPTS.items():
    for _name in _names:
        setattr(Handle, f"__{_name}__", _refusing(_attempt))
