"""How loud an incident is: statistical alarm x importance of the feature x loss of quality.

A person is paged where quality is lost, seen or estimated, or where an input that the model uses is
broken. Anything else that alarmed waits for the digest, and what hardly matters is a notice.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from trimtab.errors import IntegrityError, NotFoundError
from trimtab.monitor.findings import called
from trimtab.monitor.observe import Alarm
from trimtab.store import estimates, trees
from trimtab.store.records import Version
from trimtab.store.workspace import Workspace

Severity = Literal["page", "digest", "notice"]
FILE: Final = "importance.json"
ORDER: Final[tuple[Severity, ...]] = ("notice", "digest", "page")
BROKEN: Final = ("broken input", "broken join", "skew")
SERVICE: Final = ("traffic change", "latency change", "errors")
_FULL: Final = {"sd": 0.5, "share": 0.25, "correlation": 0.3}
"""The sure effects at which an alarm counts in full."""
_HARMLESS: Final = 0.02
_UNKNOWN_LOSS: Final = 0.25
"""What a loss of quality counts for that nobody has measured: neither nothing nor much."""
_LABEL_FREE: Final = 0.02
"""The fall of an estimated metric, its interval below the first windows' value, that is a loss."""


class Importance(msgspec.Struct, frozen=True, kw_only=True):
    """How much a model's answers change when a feature is shuffled, by feature.

    `how` says how it was measured; an empty `share` means that it was not, and all weigh alike.
    """

    share: dict[str, float] = {}
    how: str = ""
    format: int = 1

    def of(self, name: str) -> float:
        """A feature's importance from 0 to 1, the most important one's being 1; unmeasured is 1.

        What is made of a text, such as `note:length`, weighs what the text weighs.
        """
        top, column = max(self.share.values(), default=0.0), self.column(name)
        return self.share[column] / top if top > 0 and column else 1.0

    def column(self, feature: str) -> str:
        """The measured column that a feature is or is made of; "" where there is none."""
        known = (one for one in (feature, feature.rpartition(":")[0]) if one in self.share)
        return next(known, "")


class Weight(msgspec.Struct, frozen=True, kw_only=True):
    """A severity with the three factors it is made of and the sentence that says why."""

    severity: Severity
    score: float
    alarm: float
    importance: float
    loss: float
    why: str


def importance_of(ws: Workspace, version: Version) -> Importance:
    """The importance that was measured when the model was packaged; empty for one without.

    A package that cannot be read is `trimtab doctor`'s to tell: an alarm does not wait for it.
    """
    try:
        names = trees.walk(ws.blobs, version.digest)
        if FILE not in names:
            return Importance()
        return msgspec.json.decode(ws.blobs.read(names[FILE].digest), type=Importance)
    except (IntegrityError, NotFoundError, msgspec.MsgspecError):
        return Importance()


def weigh(
    alarm: Alarm, importance: Importance, loss: float | None, *, told: bool = False
) -> Weight:
    """The severity of an alarm; `loss` of quality from 0 to 1, None where nobody knows it.

    Where an incident of its own tells of the loss (`told`), moved inputs page nobody a second time.
    """
    features = [one for one in alarm.detail.get("features", []) if isinstance(one, Mapping)]
    strength, weight, name = _strongest(features, importance)
    known = alarm.kind not in ("data drift", *BROKEN)
    lost = 1.0 if known else _UNKNOWN_LOSS if loss is None else loss
    score = strength * weight * lost
    said = f"importance {weight:.2f} ({called(name)})" if name else ""
    if alarm.kind in SERVICE:
        said = ""
    elif not importance.share and name:
        said = "importance was not measured, so every feature weighs alike"
    if known:
        severity: Severity = "page" if alarm.severity != "notice" else "notice"
        why = "it asks for no one at once"
        if severity == "page":
            why = "clients notice" if alarm.kind in SERVICE else "quality is lost or in doubt"
    elif alarm.kind in BROKEN:
        severity = "page" if weight > _HARMLESS else "digest"
        why = (
            "an input is broken" if severity == "page" else "an input is broken that hardly counts"
        )
    elif told:
        severity, why = "digest", "inputs moved; the loss of quality is told of by itself"
    elif loss is not None and loss > 0:
        severity, why = "page", "inputs moved and quality with them"
    elif weight <= _HARMLESS:
        severity, why = "notice", "the model hardly uses what moved"
    else:
        severity = "digest"
        held = "quality holds" if loss == 0 else "a loss of quality is not seen"
        why = f"inputs moved and {held}"
    return Weight(
        severity=severity,
        score=round(score, 4),
        alarm=round(strength, 4),
        importance=round(weight, 4),
        loss=round(lost, 4),
        why="; ".join(part for part in (why, said) if part),
    )


def loss_of(
    ws: Workspace,
    endpoint: str,
    model: str,
    alarms: Sequence[Alarm],
    required: Collection[str] = (),
) -> float | None:
    """How much quality is lost, from 0 to 1: realised where a requirement failed, else estimated.

    An estimate counts where its interval lies below what the first windows of the model showed; of
    the metrics that are `required`, where there are estimates of such: others may move with the share
    of positives alone. None where there is neither a label nor an estimate, or none that can be trusted
    since the inputs moved: what held before says nothing of now.
    """
    if any(one.kind in ("requirement", "concept drift") for one in alarms):
        return 1.0
    found: dict[str, list[Any]] = {}
    for one in estimates.find(ws, endpoint, model=model):
        if not one.untrusted:
            found.setdefault(one.metric, []).append(one)
    found = {name: found[name] for name in found if name in required} or found
    moved = [one.since for one in alarms if one.kind in ("data drift", *BROKEN)]
    began = min(moved, default=0)
    falls = [_fall(some) for some in found.values() if len(some) > 1 and some[-1].end > began]
    if not falls:
        return None
    return min(1.0, max(falls))


def louder(one: str, other: str) -> bool:
    """Whether a severity is louder than another."""
    ranks: Mapping[str, int] = {name: place for place, name in enumerate(ORDER)}
    return ranks.get(one, 2) > ranks.get(other, 2)


def _fall(series: Sequence[Any]) -> float:
    first, last = series[0], series[-1]
    smaller_is_better = last.metric in ("mae", "rmse", "brier", "log_loss")
    if smaller_is_better:
        gap = last.lo - first.value
        scale = abs(first.value) or 1.0
    else:
        gap = first.value - last.hi
        scale = 1.0
    share = gap / scale
    return share * 10 if share > _LABEL_FREE else 0.0


def _strongest(
    features: Sequence[Mapping[str, Any]], importance: Importance
) -> tuple[float, float, str]:
    """The (strength, importance, name) of the feature that matters most."""
    best = (0.0, 0.0, "")
    for one in features:
        name = str(one.get("feature", ""))
        strength = min(1.0, _sure(one) / _FULL.get(str(one.get("unit", "share")), 0.25))
        weight = importance.of(name)
        if (strength * weight, weight) >= (best[0] * best[1], best[1]):
            best = (strength, weight, name)
    return best if features else (1.0, 1.0, "")


def _sure(one: Mapping[str, Any]) -> float:
    try:
        return max(float(one["lo"]), -float(one["hi"]), 0.0)
    except (KeyError, TypeError, ValueError):
        return 1.0
