"""The digest of a Python value by what it holds: constants, defaults, closures and parameters.

Equal values give equal digests in every process. What holds a function, class or module asks the
caller what that counts as; what cannot be seen into is reported, never guessed.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import fractions
import functools
import io
import math
import pathlib
import re
import threading
import types
import uuid
from collections.abc import Callable, Iterable
from typing import Any, Final

from trimtab import hashing

Reach = Callable[[Any], str]
Blind = Callable[[str], None]

MAX_PARTS: Final = 100_000
_PLAIN: Final = (
    *(bool, int, complex, str, bytes, bytearray, range, type(None), type(...)),
    *(decimal.Decimal, fractions.Fraction, uuid.UUID),
    *(datetime.date, datetime.time, datetime.timedelta, datetime.timezone),
)
_CODE: Final = (
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.MethodWrapperType,
    types.ModuleType,
    type,
)
_HARMLESS: Final = (type(threading.Lock()), type(threading.RLock()), threading.local)


def digest(value: Any, reach: Reach, blind: Blind) -> str:
    """The digest of a value.

    `reach` names the functions, classes and modules in it; `blind` is told of every part that
    cannot be seen.
    """
    writer = _Writer(reach, blind)
    try:
        writer.write(value)
    except (_TooManyError, RecursionError):
        blind(f"a value of more than {MAX_PARTS} parts, or too deep to follow")
    return hashing.text(writer.state)


class _TooManyError(Exception):
    pass


class _Writer:
    """Feeds a value to a hasher as tagged parts with their lengths."""

    def __init__(self, reach: Reach, blind: Blind) -> None:
        self.state = hashing.hasher("key")
        self._reach = reach
        self._blind = blind
        self._within: dict[int, int] = {}  # the containers being written, by depth
        self._parts = 0

    def write(self, value: Any) -> None:
        """Feed a value."""
        kind = type(value)
        if kind in _PLAIN:
            self._part(kind.__name__, repr(value).encode())
        elif kind is float:
            text = value.hex() if math.isfinite(value) else repr(value)
            self._part("float", text.encode())
        elif isinstance(value, _CODE) or hasattr(value, "__wrapped__"):
            self._part("code", self._reach(value).encode())
        elif id(value) in self._within:
            self._part("within", str(self._within[id(value)]).encode())
        else:
            self._within[id(value)] = len(self._within)
            self._container(value, kind)
            del self._within[id(value)]

    def _container(self, value: Any, kind: type) -> None:
        if kind in (tuple, list):
            self._items(kind.__name__, value)
        elif kind in (dict, types.MappingProxyType):
            self._items("dict", [part for pair in value.items() for part in pair])
        elif kind in (set, frozenset):
            parts = sorted(digest(item, self._reach, self._blind) for item in value)
            self._items(kind.__name__, parts)
        elif isinstance(value, enum.Enum):
            self._items("enum", [kind, value.name, value.value])
        elif isinstance(value, re.Pattern):
            self._items("pattern", [value.pattern, value.flags])
        elif isinstance(value, pathlib.PurePath):
            self._part("path", str(value).encode())
        elif isinstance(value, functools.partial):
            self._items("partial", [value.func, value.args, value.keywords])
        elif isinstance(value, types.MethodType):
            self._items("method", [value.__func__, value.__self__])
        elif isinstance(value, staticmethod | classmethod):
            self._items(kind.__name__, [value.__func__])
        elif isinstance(value, property):
            self._items("property", [value.fget, value.fset, value.fdel])
        elif isinstance(value, _HARMLESS):
            self._part("lock", b"")
        else:
            self._foreign(value, kind)

    def _foreign(self, value: Any, kind: type) -> None:
        home = kind.__module__.partition(".")[0]
        if home == "numpy" and hasattr(value, "dtype") and not value.dtype.hasobject:
            self._items("numpy", [value.dtype.str, list(value.shape), value.tobytes()])
        elif home == "polars":
            self._polars(value, kind)
        else:
            self._object(value, kind)

    def _polars(self, value: Any, kind: type) -> None:
        name = kind.__name__
        if name in ("DataFrame", "Series"):
            frame = value if name == "DataFrame" else value.to_frame()
            stream = io.BytesIO()
            frame.write_ipc(stream)
            self._items(name, [stream.getvalue()])
        elif name == "Expr":
            self._items(name, [value.meta.serialize()])
        elif name == "LazyFrame":
            self._items(name, [value.serialize()])
        else:
            self._items(name, [repr(value)])

    def _object(self, value: Any, kind: type) -> None:
        """Any other object as its class and what pickle would keep of it."""
        try:
            reduced = value.__reduce_ex__(2)
        except Exception:  # whatever an object raises here, it means that it cannot be taken apart
            self._part("opaque", self._reach(kind).encode())
            return self._blind(f"a {kind.__module__}.{kind.__qualname__}")
        if isinstance(reduced, str):
            return self._items("global", [kind, reduced])
        maker, arguments, *rest = reduced
        rest = [list(part) if _is_iterator(part) else part for part in rest]
        return self._items("object", [kind, maker, arguments, *rest])

    def _items(self, tag: str, items: Iterable[Any]) -> None:
        parts = list(items)
        self._part(tag, str(len(parts)).encode())
        for part in parts:
            self.write(part)

    def _part(self, tag: str, data: bytes) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise _TooManyError
        self.state.update(f"{tag}:{len(data)}:".encode())
        self.state.update(data)


def _is_iterator(value: Any) -> bool:
    return hasattr(value, "__next__")
