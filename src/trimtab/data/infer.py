"""What a table seems to be: a first guess at roles, features and task for `trimtab init`.

Pure: it reads one file and writes nothing. Every column it leaves out is named with the reason.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, Literal

import msgspec
import polars as pl

from trimtab.data import checks, reader
from trimtab.data.columns import Type, type_of
from trimtab.errors import NotFoundError

Task = Literal["", "binary", "multiclass", "regression"]
Role = Literal["key", "time", "target", "number", "category", "left out"]

CATEGORIES: Final = 200
SHARE: Final = 0.5
NEARLY: Final = 0.9
ENOUGH: Final = 20
CLASSES: Final = 20
_KEY: Final = re.compile(
    r"(^|_)(id|key|uuid|guid|nr|no|number|code|index)$|^(id|uuid)_|[a-z]I[Dd]$"
)
_TIME: Final = re.compile(r"(_at|_on|_time|_date|_ts)$|time|date|created|stamp", re.IGNORECASE)


class ColumnDescription(msgspec.Struct, frozen=True, kw_only=True):
    """A column, the role it seems to have, and for one left out the reason."""

    name: str
    type: Type
    role: Role
    distinct: int
    nulls: int
    reason: str = ""


class TableDescription(msgspec.Struct, frozen=True, kw_only=True):
    """A first guess at a table.

    `key` and `time` are "" where nothing fits. `numbers` are number and integer features, `words`
    categories and booleans. `classes` are the target's values where the task has classes.
    """

    path: str
    format: str
    rows: int
    columns: tuple[ColumnDescription, ...]
    key: str = ""
    time: str = ""
    target: str = ""
    task: Task = ""
    classes: tuple[str | int | float | bool, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def numbers(self) -> tuple[str, ...]:
        """The names of the numeric features."""
        return tuple(column.name for column in self.columns if column.role == "number")

    @property
    def words(self) -> tuple[str, ...]:
        """The names of the categorical features."""
        return tuple(column.name for column in self.columns if column.role == "category")

    @property
    def left_out(self) -> dict[str, str]:
        """Name -> reason of every column that is neither role nor feature."""
        return {column.name: column.reason for column in self.columns if column.role == "left out"}


def describe(path: Path, target: str = "") -> TableDescription:
    """Guess what the table in `path` holds; with `target`, the task too.

    Raises NotFoundError for no file, DataError for a bad file, an absent target or one of one class.
    """
    if not path.is_file():
        raise NotFoundError(f"there is no file {path}")
    table = reader.read([(path.name, path)])
    frame = table.frame
    if target:
        checks.check_target(frame, target)
    rest = [name for name in frame.columns if name != target]
    key = _key(frame, rest)
    time = _time(frame, rest)
    roles = {key: "key", time: "time", target: "target"}
    described = tuple(_column(frame, name, roles.get(name, ""), target) for name in frame.columns)
    task, classes = _task(frame[target]) if target else ("", ())
    return TableDescription(
        path=str(path),
        format=table.parts[0].format,
        rows=frame.height,
        columns=described,
        key=key,
        time=time,
        target=target,
        task=task,
        classes=classes,
        notes=table.notes,
    )


def _key(frame: pl.DataFrame, names: list[str]) -> str:
    """The first unique column without nulls that is called like a key, or counts or looks like one."""
    unique = [name for name in names if _is_unique(frame[name])]
    called = [name for name in unique if _KEY.search(name)]
    if called:
        return called[0]
    return next((name for name in unique if _is_code(frame[name])), "")


def _is_unique(values: pl.Series) -> bool:
    if type_of(values.dtype) not in ("integer", "text") or values.null_count():
        return False
    return bool(values.is_unique().all())


def _is_code(values: pl.Series) -> bool:
    """Whether unique values count up by one, or are words of one length with a digit in each."""
    if len(values) < ENOUGH:
        return False
    if values.dtype == pl.Int64:
        return bool((values.diff().drop_nulls() == 1).all())
    return values.str.len_chars().n_unique() == 1 and bool(values.str.contains(r"^\S*\d\S*$").all())


def _time(frame: pl.DataFrame, names: list[str]) -> str:
    """The time column with fewest gaps, one that is called like a time before others."""
    found = [name for name in names if type_of(frame.schema[name]) == "time"]
    whole = [name for name in found if not frame[name].null_count()]
    return min(whole, key=lambda name: (_TIME.search(name) is None, names.index(name)), default="")


def _column(frame: pl.DataFrame, name: str, role: str, target: str) -> ColumnDescription:
    values = frame[name]
    kind = type_of(values.dtype)
    distinct = values.drop_nulls().n_unique()
    reason = ""
    if not role:
        role, reason = _feature(values, kind, distinct)
        if target and role != "left out" and values.equals(frame[target]):
            role, reason = "left out", f"it is a copy of {target!r}"
    return ColumnDescription(
        name=name,
        type=kind,
        role=role,  # type: ignore[arg-type]
        distinct=distinct,
        nulls=values.null_count(),
        reason=reason,
    )


def _feature(values: pl.Series, kind: Type, distinct: int) -> tuple[Role, str]:
    present = len(values) - values.null_count()
    if not present:
        return "left out", "it has no values"
    if distinct == 1:
        return "left out", f"it is {values.drop_nulls()[0]!r} in every row"
    if kind == "time":
        return "left out", "it is a time; derive a feature from it in the estimator"
    if kind == "boolean":
        return "category", ""
    if kind in ("number", "integer"):
        if _is_unique(values) and (_KEY.search(values.name) or _is_code(values)):
            return "left out", "it tells rows apart like a key"
        return "number", ""
    if present >= ENOUGH and distinct > NEARLY * present:
        return "left out", f"nearly every value differs: {distinct} in {present} rows"
    if distinct <= CATEGORIES or distinct <= SHARE * present:
        return "category", ""
    return "left out", f"it is free text: {distinct} different values in {present} rows"


def _task(values: pl.Series) -> tuple[Task, tuple[str | int | float | bool, ...]]:
    """Two values are binary; text and few whole numbers are classes; the rest is a regression."""
    present = values.drop_nulls()
    distinct = present.n_unique()
    classes = tuple(present.unique().sort().head(CATEGORIES).to_list())
    if distinct == 2:
        return "binary", classes
    if type_of(values.dtype) == "text" or (values.dtype == pl.Int64 and distinct <= CLASSES):
        return "multiclass", classes
    return "regression", ()
