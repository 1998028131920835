"""The last points of a run as one block of bytes: a fifth of what a dictionary of them takes.

Runs of one kind have the same keys, which they share. What is packed never changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from struct import Struct
from sys import intern
from typing import Any, Final, Generic, TypeVar
from weakref import WeakValueDictionary

T = TypeVar("T")
_NUMBER: Final = Struct("=d")


class _Places(dict[str, int]):
    """The place of each key."""

    __slots__ = ("__weakref__",)


_known: Final[WeakValueDictionary[tuple[str, ...], _Places]] = WeakValueDictionary()


class _Packed(Mapping[str, T], Generic[T]):
    """Keys with values of so many bytes each."""

    __slots__ = ("data", "places")
    form: Struct

    def __init__(self, values: Mapping[str, T]) -> None:
        keys = tuple(values)
        places = _known.get(keys)
        if places is None:
            places = _Places((intern(key), place) for place, key in enumerate(keys))
            _known[tuple(places)] = places
        self.places = places
        self.data = b"".join([self.form.pack(*self._parts(one)) for one in values.values()])

    def __getitem__(self, key: str) -> T:
        return self._value(self.form.unpack_from(self.data, self.places[key] * self.form.size))

    def __contains__(self, key: object) -> bool:
        return key in self.places

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)

    def __repr__(self) -> str:
        return repr(self.plain())

    def plain(self) -> dict[str, T]:
        """As a dictionary, at once."""
        parts = self.form.iter_unpack(self.data)
        return dict(zip(self.places, map(self._value, parts), strict=True))

    @staticmethod
    def _parts(value: T) -> tuple[Any, ...]:
        raise NotImplementedError

    @staticmethod
    def _value(parts: tuple[Any, ...]) -> T:
        raise NotImplementedError


def values(key: str, found: Iterable[Numbers | Points | None]) -> list[float | None]:
    """The value of one key in each of many; those that share their keys share the work of finding it."""
    last: object = None
    at, told = -1, list[float | None]()
    read = _NUMBER.unpack_from
    for one in found:
        if one is None:
            told.append(None)
            continue
        if one.places is not last:
            last = one.places
            place = one.places.get(key)
            at = -1 if place is None else place * one.form.size
        told.append(None if at < 0 else read(one.data, at)[0])
    return told


class Numbers(_Packed[float]):
    """Values alone."""

    __slots__ = ()
    form = Struct("=d")

    @staticmethod
    def _parts(value: float) -> tuple[Any, ...]:
        return (value,)

    @staticmethod
    def _value(parts: tuple[Any, ...]) -> float:
        return float(parts[0])

    def plain(self) -> dict[str, float]:
        """As a dictionary, at once."""
        numbers = memoryview(self.data).cast("d").tolist()
        return dict(zip(self.places, numbers, strict=True))


class Points(_Packed[tuple[float, int, int]]):
    """A value and two integers of 64 bits each, such as a time and a step."""

    __slots__ = ()
    form = Struct("=dqq")

    @staticmethod
    def _parts(value: tuple[float, int, int]) -> tuple[Any, ...]:
        return value

    @staticmethod
    def _value(parts: tuple[Any, ...]) -> tuple[float, int, int]:
        return parts[0], parts[1], parts[2]
