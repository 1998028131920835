"""What a run of a flow gave."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from trimtab.pipeline.graph import Ref, refs
from trimtab.pipeline.job import JobStatus
from trimtab.store.records import Run


@dataclass(frozen=True)
class StepResult:
    """A step of a run: `run` is the run that made its outputs, `reasons` why it ran."""

    name: str
    status: JobStatus
    key: str
    run: str
    seconds: float = 0.0
    reasons: tuple[str, ...] = ()
    weak: tuple[str, ...] = ()


@dataclass(frozen=True)
class FlowResult:
    """What a run of a flow gave.

    `outputs` are the digests of what the flow returned, by name: "result", or the keys or positions
    of a returned dict, list or tuple. `data` are the labels of the versions it read. `value` loads
    what it returned.
    """

    run: Run
    outputs: Mapping[str, str]
    steps: tuple[StepResult, ...]
    data: Mapping[str, str]
    load: Callable[[], Any]

    @property
    def nothing_to_do(self) -> bool:
        """Whether every step was remembered."""
        return all(step.status == "cached" for step in self.steps)

    @cached_property
    def value(self) -> Any:
        """What the flow returned, with every output loaded from the store."""
        return self.load()


def output_refs(result: Any) -> dict[str, Ref]:
    """The references in what a flow returned, by name."""
    if isinstance(result, Ref):
        return {"result": result}
    if type(result) in (list, tuple):
        pairs = [(str(number), item) for number, item in enumerate(result)]
    elif type(result) is dict:
        pairs = [(str(key), item) for key, item in result.items()]
    else:
        return {}
    found = {}
    for name, item in pairs:
        for number, ref in enumerate(refs(item)):
            found[name if isinstance(item, Ref) else f"{name}.{number}"] = ref
    return found
