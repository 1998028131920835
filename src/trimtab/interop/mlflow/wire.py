"""Requests of MLflow's clients as typed fields, and answers as JSON: the rules of protobuf's JSON.

64-bit integers come as numbers or as texts of digits; NaN and the infinities as texts or as Python's
own literals. What protobuf's parser would swallow, such as a step of 1.5, is refused.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec

from trimtab.interop.mlflow.fault import Fault, invalid, missing

EMPTY: Final = b"{}"
_GREATEST: Final = sys.float_info.max
_LITERALS: Final = {
    "NaN": math.nan,
    "Infinity": math.inf,
    "-Infinity": -math.inf,
    "inf": math.inf,
    "-inf": -math.inf,
    "nan": math.nan,
}


class Asked:
    """The fields of a request; `at` names the place of a part inside the whole, "" for the whole."""

    __slots__ = ("at", "fields", "is_query")

    def __init__(self, fields: Mapping[str, Any], at: str = "", *, is_query: bool = False) -> None:
        self.fields = fields
        self.at = at
        self.is_query = is_query

    def has(self, name: str) -> bool:
        """Whether a field is there at all."""
        return self._get(name) is not None

    def text(self, name: str, *, needed: bool = False, default: str = "") -> str:
        """A text; where it is needed, not an empty one."""
        value = self._get(name)
        if value is None or value == "":
            if needed:
                raise missing(self._path(name))
            return default if value is None else ""
        if not isinstance(value, str):
            raise invalid(self._path(name), value, f"Value was of type '{_kind(value)}'.")
        return value

    def integer(self, name: str, default: int | None = None, *, needed: bool = False) -> int:
        """A 64-bit integer."""
        value = self._get(name)
        if value is None or value == "":
            if needed or default is None:
                raise missing(self._path(name))
            return default
        found = _integer(value)
        if found is None:
            raise invalid(self._path(name), value, "It must be a 64-bit integer.")
        return found

    def number(self, name: str) -> float:
        """A float that has to be there; NaN and infinities in either spelling."""
        value = self._get(name)
        if type(value) is float or type(value) is int or type(value) is bool:
            return _as_float(value, self._path(name))
        if value is None or value == "":
            raise missing(self._path(name))
        if isinstance(value, str):
            if value in _LITERALS:
                return _LITERALS[value]
            try:
                found = float(value)
            except ValueError:
                found = math.nan
            if math.isfinite(found):
                return found
        raise invalid(self._path(name), value, "Please specify value as a valid double")

    def flag(self, name: str) -> bool:
        """A boolean, False where it is absent."""
        value = self._get(name)
        if value is None or isinstance(value, bool):
            return bool(value)
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        raise Fault(f"Invalid boolean value: {value}, must be 'true' or 'false'.")

    def array(self, name: str) -> list[Any]:
        """A list, empty where it is absent."""
        if self.is_query:
            return list(self.fields.get(name, ()))
        value = self.fields.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise invalid(self._path(name), value, f"Value was of type '{_kind(value)}'.")
        return value

    def texts(self, name: str) -> list[str]:
        """A list of texts."""
        found = self.array(name)
        for value in found:
            if not isinstance(value, str):
                raise invalid(self._path(name), found, "Its items must be strings.")
        return found

    def parts(self, name: str) -> list[Asked]:
        """A list of objects, each to be read like this one."""
        found = []
        for place, value in enumerate(self.array(name)):
            if not isinstance(value, dict):
                raise invalid(self._path(name), value, "Its items must be objects.")
            found.append(Asked(value, f"{self._path(name)}[{place}]"))
        return found

    def part(self, name: str) -> Asked:
        """An object inside this one; an empty one where it is absent."""
        value = self._get(name)
        if value is not None and not isinstance(value, dict):
            raise invalid(self._path(name), value, f"Value was of type '{_kind(value)}'.")
        return Asked(value or {}, self._path(name))

    def pairs(self, name: str) -> dict[str, str]:
        """A list of keys and values; the last of equal keys counts."""
        return {one.text("key", needed=True): one.text("value") for one in self.parts(name)}

    def _get(self, name: str) -> Any:
        value = self.fields.get(name)
        return value[0] if self.is_query and value else value

    def _path(self, name: str) -> str:
        return f"{self.at}.{name}" if self.at else name


def body(data: bytes) -> Asked:
    """The fields of a JSON body."""
    if not data:
        return Asked({})
    try:
        fields = msgspec.json.decode(data)
    except msgspec.DecodeError:
        fields = _lenient(data)
    except RecursionError:
        raise Fault("The request body is nested too deeply.", "BAD_REQUEST") from None
    if isinstance(fields, str):  # stock MLflow takes JSON inside of JSON
        fields = _lenient(fields.encode())
    if not isinstance(fields, dict):
        raise Fault("The request body must be a JSON object.", "BAD_REQUEST")
    return Asked(fields)


def query(data: bytes) -> Asked:
    """The fields of a query; one that is there several times is a list."""
    if not data:
        return Asked({}, is_query=True)
    try:
        fields = parse_qs(data.decode("ascii"), keep_blank_values=True, errors="strict")
    except ValueError as error:
        raise Fault(f"The query cannot be read: {error}", "BAD_REQUEST") from None
    return Asked(fields, is_query=True)


def encode(value: Any) -> bytes:
    """An answer; floats in it are finite, or spelt by `number`."""
    return msgspec.json.encode(value)


def number(value: float) -> float | str:
    """A float as JSON has it: NaN as a text, an infinity as the greatest number, as stock MLflow's."""
    if value - value == 0.0:
        return value
    if value != value:  # noqa: PLR0124 - NaN, without a call
        return "NaN"
    return _GREATEST if value > 0 else -_GREATEST


def _lenient(data: bytes) -> Any:
    """JSON with Python's NaN and infinities, which Python's clients send."""
    try:
        found = json.loads(data, parse_float=_finite)
        msgspec.json.encode(found)  # half of a surrogate pair is no text
        return found
    except (ValueError, RecursionError, OverflowError) as error:
        raise Fault(f"The request body is not JSON: {error}", "BAD_REQUEST") from None


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise Fault(f"The number {text[:40]} is outside of what 64 bits hold.")
    return value


def _as_float(value: float, path: str) -> float:
    try:
        return float(value)
    except OverflowError:
        raise invalid(path, str(value)[:40], "Please specify value as a valid double") from None


def _integer(value: Any) -> int | None:
    if isinstance(value, str):
        digits = value.removeprefix("-")
        if not (digits.isascii() and digits.isdecimal() and len(digits) <= 19):
            return None
        value = int(value)
    elif isinstance(value, float) and value.is_integer():
        value = int(value)
    elif not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if -(2**63) <= value < 2**63 else None


def _kind(value: Any) -> str:
    return type(value).__name__
