"""`[accept]`: whether new data is held against the champion's before the loop trains on it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Literal

import msgspec

from trimtab.errors import ConfigError

PREFIX: Final = "data."


class AcceptConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[accept]`: what becomes of a batch that harms, and by which rows that is told.

    `level` is how often a harmless batch may be refused, over all probes together. `label_errors` is
    the share of wrong labels beyond those of trusted rows that is tolerated. `golden` names a source
    of trusted rows as "data.NAME"; without one they are the champion's withheld rows.
    """

    mode: Literal["refuse", "warn", "off"] = "refuse"
    level: float = 0.01
    label_errors: float = 0.01
    golden: str = ""


def check(accept: AcceptConfig, known: Collection[str], where: str) -> None:
    """Raises ConfigError for a setting that no batch could be judged by."""
    if not 0 < accept.level <= 0.2:
        raise ConfigError(
            f"{where} level = {accept.level:g} must be above 0 and at most 0.2",
            hint="0.01 refuses one harmless batch in a hundred",
        )
    if not 0 <= accept.label_errors < 0.5:
        raise ConfigError(f"{where} label_errors = {accept.label_errors:g} must be from 0 to 0.5")
    if not accept.golden:
        return
    name = accept.golden.removeprefix(PREFIX)
    if not accept.golden.startswith(PREFIX) or name not in known:
        raise ConfigError(
            f"{where} golden = {accept.golden!r} names no source",
            hint=f'write "data.NAME" with a NAME of {", ".join(known) or "[data]"}',
        )
