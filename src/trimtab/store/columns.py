"""Column types: values that a database has no type of its own for, kept so that they come back."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
from sqlalchemy import Float, Text, TypeDecorator
from sqlalchemy.engine import Dialect

from trimtab.errors import IntegrityError
from trimtab.hashing import canonical


class Json(TypeDecorator[Any]):
    """A value kept as canonical JSON text; None is the text null, or NULL where that is allowed."""

    impl = Text
    cache_ok = True

    def __init__(self, *, nullable: bool = False) -> None:
        super().__init__()
        self.nullable = nullable

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """A value to its canonical JSON."""
        return None if value is None and self.nullable else canonical(value).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """JSON text to a value."""
        if value is None:
            return None
        try:
            return msgspec.json.decode(value)
        except msgspec.DecodeError as error:
            raise IntegrityError(
                f"a value in the store is not JSON any more: {error}", hint="run `trimtab doctor`"
            ) from error


class Number(TypeDecorator[float]):
    """A float that may be NaN, which SQLite would store as NULL: there it is the text NaN."""

    impl = Float
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[float | None], Any]:
        """A float to what the database keeps."""
        as_text = dialect.name == "sqlite"

        def keep(value: float | None) -> Any:
            return "NaN" if as_text and value is not None and math.isnan(value) else value

        return keep

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], float | None]:
        """What the database keeps to a float."""
        return lambda value: None if value is None else float(value)
