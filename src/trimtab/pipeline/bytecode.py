"""A code object in normal form: what it does, free of where and how it was written down.

Line numbers, positions, file names, comments, docstrings and layout leave no trace; constants,
names, control flow and exception ranges do. What a name stands for is left to `fingerprint`.
"""

from __future__ import annotations

import dis
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType
from typing import Any, Final

from trimtab import hashing
from trimtab.pipeline.automaton import instructions, smallest

_GLOBALS: Final = frozenset(("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"))
_ATTRIBUTES: Final = frozenset(("LOAD_ATTR", "LOAD_METHOD"))
# *args, **kwargs, generator, coroutine, iterable coroutine, async generator
_FLAGS: Final = 0x04 | 0x08 | 0x20 | 0x80 | 0x100 | 0x200
_CACHED: Final = 4096


@dataclass(frozen=True)
class Import:
    """A module imported inside a function; `names` are those taken from it, () for the module."""

    module: str
    level: int
    names: tuple[str, ...]


@dataclass(frozen=True)
class Names:
    """What a code object and those nested in it reach by name.

    `chains` are globals with the attributes read off them at once: `("np", "linalg", "norm")`.
    `attributes` are all attribute names that it reads, from whatever object.
    """

    chains: tuple[tuple[str, ...], ...]
    imports: tuple[Import, ...]
    attributes: frozenset[str]


@lru_cache(_CACHED)
def digest(code: CodeType) -> str:
    """The digest of a code object's normal form."""
    return hashing.digest("key", repr(normal(code)).encode())


def normal(code: CodeType) -> tuple[Any, ...]:
    """The normal form as nested tuples of text and numbers."""
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount)
    arguments = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return (code.co_name, code.co_flags & _FLAGS, counts, arguments, smallest(code, constant))


def constant(value: Any) -> Any:
    """A constant of a code object with its type, so that 1, 1.0 and True differ."""
    if isinstance(value, CodeType):
        return ("code", digest(value))
    if isinstance(value, tuple):
        return ("tuple", tuple(constant(item) for item in value))
    if isinstance(value, frozenset):
        return ("frozenset", tuple(sorted(repr(constant(item)) for item in value)))
    return (type(value).__name__, repr(value))


@lru_cache(_CACHED)
def names(code: CodeType) -> Names:
    """The globals, imports and attributes that a code object and those nested in it name."""
    chains: dict[tuple[str, ...], None] = {}
    imports: dict[Import, None] = {}
    attributes: set[str] = set()
    for one in nested(code):
        kept = instructions(one)
        for number, instruction in enumerate(kept):
            if instruction.opname in _GLOBALS:
                chains[_chain(kept, number)] = None
            elif instruction.opname in _ATTRIBUTES:
                attributes.add(str(instruction.argval))
            elif instruction.opname == "IMPORT_NAME":
                imports[_import(kept, number)] = None
    return Names(tuple(chains), tuple(imports), frozenset(attributes))


def nested(code: CodeType) -> Iterator[CodeType]:
    """A code object and all those written inside of it."""
    yield code
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from nested(const)


def _chain(kept: list[dis.Instruction], number: int) -> tuple[str, ...]:
    chain = [str(kept[number].argval)]
    for one in kept[number + 1 :]:
        if one.opname not in _ATTRIBUTES:
            break
        chain.append(str(one.argval))
    return tuple(chain)


def _import(kept: list[dis.Instruction], number: int) -> Import:
    level = kept[number - 2].argval if number >= 2 else 0
    wanted = kept[number - 1].argval if number >= 1 else None
    return Import(
        module=str(kept[number].argval),
        level=level if isinstance(level, int) else 0,
        names=tuple(wanted) if isinstance(wanted, tuple) else (),
    )
