"""What retiring an endpoint would do: who still calls it, what ends, what is erased and what stays.

Looking changes nothing. The same words that are refused here are refused when it is done.
"""

from __future__ import annotations

import contextlib
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from trimtab import ids
from trimtab.config import duration
from trimtab.deploy import local, tomb
from trimtab.errors import ConfigError, ConflictError, NotFoundError, RefusedError, UsageError
from trimtab.loop.project import Project
from trimtab.loop.retiring import erase, retirement, shelf, watch
from trimtab.loop.retiring.ending import Erasure, Kept, Plan, Retirement, Wish
from trimtab.serve.access import consumers
from trimtab.serve.access.consumers import Consumer
from trimtab.store import operations
from trimtab.store.records import Endpoint

DAYS: Final = 30
HOURS_A_MONTH: Final = 730.0
_DAY: Final = 86_400_000_000
_FARTHEST: Final = 10 * 366 * _DAY


def plan(project: Project, wish: Wish, now: int) -> Plan:
    """What would be done; raises NotFoundError, UsageError for what makes no sense as it is written."""
    ws, name = project.ws, wish.endpoint or project.config.model_name
    row = endpoint_of(project, name)
    if watch.is_one(row):
        return watch.plan(project, wish, row, models_of(row), now)
    known = retirement.in_force(ws, name)
    sunset = known.sunset_at if known else sunset_of(wish, now)
    link = known.link if known else link_of(project, name, wish.successor)
    called = callers(project, name, now)
    recent = within_quiet(project, called, now)
    gone = known.gone_at if known else 0
    due = known.erase if known else shelf.due(project, name, gone or sunset)
    done = {
        str(one["what"]): one
        for one in erase.erased(ws, name)
        if known is not None and one["retirement"] == known.id
    }
    erases = [_erasure(project, name, what, at, done.get(what)) for what, at in due.items()]
    return Plan(
        endpoint=row,
        url=local.url(row) if row.port else "",
        models=models_of(row),
        retirement=known,
        consumers=called,
        recent=[shown(one) for one in recent],
        refusal=_refusal(project, known, recent, wish, sunset, now),
        sunset_at=sunset,
        until=known.until if known else sunset + duration(project.config.retire.grace),
        successor=known.successor if known else wish.successor,
        link=link,
        open_rollouts=[
            f"{one.stages[one.stage]} of {one.candidate}"
            for one in operations.rollouts(ws, endpoint=name, state="open")
        ],
        erases=erases,
        keeps=[Kept(what=what, why=why) for what, why in shelf.stays(project, name, due)],
        memory=tomb.memory(row.pid),
        disk=sum(one.bytes for one in erases if not one.erased_at),
        price_per_month=price(project, name),
    )


def endpoint_of(project: Project, name: str) -> Endpoint:
    """The endpoint's row, or that of a monitor inside another server; raises NotFoundError."""
    row = local.find(project.ws, name)
    if row is None:
        names = ", ".join(one.name for one in operations.endpoints(project.ws))
        raise NotFoundError(
            f"there is no endpoint {name!r}", hint=f"there is: {names or 'none yet'}"
        )
    return row


def models_of(row: Endpoint) -> list[str]:
    """Labels of what an endpoint answers with."""
    routes = [*row.routes.get("routes", []), *row.routes.get("shadow", [])]
    return list(dict.fromkeys(str(one["label"]) for one in routes))


def callers(project: Project, name: str, now: int) -> list[Consumer]:
    """Who called an endpoint in the last 30 days, who called last first."""
    return consumers.read(local.folder(project.ws, name), now - DAYS * _DAY)


def within_quiet(project: Project, called: list[Consumer], now: int) -> list[Consumer]:
    """Those who called so lately that they would be surprised."""
    since = now - duration(project.config.retire.quiet)
    return [one for one in called if one.last >= since]


def shown(one: Consumer) -> str:
    """A caller's name, or where it has none its id."""
    return one.name or one.caller


def sunset_of(wish: Wish, now: int) -> int:
    """The moment after which nobody is answered; raises UsageError."""
    sunset = now
    if wish.within:
        with contextlib.suppress(ConfigError):
            sunset += duration(wish.within)
        if sunset == now:
            sunset = _moment(wish.within)
    if sunset < now:
        raise UsageError(
            f"{ids.iso(sunset)} is past: nobody could be told of it",
            hint="name a moment to come, or leave it out to retire at once",
        )
    if sunset > now + _FARTHEST:
        raise UsageError(f"{ids.iso(sunset)} is more than ten years away")
    return sunset


def _moment(text: str) -> int:
    try:
        return ids.parse_time(text)
    except (ValueError, OverflowError):
        raise UsageError(
            f"--in {text!r} is neither a span nor a moment",
            hint="write it as 36h, 2w, 2027-01-31 or RFC 3339",
        ) from None


def link_of(project: Project, name: str, successor: str) -> str:
    """The address of who comes after; raises UsageError, NotFoundError, ConflictError."""
    if not successor:
        return ""
    mine = local.find(project.ws, name)
    if "://" in successor:
        parts = urlsplit(successor)
        if parts.scheme not in ("http", "https") or not parts.hostname or not _is_plain(successor):
            raise UsageError(
                f"{successor!r} is no address of HTTP", hint="such as https://loans.example.org/"
            )
        if mine is not None and (parts.hostname, parts.port) == (mine.host, mine.port):
            raise UsageError(f"{successor} is {name!r} itself")
        return successor
    if successor == name:
        raise UsageError(f"{name!r} cannot be its own successor")
    found = local.find(project.ws, successor)
    local.check_ours(project.ws, successor)
    if found is None:
        raise NotFoundError(
            f"there is no endpoint {successor!r} to come after {name!r}",
            hint="name an endpoint of this project, or an address with http:// or https://",
        )
    ending = retirement.in_force(project.ws, successor)
    if ending is not None:
        raise ConflictError(f"{successor!r} cannot come after: {retirement.sentence(ending)}")
    return f"{local.url(found)}/predict" if found.port else ""


def price(project: Project, name: str) -> float:
    """The share of one endpoint in a month of the machine, 0.0 without a price."""
    running = [
        one.name
        for one in operations.endpoints(project.ws)
        if one.target == local.TARGET and not retirement.is_over(project.ws, one.name)
    ]
    return project.config.serve.price_per_hour * HOURS_A_MONTH / max(len({*running, name}), 1)


def check(found: Plan) -> None:
    """Raises RefusedError or ConflictError where the plan would not be carried out."""
    if watch.is_one(found.endpoint):
        watch.check(found)
    if not found.refusal:
        return
    if found.retirement is not None:
        raise ConflictError(
            found.refusal, hint="`--cancel` takes an announcement back, `deploy --revive` an end"
        )
    raise RefusedError(
        found.refusal, hint="--in 2w tells them beforehand; --force retires it all the same"
    )


def _refusal(
    project: Project,
    known: Retirement | None,
    recent: list[Consumer],
    wish: Wish,
    sunset: int,
    now: int,
) -> str:
    if known is not None:
        return retirement.sentence(known)
    if sunset > now or wish.force or not recent:
        return ""
    names = ", ".join(shown(one) for one in recent[:5])
    more = f" and {len(recent) - 5} more" if len(recent) > 5 else ""
    return f"called within {project.config.retire.quiet} by {names}{more}"


def _erasure(
    project: Project, name: str, what: str, at: int, done: dict[str, Any] | None
) -> Erasure:
    found = msgspec.convert(done, erase.Found) if done else erase.survey(project, name, what)
    return Erasure(
        what=what, about=erase.about(what), files=found.files, rows=found.rows, bytes=found.bytes,
        at=at, erased_at=int(done["at"]) if done else 0,
    )  # fmt: skip


def _is_plain(text: str) -> bool:
    """Whether a text may stand in a header between angle brackets."""
    return text.isascii() and text.isprintable() and not set(text) & set(' <>"')
