"""A search space as a user writes it: (lo, hi) or a list of choices per parameter."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from trimtab.errors import PipelineError

if TYPE_CHECKING:
    import optuna

_WIDE: Final = 100.0


def check(space: Mapping[str, Sequence[Any]], factory: Callable[..., Any]) -> None:
    """Raises PipelineError where the space does not fit the estimator's arguments."""
    known = list(inspect.signature(factory).parameters) if space else []
    for name, choices in space.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise PipelineError(
                f"the search space names {name!r}, which {factory.__name__} does not take"
                + (f"; did you mean {near[0]!r}?" if near else ""),
                hint=f"it takes {', '.join(known) or 'no arguments'}",
            )
        if isinstance(choices, str) or not len(choices):
            raise PipelineError(f"the search space of {name!r} is empty")
        if isinstance(choices, tuple):
            _check_range(name, choices)


def distributions(
    space: Mapping[str, Sequence[Any]],
) -> dict[str, optuna.distributions.BaseDistribution]:
    """The space as Optuna's distributions: a tuple is a range, a list is a choice."""
    # optuna takes half a second to import, and only a search needs it.
    from optuna.distributions import (  # noqa: PLC0415
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    found: dict[str, optuna.distributions.BaseDistribution] = {}
    for name, choices in space.items():
        if not isinstance(choices, tuple):
            found[name] = CategoricalDistribution(list(choices))
            continue
        lo, hi = choices
        wide = lo > 0 and hi / lo >= _WIDE
        if isinstance(lo, int) and isinstance(hi, int):
            found[name] = IntDistribution(lo, hi, log=wide)
        else:
            found[name] = FloatDistribution(float(lo), float(hi), log=wide)
    return found


def _check_range(name: str, choices: tuple[Any, ...]) -> None:
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in choices)
    if len(choices) != 2 or not numbers or choices[0] > choices[1]:
        raise PipelineError(
            f"the search space of {name!r} is {choices!r}",
            hint="write (lowest, highest) for a range or a list for choices",
        )
