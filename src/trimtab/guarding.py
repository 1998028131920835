"""`[serve.guard]` and `[serve] rollout`: what a candidate may not do to the champion's callers.

Holds the settings and what can be told wrong of them alone; `loop.guards` judges by them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from trimtab.errors import ConfigError

_STAGE: Final = re.compile(r"(\d{1,3}(?:\.\d+)?)%\Z")
_SHADOW: Final = "shadow"
_HINT: Final = 'stages ascend, such as ["shadow", "5%", "50%", "100%"]'


class GuardConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[serve.guard]`: how much worse than its champion a candidate may be before it is rolled back.

    `error_margin` is the share of requests that it may fail to answer beyond the champion's.
    `latency_ratio` times the champion's `latency_quantile` (that of the requirement on `latency_ms`
    where none is given, else p95) is allowed, and `latency_floor_ms` more is never too much.
    `quality_margin` is by how much a metric with labels may be worse; for metrics without an upper
    bound it is a share of the champion's. `agreement` is the least share of shadowed answers that
    equal the champion's where no labels come, 0 to ask for none. Each decision is wrong with
    probability at most 1 - `level`.
    """

    error_margin: float = 0.01
    latency_ratio: float = 1.5
    latency_quantile: str = ""
    latency_floor_ms: float = 0.5
    quality_margin: float = 0.02
    agreement: float = 0.8
    level: float = 0.95


def check_guard(guard: GuardConfig, where: str) -> None:
    """Raises ConfigError for a margin that could never, or would always, be broken."""
    for key in ("error_margin", "agreement"):
        if not 0 <= getattr(guard, key) < 1:
            raise ConfigError(f"{where} {key} = {getattr(guard, key):g} is a share: 0 to below 1")
    if not guard.latency_ratio > 1:
        raise ConfigError(
            f"{where} latency_ratio = {guard.latency_ratio:g} would roll back what is as quick",
            hint="write more than 1, such as 1.5",
        )
    for key in ("latency_floor_ms", "quality_margin"):
        if not 0 <= getattr(guard, key) < float("inf"):
            raise ConfigError(f"{where} {key} = {getattr(guard, key):g} is below 0 or no number")
    quantile = guard.latency_quantile
    if quantile and not (re.fullmatch(r"p\d{1,2}(\.\d+)?", quantile) and float(quantile[1:])):
        raise ConfigError(
            f"{where} latency_quantile = {guard.latency_quantile!r} is no quantile",
            hint="write p50, p95 or p99.9",
        )
    if not 0.5 < guard.level < 1:
        raise ConfigError(f"{where} level = {guard.level:g} must lie between 0.5 and 1")


def check_stages(stages: Sequence[str], where: str) -> None:
    """Raises ConfigError for stages that contradict each other."""
    if not stages:
        raise ConfigError(
            f"{where} has no stage", hint='["100%"] gives the candidate everything at once'
        )
    before = 0.0
    for place, stage in enumerate(stages):
        if stage == _SHADOW:
            if place:
                raise ConfigError(
                    f"{where}: 'shadow' comes after {stages[place - 1]!r}",
                    hint="a shadow answers nobody, so it is the first stage or none",
                )
            continue
        match = _STAGE.match(stage)
        if not match:
            raise ConfigError(f"{where} stage {stage!r} must be 'shadow' or a percentage")
        share = float(match[1])
        if not 0 < share <= 100:
            raise ConfigError(
                f"{where} stage {stage!r} is not above 0 and at most 100 %", hint=_HINT
            )
        if share <= before:
            said = "comes twice" if share == before else f"comes after {stages[place - 1]!r}"
            raise ConfigError(f"{where} stage {stage!r} {said}", hint=_HINT)
        before = share
