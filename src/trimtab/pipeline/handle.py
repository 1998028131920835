"""A handle: the promise of a step's result while a flow is being traced."""

from __future__ import annotations

from typing import Any, NoReturn

from trimtab.errors import PipelineError


class Dataset:
    """Annotates a flow's parameter that is bound to `[data.NAME]` of the same name."""


class Handle:
    """Stands for a value that does not exist yet; it may only be passed to a step or returned."""

    def __init__(self, node: str, label: str) -> None:
        self.node = node
        self.label = label

    def __repr__(self) -> str:
        return f"<result of {self.label}>"

    def _refuse(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise PipelineError(
            f"the flow uses the result of {self.label} as a value, but it does not exist yet: "
            "a flow only says what depends on what",
            hint="do this inside of a @step: in a flow, results may be passed to steps and returned",
        )

    __bool__ = __len__ = __iter__ = __getitem__ = __contains__ = __call__ = _refuse
    __int__ = __float__ = __index__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _refuse
    __truediv__ = __rtruediv__ = __floordiv__ = __mod__ = __pow__ = __neg__ = _refuse
    __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __and__ = __or__ = __xor__ = __invert__ = _refuse

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        self._refuse()
