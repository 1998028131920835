"""`[require]`: bounds on metrics, as they are written in the project file."""

from __future__ import annotations

import difflib
import re
from typing import Any

import msgspec

from trimtab import hashing
from trimtab.errors import ConfigError

_QUANTILE = re.compile(r"p\d{1,2}(\.\d+)?\Z")


class Requirement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bound on a metric, with its scope. Exactly one bound form is set.

    `min`/`max` bound the value; `quantile` + `max` (written `p99 = 20`) bound a quantile;
    `ratio`/`gap` + `across` bound the disparity between slices (smallest over largest, largest
    minus smallest); `by` asks every slice of a column; `better_than = "baseline"` asks for a gain.
    """

    metric: str
    min: float | None = None
    max: float | None = None
    quantile: str = ""
    ratio: float | None = None
    gap: float | None = None
    across: str = ""
    by: str = ""
    better_than: str = ""
    strict: bool = False
    level: float = 0.95

    @property
    def statistic(self) -> str:
        """What of the metric is bounded: "", "p99", "ratio:group", "gap:group" or "gain:baseline"."""
        if self.quantile:
            return self.quantile
        if self.ratio is not None:
            return f"ratio:{self.across}"
        if self.gap is not None:
            return f"gap:{self.across}"
        return f"gain:{self.better_than}" if self.better_than else ""

    @property
    def bounds(self) -> tuple[float, float]:
        """The closed interval that a satisfying value lies in."""
        if self.ratio is not None:
            return self.ratio, float("inf")
        if self.gap is not None:
            return float("-inf"), self.gap
        if self.better_than:
            return 0.0, float("inf")
        return (
            float("-inf") if self.min is None else self.min,
            float("inf") if self.max is None else self.max,
        )

    @property
    def is_fairness(self) -> bool:
        """Whether this bounds a disparity; such a requirement is always strict."""
        return self.ratio is not None or self.gap is not None

    @property
    def text(self) -> str:
        """The requirement as a person reads it: `roc_auc >= 0.76`."""
        name = self.metric + (f" by {self.by}" if self.by else "")
        if self.ratio is not None:
            return f"{name} ratio across {self.across} >= {self.ratio:g}"
        if self.gap is not None:
            return f"{name} gap across {self.across} <= {self.gap:g}"
        if self.better_than:
            return f"{name} better than {self.better_than}"
        name += f" {self.quantile}" if self.quantile else ""
        if self.min is not None and self.max is not None:
            return f"{self.min:g} <= {name} <= {self.max:g}"
        return f"{name} >= {self.min:g}" if self.min is not None else f"{name} <= {self.max:g}"

    @property
    def digest(self) -> str:
        """The digest of the requirement's canonical text."""
        return hashing.object_digest("config", self)


def requirement(metric: str, bound: dict[str, Any], name: str) -> Requirement:
    """A bound of the file `name` as a requirement; raises ConfigError."""
    where = f"{name}: [require] {metric}"
    if not isinstance(bound, dict):
        raise ConfigError(f"{where} must be a table such as {{ min = 0.8 }}")
    fields = dict(bound)
    quantiles = [key for key in fields if _QUANTILE.match(key)]
    if quantiles:
        if len(quantiles) > 1 or "max" in fields:
            raise ConfigError(
                f"{where} bounds more than one quantile", hint="write a list of bounds"
            )
        fields["quantile"] = quantiles[0]
        fields["max"] = fields.pop(quantiles[0])
    known = [f for f in Requirement.__struct_fields__ if f not in ("metric", "quantile")]
    for key in fields:
        if key not in known and key != "quantile":
            raise unknown(key, [*known, "p99"], where)
    try:
        requirement = msgspec.convert({"metric": metric, **fields}, Requirement)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {readable(str(error))}") from error
    forms = [
        requirement.min is not None or requirement.max is not None,
        requirement.ratio is not None,
        requirement.gap is not None,
        bool(requirement.better_than),
    ]
    if sum(forms) != 1:
        raise ConfigError(
            f"{where} needs exactly one of min/max, a quantile such as p99, ratio, gap or better_than"
        )
    if requirement.is_fairness != bool(requirement.across):
        raise ConfigError(f"{where}: ratio and gap go with across = COLUMN, and only they do")
    if requirement.better_than not in ("", "baseline", "champion"):
        raise ConfigError(f"{where}: better_than is 'baseline' or 'champion'")
    if not 0.5 < requirement.level < 1:
        raise ConfigError(f"{where}: level must lie between 0.5 and 1")
    return requirement


def unknown(key: str, known: list[str], where: str) -> ConfigError:
    """The error of a key that there is not, with the nearest of those there are."""
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return ConfigError(
        f"{where}: unknown key {key!r}" + (f", did you mean {near[0]!r}?" if near else ""),
        hint=f"known keys: {', '.join(known)}",
    )


def readable(message: str) -> str:
    """msgspec's words about a wrong value, for people."""
    return message.replace("`$.", "`").replace("Object", "The table")
