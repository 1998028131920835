"""A/B tests: two models answer at fixed shares, nothing is promoted by itself, a person decides.

What fails is rolled back as in any rollout. When its time is over a test goes on, and an incident
asks for the decision. The report's intervals hold at any number of looks.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from trimtab import ids
from trimtab.config import duration
from trimtab.errors import ConfigError, UsageError
from trimtab.loop.alerts import incidents
from trimtab.loop.project import Project
from trimtab.loop.releases import comparison
from trimtab.loop.releases.shown import Terms
from trimtab.store import operations
from trimtab.store.records import Action, Rollout

KIND: Final = "A/B test over"
_SECOND: Final = 1_000_000
_SHARE: Final = re.compile(r"(\d{1,3}(?:\.\d+)?)%")


def terms_of(share: str, lasts: str, now: int) -> Terms:
    """What a person asked for: "50%" for B, and for how long ("" for no set time).

    Raises UsageError for what is no share between the arms, or no length of time.
    """
    match = _SHARE.fullmatch(share.strip())
    part = float(match[1]) / 100 if match else 0.0
    if not 0 < part < 1:
        raise UsageError(
            f"an A/B test at {share!r} has not two arms",
            hint="write the share of the new model, above 0% and below 100%, such as --ab 50%",
        )
    try:
        span = duration(lasts) if lasts else 0
    except ConfigError as error:
        raise UsageError(error.message, hint="such as --for 2w") from error
    if lasts and not span:
        raise UsageError(
            f"an A/B test of {lasts} is over before it begins", hint="such as --for 2w"
        )
    return Terms(share=part, until=(now + span) // _SECOND * _SECOND if span else 0)


def cause_of(terms: Terms) -> dict[str, Any]:
    """How a rollout keeps that it is a test."""
    return {"ab": msgspec.to_builtins(terms)}


def terms(rollout: Rollout) -> Terms | None:
    """The terms of a rollout that is an A/B test, else None."""
    kept = rollout.cause.get("ab")
    return None if kept is None else msgspec.convert(kept, Terms)


def waits(rollout: Rollout, now: int) -> str:
    """What an open test waits for, "" for a rollout that is none."""
    found = terms(rollout)
    if found is None:
        return ""
    if found.until and now >= found.until:
        return f"an A/B test whose time was over at {ids.iso(found.until)}: a person decides"
    until = f" until {ids.iso(found.until)}" if found.until else ""
    return f"an A/B test{until}: nothing is promoted by itself"


def over(project: Project, rollout: Rollout, now: int) -> list[Action]:
    """Ask a person, once, where the time of an open test is over."""
    found = terms(rollout)
    if found is None or not found.until or now < found.until:
        return []
    if any(one.key == _key(rollout) for one in operations.incidents(project.ws)):
        return []
    told = comparison.compare(project, rollout, found)
    return incidents.ask(
        project,
        KIND,
        rollout.endpoint,
        f"the A/B test of {told.arms[1].model} against {told.arms[0].model} is over: "
        f"{told.sentence}",
        {
            "rollout": rollout.id,
            "owner": project.config.project.owner,
            "sentence": told.sentence,
            "runbook": told.asks,
        },
        key=_key(rollout),
        severity="digest",
        since=found.until,
    )


def decided(project: Project, rollout: Rollout, how: str) -> None:
    """Close the question that `over` asked, in the transaction that ends the test."""
    for one in operations.incidents(project.ws, state="open", endpoint=rollout.endpoint):
        if one.key == _key(rollout):
            incidents.resolve(project, one.id, how)


def _key(rollout: Rollout) -> str:
    return f"{rollout.endpoint}:ab:{rollout.id}"
