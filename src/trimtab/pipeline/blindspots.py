"""What a fingerprint cannot see into, told from the names that code uses.

A step that uses one of these gets a weak key: it is cached all the same, the plan says why it may
be wrong, and a strict run refuses it.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Final

from trimtab.pipeline.bytecode import Names

_BUILTINS: Final = {
    "eval": "calls eval, whose code the key cannot see",
    "exec": "calls exec, whose code the key cannot see",
    "__import__": "imports by a computed name",
}
_CLOCK: Final = "reads the clock"
_CHANCE: Final = "draws random numbers that no seed of its own decides"
# Module -> attribute path within it -> reason; a path ending in "*" is a prefix.
_LIBRARY: Final[dict[str, dict[str, str]]] = {
    "importlib": {"import_module": "imports by a computed name"},
    "time": {"time": _CLOCK, "time_ns": _CLOCK},
    "datetime": {
        "datetime.now": _CLOCK,
        "datetime.utcnow": _CLOCK,
        "datetime.today": _CLOCK,
        "date.today": _CLOCK,
    },
    "uuid": {"uuid1": _CHANCE, "uuid4": _CHANCE},
    "secrets": {"*": _CHANCE},
    "random": dict.fromkeys(
        ("random", "randint", "randrange", "choice", "choices", "shuffle", "sample", "uniform"),
        _CHANCE,
    ),
    "numpy.random": dict.fromkeys(
        ("rand", "randn", "randint", "random", "choice", "shuffle", "permutation", "normal"),
        _CHANCE,
    ),
    "polars": {
        "read_*": "reads a file by polars, unseen: take it as a Dataset, or open it and hand it over",
        "scan_*": "scans a file by polars, unseen: take it as a Dataset",
    },
}


def of_names(names: Names, function: types.FunctionType) -> Iterator[str]:
    """The reasons that the globals which a function names make its key weak."""
    for chain in names.chains:
        head = function.__globals__.get(chain[0])
        if head is None and chain[0] in _BUILTINS and chain[0] not in function.__globals__:
            yield _BUILTINS[chain[0]]
        elif head is not None:
            found = _reason(*_home(head, chain))
            if found:
                yield f"{found} ({'.'.join(chain)})"


def _home(head: object, chain: tuple[str, ...]) -> tuple[str, str]:
    """The library module and the path within it that a chain names."""
    rest = list(chain[1:])
    while isinstance(head, types.ModuleType) and rest:
        inner = getattr(head, rest[0], None)
        if not isinstance(inner, types.ModuleType):
            break
        head = inner
        rest.pop(0)
    if isinstance(head, types.ModuleType):
        return head.__name__, ".".join(rest)
    owner = getattr(head, "__module__", None)
    if owner is None:  # a bound method such as random.shuffle
        owner = type(getattr(head, "__self__", None)).__module__
    name = getattr(head, "__qualname__", getattr(head, "__name__", ""))
    path = [str(name).removeprefix("Random."), *rest]
    return str(owner), ".".join(path)


def _reason(module: str, path: str) -> str:
    for home, paths in _LIBRARY.items():
        if module == home or (home == "polars" and module.startswith("polars.")):
            for pattern, reason in paths.items():
                if path == pattern or (pattern.endswith("*") and path.startswith(pattern[:-1])):
                    return reason
    return ""
