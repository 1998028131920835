"""Which column is what, by name: from the project file, or said in the call."""

from __future__ import annotations

import difflib
import re
from typing import Final

import msgspec
import polars as pl

from trimtab.config import Config
from trimtab.errors import ConfigError, DataError
from trimtab.tune.candidate import Class, Task

_DECIDE: Final = re.compile(r"\s*P\(\s*(?P<label>[^)]+?)\s*\)\s*>=\s*(?P<limit>[0-9.eE+-]+)\s*\Z")
_MOST_CLASSES: Final = 20
_TRUE_WORDS: Final = ("true", "1", "yes", "y", "t", "positive")


class Roles(msgspec.Struct, frozen=True, kw_only=True):
    """The names that are no features, and how a score becomes a decision."""

    target: str = ""
    fit_on: str = ""
    time: str = ""
    key: str = ""
    protected: tuple[str, ...] = ()
    decide: str = ""

    @property
    def learned(self) -> str:
        """The column that is fitted."""
        return self.fit_on or self.target

    @property
    def withheld_from_fit(self) -> set[str]:
        """Every column that an estimator must not see."""
        return {self.target, self.fit_on, self.time, self.key, *self.protected} - {""}


def of(config: Config) -> Roles:
    """The roles of a project: those of all its sources together; raises ConfigError."""
    targets = {one.target for one in config.data.values() if one.target}
    if len(targets) > 1:
        raise ConfigError(
            f"[data] names {len(targets)} targets: {', '.join(sorted(targets))}",
            hint="only one source may have a target",
        )
    first = next((one for one in config.data.values() if one.target), None)
    keys = {one.key for one in config.data.values() if one.key}
    return Roles(
        target=first.target if first else "",
        fit_on=config.model.fit_on,
        time=first.time if first else "",
        key=first.key if first else next(iter(keys), ""),
        protected=tuple(
            dict.fromkeys(name for one in config.data.values() for name in one.protected)
        ),
        decide=config.model.decide,
    )


def check(frame: pl.DataFrame, roles: Roles) -> None:
    """Raises DataError, or ConfigError without a target, where a named column is not there."""
    if not roles.target:
        raise ConfigError(
            "no target column is named",
            hint="set [data.NAME] target = COLUMN, or call search(..., target=COLUMN)",
        )
    for role, name in (("target", roles.target), ("fit_on", roles.fit_on), ("time", roles.time)):
        if name and name not in frame.columns:
            near = difflib.get_close_matches(name, frame.columns, n=1)
            raise DataError(
                f"there is no {role} column {name!r}"
                + (f", did you mean {near[0]!r}?" if near else ""),
                hint=f"the table has {', '.join(frame.columns)}",
            )


def task_of(column: pl.Series) -> Task:
    """The task that a target column asks for; raises DataError where it has one value."""
    known = column.drop_nulls()
    if known.dtype.is_float():
        known = known.drop_nans()
    distinct = known.n_unique()
    if distinct < 2:
        what = f"only the value {known[0]!r}" if len(known) else "no value at all"
        raise DataError(
            f"target {column.name!r} has {what} in {len(column)} rows",
            hint="a model needs at least two different outcomes to learn from",
        )
    if distinct == 2 or column.dtype == pl.Boolean:
        return "binary"
    if not column.dtype.is_numeric():
        if distinct > max(_MOST_CLASSES, len(known) // 10):
            raise DataError(
                f"target {column.name!r} has {distinct} different texts in {len(known)} rows",
                hint="name a column with a few classes, or with numbers",
            )
        return "multiclass"
    whole = column.dtype.is_integer() or bool((known == known.round(0)).all())
    return "multiclass" if whole and distinct <= _MOST_CLASSES else "regression"


def decision(
    decide: str, classes: tuple[Class, ...], task: Task
) -> tuple[Class | None, float | None]:
    """The positive class and threshold of `P(CLASS) >= LIMIT`; raises ConfigError."""
    if task != "binary":
        if decide:
            raise ConfigError(f"[model] decide = {decide!r} is for two classes, the task is {task}")
        return None, None
    if not decide:
        words = [one for one in classes if str(one).lower() in _TRUE_WORDS]
        return (words[0] if len(words) == 1 else classes[-1]), 0.5
    match = _DECIDE.match(decide)
    if match is None:
        raise ConfigError(
            f"[model] decide = {decide!r} cannot be read", hint='write it as "P(yes) >= 0.5"'
        )
    named = [one for one in classes if str(one).lower() == match["label"].lower()]
    if not named:
        raise ConfigError(
            f"[model] decide names the class {match['label']!r}",
            hint=f"the target has {', '.join(map(str, classes))}",
        )
    limit = float(match["limit"])
    if not 0 < limit < 1:
        raise ConfigError(f"[model] decide: the threshold {limit} must lie between 0 and 1")
    return named[0], limit
