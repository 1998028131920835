"""Patches that are put on when a module is imported, and taken off again; nothing is imported here."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, Final

Put = Callable[[ModuleType], None]
_MISSING: Final = object()


class Patches:
    """Attributes that were replaced, with what they were."""

    def __init__(self) -> None:
        self._old: list[tuple[Any, str, Any, Any]] = []

    def replace(self, owner: Any, name: str, new: Any) -> None:
        """Replace an attribute of a class or module."""
        self._old.append((owner, name, vars(owner).get(name, _MISSING), new))
        setattr(owner, name, new)

    def note(self, owner: Any, name: str, old: Any) -> None:
        """An attribute that was taken over from where it is replaced, to be put back as well."""
        self._old.append((owner, name, old, vars(owner)[name]))

    def undo(self) -> None:
        """Put everything back, last first; what others replaced since is theirs."""
        for owner, name, old, new in reversed(self._old):
            if vars(owner).get(name) is not new:
                continue
            if old is _MISSING:
                delattr(owner, name)
            else:
                setattr(owner, name, old)
        self._old.clear()


class Watch(importlib.abc.MetaPathFinder):
    """Calls a function for each named module, once it is imported."""

    def __init__(self, wanted: dict[str, Put]) -> None:
        self._wanted = wanted

    def begin(self) -> None:
        """Call for modules that are there, and watch for the others."""
        for name, put in self._wanted.items():
            module = sys.modules.get(name)
            if module is not None and not _is_loading(module):
                put(module)
        sys.meta_path.insert(0, self)

    def end(self) -> None:
        """Watch no more."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The module's own spec, with a word after it is executed."""
        if fullname not in self._wanted:
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            if finder is self or find is None:
                continue
            spec: importlib.machinery.ModuleSpec | None = find(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:
                    _listen(spec.loader, self._wanted[fullname])
                return spec
        return None


def _is_loading(module: ModuleType) -> bool:
    return bool(getattr(module.__spec__, "_initializing", False))


def _listen(loader: Any, put: Put) -> None:
    execute = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        loader.exec_module = execute
        execute(module)
        put(module)

    loader.exec_module = exec_module
