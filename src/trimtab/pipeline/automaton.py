"""A code object as the smallest automaton of its instructions.

The compiler lays the same program out in several ways, depending on which line each part stands
on: it copies short exits, follows jumps to jumps and fuses instructions within a line only. Here
jumps become edges, fused instructions are split, and states that behave alike are merged
(partition refinement: E. F. Moore, 1956), so that every layout gives one automaton.
"""

from __future__ import annotations

import dis
from collections.abc import Callable
from dataclasses import dataclass, field
from types import CodeType
from typing import Any, Final

_SILENT: Final = frozenset(("EXTENDED_ARG", "CACHE", "NOP", "RESUME", "NOT_TAKEN"))
_ALWAYS: Final = frozenset(("JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT"))
_FINAL: Final = frozenset(("RETURN_VALUE", "RERAISE", "RAISE_VARARGS"))
_FUSED: Final = {
    "LOAD_FAST_LOAD_FAST": ("LOAD_FAST", "LOAD_FAST"),
    "STORE_FAST_LOAD_FAST": ("STORE_FAST", "LOAD_FAST"),
    "STORE_FAST_STORE_FAST": ("STORE_FAST", "STORE_FAST"),
}
_JUMPS: Final = frozenset((*dis.hasjrel, *dis.hasjabs))
_CONSTS: Final = frozenset(dis.hasconst)
_UNSAID: Final = frozenset(("__doc__", "__firstlineno__", "__static_attributes__"))
# What a conditional jump asks, and whether it jumps when the answer is yes.
_ASKS: Final = {
    "IF_TRUE": ("truth", True),
    "IF_FALSE": ("truth", False),
    "IF_NOT_NONE": ("none", False),
    "IF_NONE": ("none", True),
}


@dataclass(eq=False)
class _State:
    """An instruction; `after` are the states it may go on to (a branch: yes, no)."""

    label: Any = ()
    after: list[_State] = field(default_factory=list)
    handler: _State | None = None
    depth: int = 0
    number: int = 0


def instructions(code: CodeType) -> list[dis.Instruction]:
    """The instructions that do something; a docstring being stored is not among them."""
    return _effective(list(dis.get_instructions(code)))


def _effective(written: list[dis.Instruction]) -> list[dis.Instruction]:
    kept: list[dis.Instruction] = []
    for one in written:
        if one.opname == "STORE_NAME" and one.argval in _UNSAID and kept:
            kept.pop()  # the constant that is stored under that name
        elif one.opname not in _SILENT:
            kept.append(one)
    return kept


def smallest(code: CodeType, constant: Callable[[Any], Any]) -> tuple[Any, ...]:
    """The automaton, entry first: a state is (label, next states, handler, stack depth there).

    `constant` says what a constant counts as.
    """
    states = _reachable(_Layout(code, constant).entry())
    _refine(states)
    order: dict[int, int] = {}
    distinct = []
    for state in states:
        if state.number not in order:
            order[state.number] = len(order)
            distinct.append(state)
    return tuple(
        (
            state.label,
            tuple(order[one.number] for one in state.after),
            -1 if state.handler is None else order[state.handler.number],
            state.depth,
        )
        for state in distinct
    )


class _Layout:
    """The instructions of a code object as they lie, on their way to states."""

    def __init__(self, code: CodeType, constant: Callable[[Any], Any]) -> None:
        written = list(dis.get_instructions(code))
        self._kept = _effective(written)
        self._constant = constant
        self._end = _State(("END",))
        self._parts = [[_State()] for _ in self._kept]
        self._place = self._places(written)
        # Public on Bytecode since 3.11, not yet in the type stubs.
        self._ranges: list[Any] = dis.Bytecode(code).exception_entries  # type: ignore[attr-defined]

    def entry(self) -> _State:
        """The first state, with everything reachable from it connected."""
        for number, one in enumerate(self._kept):
            if one.opname not in _ALWAYS:
                self._fill(number, one)
                self._catch(number, one)
        for parts in self._parts:
            _shorten(parts[0])
        return self._land(0)

    def _places(self, written: list[dis.Instruction]) -> dict[int, int]:
        """For each byte offset the number of the next kept instruction."""
        offsets = [one.offset for one in self._kept]
        place: dict[int, int] = {}
        number = 0
        for one in written:
            while number < len(offsets) and offsets[number] < one.offset:
                number += 1
            place[one.offset] = number
        return place

    def _land(self, number: int) -> _State:
        """The state that control reaches at an instruction, unconditional jumps followed."""
        for _ in self._kept:
            if number >= len(self._kept):
                return self._end
            if self._kept[number].opname not in _ALWAYS:
                return self._parts[number][0]
            number = self._place[self._kept[number].argval]
        return _State(("FOREVER",))

    def _fill(self, number: int, one: dis.Instruction) -> None:
        head, following = self._parts[number][0], self._land(number + 1)
        name = one.opname.replace("_FORWARD", "").replace("_BACKWARD", "")
        if one.opname in _FUSED:
            first, second = _FUSED[one.opname]
            tail = _State((second, one.argval[1]), [following])
            head.label, head.after = (first, one.argval[0]), [tail]
            self._parts[number].append(tail)
        elif name == "RETURN_CONST":
            head.label = ("LOAD_CONST", self._constant(one.argval))
            head.after = [_State(("RETURN_VALUE", None))]
        elif one.opcode in _JUMPS:
            self._jump(head, name, following, self._land(self._place[one.argval]))
        else:
            head.label = (name, self._argument(one))
            head.after = [] if name in _FINAL else [following]

    def _jump(self, head: _State, name: str, following: _State, target: _State) -> None:
        asked = next((ask for end, ask in _ASKS.items() if end in name), None)
        if asked is None:
            head.label, head.after = (name,), [following, target]
            return
        question, jumps_on_yes = asked
        head.label = ("BRANCH", question)
        jumping = _State(("POP",), [target]) if name.startswith("POP") else target
        staying = _State(("POP",), [following])
        head.after = [jumping, staying] if jumps_on_yes else [staying, jumping]

    def _argument(self, one: dis.Instruction) -> Any:
        if one.opcode in _CONSTS:
            return self._constant(one.argval)
        return one.argval if isinstance(one.argval, int | str | None) else repr(one.argval)

    def _catch(self, number: int, one: dis.Instruction) -> None:
        for entry in self._ranges:
            if entry.start <= one.offset < entry.end:
                for part in self._parts[number]:
                    part.handler = self._land(self._place[entry.target])
                    part.depth = entry.depth * 2 + entry.lasti
                return


def _shorten(state: _State) -> None:
    """Skip a branch that asks again what is known already."""
    if state.label[:1] != ("BRANCH",):
        return
    for side in (0, 1):
        seen = {id(state)}
        while state.after[side].label == state.label and id(state.after[side]) not in seen:
            seen.add(id(state.after[side]))
            state.after[side] = state.after[side].after[side]


def _reachable(entry: _State) -> list[_State]:
    found: dict[int, _State] = {}
    waiting = [entry]
    while waiting:
        state = waiting.pop()
        if id(state) not in found:
            found[id(state)] = state
            waiting += [state.handler] if state.handler else []
            waiting += reversed(state.after)
    return list(found.values())


def _refine(states: list[_State]) -> None:
    """Give the same number to states that no run of the program can tell apart."""
    known = 0
    signatures: dict[Any, int] = {}
    for state in states:
        state.number = signatures.setdefault((repr(state.label), state.depth), len(signatures))
    while len(signatures) > known:
        known = len(signatures)
        signatures = {}
        numbers = [signatures.setdefault(_signature(one), len(signatures)) for one in states]
        for state, number in zip(states, numbers, strict=True):
            state.number = number


def _signature(state: _State) -> tuple[Any, ...]:
    handler = -1 if state.handler is None else state.handler.number
    return (state.number, handler, *(one.number for one in state.after))
