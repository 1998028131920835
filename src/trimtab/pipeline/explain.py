"""Why a step runs again, in words: the components of its key held against those of last time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from trimtab.hashing import PREFIX

NEVER: Final = "never run"
_WORDS: Final = {
    "code": "code changed: helper",
    "class": "code changed: class",
    "module": "code changed: module",
    "constant": "constant changed:",
    "binary": "compiled module changed:",
    "dependency": "dependency changed:",
    "param": "param changed:",
    "input": "input changed:",
    "extra": "setting changed:",
    "env": "environment variable changed:",
    "file": "file changed:",
    "folder": "folder changed:",
    "python": "Python changed:",
}
# What a person wants to hear first.
_ORDER: Final = (
    *("python", "dependency", "code", "class", "module", "constant", "binary"),
    *("param", "extra", "env", "file", "folder", "input"),
)


def reasons(before: Mapping[str, str], now: Mapping[str, str], root: str = "") -> list[str]:
    """What differs, the most telling first; `root` is the component of the step's own function."""
    names = sorted(before.keys() | now.keys(), key=_rank)
    changed = [name for name in names if before.get(name) != now.get(name)]
    if "python" in changed:  # every bytecode differs then, which says nothing more
        changed = [name for name in changed if name.partition(":")[0] not in ("code", "class")]
    return [_said(name, before.get(name), now.get(name), root) for name in changed]


def observed(names: Iterable[str]) -> list[str]:
    """The same for what was read at run time: `env:NAME`, `file:PATH`, `folder:PATH`."""
    return [f"{_WORDS[kind]} {rest}" for kind, _, rest in (name.partition(":") for name in names)]


def _rank(name: str) -> tuple[int, str]:
    kind = name.partition(":")[0]
    return (_ORDER.index(kind) if kind in _ORDER else len(_ORDER), name)


def _said(name: str, before: str | None, now: str | None, root: str) -> str:
    kind, _, rest = name.partition(":")
    words = _WORDS.get(kind, f"{kind} changed:")
    if kind == "code" and name == root:
        words = "code changed:"
    if before is None or now is None:
        verb = "added" if before is None else "no longer used"
        words = f"{words.partition(' changed')[0]} {verb}:" + words.partition("changed:")[2]
    if before and now and not (before.startswith(PREFIX) or now.startswith(PREFIX)):
        return f"{words} {rest} {before} -> {now}".replace(":  ", ": ")
    return f"{words} {rest}".strip()
