"""What questions about many runs are answered with: groups, shares of params, differences, files.

These are plain records that load no table library, so that knowing an operation loads none.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from trimtab.store.records import Run

Pair = tuple[Any, Any]


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """The values that its runs share, None for lacking; how many runs; numbers, None for none."""

    key: list[float | str | None]
    runs: int
    shown: list[float | None]


class Groups(msgspec.Struct, frozen=True, kw_only=True):
    """Groups of runs with what their columns are called, and how many runs there are in all."""

    by: list[str]
    show: list[str]
    groups: list[Group]
    matched: int
    notes: list[str] = []


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """What a param explains: the R² that is lost without it, with an interval over the repeats.

    `values` counts what it was set to. `trend` is the rank correlation with the metric, None for
    texts; `together` names params that vary with it so closely that their shares cannot be told
    apart.
    """

    param: str
    share: float
    lo: float
    hi: float
    values: int
    kind: str
    trend: float | None = None
    together: list[str] = []


class Importance(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of params, greatest first; `explained` is the R² of all params on unseen runs.

    `n` runs have the metric. `left_out` says of params why they were not looked at.
    """

    metric: str
    n: int
    explained: float
    lo: float
    hi: float
    shares: list[Share]
    left_out: dict[str, str] = {}
    notes: list[str] = []


class Ends(msgspec.Struct, frozen=True, kw_only=True):
    """A series in four numbers; the extremes are of its finite points, None where there is none."""

    points: int
    last: float | None
    min: float | None
    max: float | None


class MetricPair(msgspec.Struct, frozen=True, kw_only=True):
    """One metric in two runs, None where a run lacks it; `change` is the second last minus the first."""

    a: Ends | None = None
    b: Ends | None = None
    change: float | None = None


class FileChange(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the code that differs: how, lines that came and went, and the unified diff.

    `diff` is "" for files that are no text or too large to compare.
    """

    path: str
    change: Literal["added", "removed", "changed"]
    added: int = 0
    removed: int = 0
    diff: str = ""


class DataUsed(msgspec.Struct, frozen=True, kw_only=True):
    """An input of a run: its digest, the versions that are these bytes, and its rows if known."""

    digest: str
    versions: list[str] = []
    rows: int | None = None


class DataPair(msgspec.Struct, frozen=True, kw_only=True):
    """One input in two runs, None where a run did not read it."""

    a: DataUsed | None = None
    b: DataUsed | None = None


class RunDiff(msgspec.Struct, frozen=True, kw_only=True):
    """What differs between runs `a` and `b`: name -> (value in a, value in b), None where absent.

    `params`, `tags` are by path; `metrics` holds all of them, equal ones too. `environment` is
    distributions and their versions. `notes` say what could not be compared.
    """

    a: Run
    b: Run
    params: dict[str, Pair]
    tags: dict[str, Pair]
    metrics: dict[str, MetricPair]
    code: list[FileChange]
    environment: dict[str, Pair]
    data: dict[str, DataPair]
    notes: list[str] = []


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """What was written: how many runs and columns, to which file of how many bytes."""

    path: str
    runs: int
    columns: list[str]
    bytes: int
