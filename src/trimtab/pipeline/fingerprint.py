"""What a step's result depends on in code: every project function, class and constant it reaches.

`fingerprint` starts at a function and follows globals, closures, defaults, attributes of project
modules and function-local imports. Project code counts by its bytecode, constants by their value,
installed code by the version of its distribution. What cannot be seen is listed as weak.
Environment variables and files are discovered at run time, by `observe`.
"""

from __future__ import annotations

import builtins
import enum
import importlib
import importlib.util
import platform
import re
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Final

from trimtab import hashing
from trimtab.pipeline import blindspots, bytecode, load, origin, values

_MEMBERS: Final = ("__slots__", "__struct_fields__", "__struct_defaults__")
_HIDDEN: Final = ("__", "_abc_impl")
_SLOTS: Final = (types.MemberDescriptorType, types.GetSetDescriptorType)
_ADDRESS: Final = re.compile(r"0x[0-9a-f]+")


@dataclass(frozen=True)
class Fingerprint:
    """Component name -> digest or version, and what could not be seen.

    Names are `code:MODULE.FUNCTION`, `class:…`, `constant:MODULE.NAME`, `dependency:DISTRIBUTION`,
    `binary:MODULE` and `python`. `root` is the component of the function itself.
    """

    root: str
    components: dict[str, str]
    weak: tuple[str, ...]


def fingerprint(target: Any) -> Fingerprint:
    """The fingerprint of a function, a class or a wrapper of one (such as a step)."""
    walk = _Walk()
    root = walk.reach(target)
    walk.finish()
    components = dict(sorted(walk.components.items()))
    components["python"] = ".".join(platform.python_version_tuple()[:2])
    return Fingerprint(root, components, tuple(sorted(walk.weak)))


def of_value(value: Any) -> Fingerprint:
    """The fingerprint of a value that is handed to a step: `root` is its digest."""
    walk = _Walk()
    root = values.digest(value, walk.reach, lambda part: walk.blind(f"a parameter holds {part}"))
    walk.finish()
    return Fingerprint(root, dict(sorted(walk.components.items())), tuple(sorted(walk.weak)))


class _Walk:
    """One walk: labels of what was met, and the functions and classes still to be looked into."""

    def __init__(self) -> None:
        self.components: dict[str, str] = {}
        self.weak: set[str] = set()
        self._labels: dict[int, str] = {}
        self._alive: list[Any] = []
        self._waiting: list[tuple[str, Any]] = []

    def finish(self) -> None:
        """Look into everything that was reached, and into what that reaches."""
        while self._waiting:
            label, value = self._waiting.pop(0)
            if isinstance(value, type):
                self.components[label] = self._class(label, value)
            elif isinstance(value, types.ModuleType):
                self.components[label] = self._module(value)
            else:
                self.components[label] = self._function(label, value)

    def blind(self, reason: str) -> None:
        """Note something that cannot be seen."""
        self.weak.add(reason)

    def reach(self, value: Any) -> str:
        """The label of a function, class, module or wrapper; it is looked into later."""
        while not isinstance(value, types.FunctionType | type) and hasattr(value, "__wrapped__"):
            value = value.__wrapped__
        if isinstance(value, types.MethodType):
            return f"{self.reach(value.__func__)} of {self._digest(value.__self__, 'a method')}"
        module = _home(value)
        name = getattr(value, "__qualname__", None) or getattr(
            value, "__name__", type(value).__name__
        )
        if isinstance(value, types.ModuleType):
            return self._reach_module(value)
        if not isinstance(value, types.FunctionType | type) or not origin.is_project(module):
            self._depend(module, value)
            return f"{module}.{name}"
        return self._enlist(
            "class" if isinstance(value, type) else "code", f"{module}.{name}", value
        )

    def _reach_module(self, module: types.ModuleType) -> str:
        if not origin.is_project(module.__name__):
            self._depend(module.__name__, module)
            return f"module:{module.__name__}"
        return self._enlist("module", module.__name__, module)

    def _enlist(self, kind: str, name: str, value: Any) -> str:
        known = self._labels.get(id(value))
        if known is not None:
            return known
        label, number = f"{kind}:{name}", 1
        while label in self._labels.values():
            number += 1
            label = f"{kind}:{name}#{number}"
        self._labels[id(value)] = label
        self._alive.append(value)
        self._waiting.append((label, value))
        return label

    def _depend(self, module: str, value: Any) -> None:
        for name, version in origin.distributions(module).items():
            self.components[f"dependency:{name}"] = version
        file = getattr(sys.modules.get(module), "__file__", None) or ""
        if origin.is_project(module) and not isinstance(value, type) and file:
            # A compiled extension of the project's own: its bytes are all there is to see.
            self.components[f"binary:{module}"] = _file_digest(file)

    def _digest(self, value: Any, where: str) -> str:
        return values.digest(value, self.reach, lambda part: self.blind(f"{where} holds {part}"))

    def _function(self, label: str, function: types.FunctionType) -> str:
        code = function.__code__
        named = bytecode.names(code)
        where = label.partition(":")[2]
        self.weak.update(f"{where} {reason}" for reason in blindspots.of_names(named, function))
        reached = [(".".join(chain), self._resolve(function, chain)) for chain in named.chains]
        imported = [
            (f"{one.level}{one.module}:{name}", said)
            for one in named.imports
            for name, said in self._imported(function, one)
        ]
        closure = [
            (name, self._cell(cell, f"the closure of {where}"))
            for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True)
        ]
        defaults = [
            self._digest(part, f"a default of {where}")
            for part in (function.__defaults__, function.__kwdefaults__)
        ]
        self._annotations(function)
        return hashing.object_digest(
            "key", [bytecode.digest(code), sorted(reached), sorted(imported), closure, defaults]
        )

    def _cell(self, cell: types.CellType, where: str) -> str:
        try:
            return self._digest(cell.cell_contents, where)
        except ValueError:  # not bound yet
            return ""

    def _annotations(self, function: types.FunctionType) -> None:
        """A library that a step is typed with does its work through methods, unnamed in its code."""
        for annotation in function.__annotations__.values():
            text = annotation if isinstance(annotation, str) else ""
            if text:
                found = function.__globals__.get(re.split(r"\W", text, maxsplit=1)[0])
                annotation = found
            module = _home(annotation)
            if isinstance(annotation, type | types.ModuleType) and not origin.is_project(module):
                self._depend(module, annotation)

    def _resolve(self, function: types.FunctionType, chain: tuple[str, ...]) -> str:
        """What a chain of names stands for, as a label or the digest of a constant."""
        head, *rest = chain
        if head not in function.__globals__:
            return "builtin" if hasattr(builtins, head) else "missing"
        value, owner, name = function.__globals__[head], function.__module__, head
        while isinstance(value, types.ModuleType):
            if not origin.is_project(value.__name__):
                self._depend(value.__name__, value)
                return f"module:{value.__name__}"
            if not rest or not hasattr(value, rest[0]):
                return self.reach(value)
            owner, name = value.__name__, rest.pop(0)
            value = getattr(value, name)
        return self._named(value, f"{owner}.{name}")

    def _named(self, value: Any, name: str) -> str:
        if isinstance(value, types.FunctionType | type) or hasattr(value, "__wrapped__"):
            return self.reach(value)
        if isinstance(value, types.BuiltinFunctionType):
            return self.reach(value)
        label = f"constant:{name}"
        if label not in self.components:
            self.components[label] = ""  # a constant may reach itself
            self.components[label] = self._digest(value, f"the constant {name}")
        return label

    def _imported(
        self, function: types.FunctionType, one: bytecode.Import
    ) -> Iterator[tuple[str, str]]:
        module = _load(one, function.__globals__.get("__package__") or "")
        if module is None:
            self.blind(f"cannot import {one.module!r}, which {function.__qualname__} imports")
            return
        if isinstance(module, str) or not origin.is_project(module.__name__):
            name = module if isinstance(module, str) else module.__name__
            self._depend(name, module)
            yield "", f"module:{name}"
            return
        if not one.names:
            yield "", self.reach(module)
        for name in one.names:
            if hasattr(module, name):
                yield name, self._named(getattr(module, name), f"{module.__name__}.{name}")

    def _module(self, module: types.ModuleType) -> str:
        """A project module that is handed around whole: all that it defines."""
        found = []
        for name, value in sorted(vars(module).items()):
            if name.startswith("__"):
                continue
            if isinstance(value, types.ModuleType):
                found.append((name, value.__name__))
                self._depend(value.__name__, value)
            else:
                found.append((name, self._named(value, f"{module.__name__}.{name}")))
        return hashing.object_digest("key", found)

    def _class(self, label: str, kind: type) -> str:
        where = label.partition(":")[2]
        bases = [self.reach(base) for base in (*kind.__bases__, type(kind)) if base is not object]
        if issubclass(kind, enum.Enum):
            members: list[Any] = [(m.name, self._digest(m.value, where)) for m in kind]
        else:
            members = [
                (name, self._digest(value, f"{where}.{name}"))
                for name, value in sorted(vars(kind).items())
                if name in _MEMBERS or not (name.startswith(_HIDDEN) or isinstance(value, _SLOTS))
            ]
        special = [
            (name, self.reach(value))
            for name, value in sorted(vars(kind).items())
            if name.startswith("__") and isinstance(value, types.FunctionType)
        ]
        return hashing.object_digest(
            "key", [bases, members, special, _typed(kind), self._factories(kind, where)]
        )

    def _factories(self, kind: type, where: str) -> list[tuple[str, str]]:
        if not is_dataclass(kind):
            return []
        return [(f.name, self._digest(f.default_factory, where)) for f in fields(kind)]


def _typed(kind: type) -> list[tuple[str, str]]:
    """The annotations of a class as text: a library may act on them."""
    annotations = vars(kind).get("__annotations__", {})
    return [(name, _ADDRESS.sub("", str(value))) for name, value in annotations.items()]


def _home(value: Any) -> str:
    if isinstance(value, types.ModuleType):
        return value.__name__
    found = getattr(value, "__module__", None)
    if not isinstance(found, str):
        found = type(getattr(value, "__self__", value)).__module__
    return found


def _load(one: bytecode.Import, package: str) -> types.ModuleType | str | None:
    """The module of an import: its name where it is a library, None where there is none."""
    try:
        name = importlib.util.resolve_name("." * one.level + one.module, package)
        if origin.is_standard(name) or origin.distributions(name):
            return name
        with load.without_bytecode():
            return importlib.import_module(name)
    except Exception:  # a module that fails to import fails in the step too, and says why there
        return None


def _file_digest(file: str) -> str:
    return hashing.digest("key", Path(file).read_bytes())
