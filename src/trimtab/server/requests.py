"""What operations are asked with: frozen records, checked at the border."""

from __future__ import annotations

from typing import Any

import msgspec

from trimtab.access import Scope
from trimtab.errors import UsageError


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of every request."""


class Nothing(Request, frozen=True, kw_only=True):
    """No arguments."""


class Params(Request, frozen=True, kw_only=True):
    """Arguments of the flow by name, over its defaults."""

    params: dict[str, Any] = {}


class Candidate(Request, frozen=True, kw_only=True):
    """A packaged candidate by its digest, or `NAME@mlflow-N` of MLflow's registry.

    `strict` refuses what is undecided.
    """

    subject: str
    run: str = ""
    strict: bool = False


class Deployment(Request, frozen=True, kw_only=True):
    """A model version (default: the champion) and the endpoint it goes to (default: its name).

    `NAME@mlflow-N` is version N of MLflow's registry, which must pass the gate first.
    `ab` is the share of an A/B test, such as "50%", which asks for a decision after `lasts`, such as
    "2w". `force` overrules a freeze with a `reason`, which is kept with `by`.
    """

    reference: str = ""
    name: str = ""
    direct: bool = False
    port: int | None = None
    ab: str = ""
    lasts: str = ""
    revive: bool = False
    force: bool = False
    reason: str = ""
    by: str = ""


class Return(Request, frozen=True, kw_only=True):
    """An endpoint to roll back (`name`), by whom and why."""

    name: str
    reason: str = ""
    by: str = ""


class RolloutFilter(Request, frozen=True, kw_only=True):
    """Which rollouts; an empty field asks for all. `drills` shows those of drills too."""

    endpoint: str = ""
    state: str = ""
    drills: bool = False


class ByHand(Request, frozen=True, kw_only=True):
    """A rollout by its id, a beginning of it or its endpoint; who does something to it, and why."""

    id: str
    reason: str = ""
    by: str = ""


class Advance(ByHand, frozen=True, kw_only=True):
    """A rollout to move on; with `at` only from that stage. `force` overrules, with a `reason`."""

    at: str = ""
    force: bool = False


class Drill(Request, frozen=True, kw_only=True):
    """An endpoint to roll back on (default: the model's), and how often."""

    endpoint: str = ""
    rounds: int = 6
    by: str = ""


class Ending(Request, frozen=True, kw_only=True):
    """An endpoint that shall end: `within` a span ("2w") or at a moment ("2027-01-31"), else at once.

    `successor` is another endpoint's name or an address; `force` does not wait for who called lately.
    """

    name: str
    successor: str = ""
    within: str = ""
    reason: str = ""
    by: str = ""
    force: bool = False


class Named(Request, frozen=True, kw_only=True):
    """Something by its name."""

    name: str


class KeyWanted(Request, frozen=True, kw_only=True):
    """A key to make for the endpoint `name`: what it is called, what it opens, how long, how often.

    `expires` is a span such as "90d", "" for never; `rate` is "100/s", "" for the endpoint's own.
    """

    name: str
    key: str
    scopes: tuple[Scope, ...] = ("infer",)
    expires: str = ""
    rate: str = ""


class KeyNamed(Request, frozen=True, kw_only=True):
    """A key of the endpoint `name`, by its name, its id or the beginning of it."""

    name: str
    key: str


class Identified(Request, frozen=True, kw_only=True):
    """Something by its id, or by the beginning of it."""

    id: str


class Reference(Request, frozen=True, kw_only=True):
    """A version: `NAME`, `NAME@v3`, `NAME@ALIAS` or a digest."""

    reference: str


class Acceptance(Request, frozen=True, kw_only=True):
    """A data version to train on whatever was measured, why, and who says so."""

    reference: str
    reason: str
    by: str = ""


class Question(Request, frozen=True, kw_only=True):
    """What to explain: `model@alias`, `data@v2`, a run, prediction or incident id, `step:NAME`."""

    what: str


class Anchor(Request, frozen=True, kw_only=True):
    """A ledger head that was kept elsewhere; empty to check the chain by itself."""

    expect: str = ""


class Comparison(Request, frozen=True, kw_only=True):
    """Two data versions; `key` (default: the configured one) says which rows are the same."""

    before: str
    after: str
    key: str = ""


class RunFilter(Request, frozen=True, kw_only=True):
    """Which runs, in which order; an empty field asks for all, newest first.

    `where` is a filter and `order_by` fields with asc or desc (docs/search.md); `after` is `next` of
    the page before. `top` leaves out runs inside other runs, `deleted` lists deleted ones too.
    """

    where: str = ""
    order_by: str = ""
    after: str = ""
    kind: str = ""
    name: str = ""
    status: str = ""
    parent: str = ""
    top: bool = False
    deleted: bool = False
    limit: int = 50


class Disposal(Request, frozen=True, kw_only=True):
    """Runs by `ids`, by a filter (`where`), or those of an `experiment`, which goes with them.

    `force` takes runs too that nobody has ended, where no process of theirs is alive.
    """

    ids: list[str] = []
    where: str = ""
    experiment: str = ""
    force: bool = False


class Age(Request, frozen=True, kw_only=True):
    """How long ago something must have been deleted: "30d", "36h", a date; "0" for all of it."""

    older_than: str = "30d"


class RunGroups(Request, frozen=True, kw_only=True):
    """Fields to group runs by, the numbers to show of each group, and which runs."""

    by: str
    show: str = "count"
    where: str = ""
    order_by: str = ""
    deleted: bool = False
    limit: int = 1000


class Explained(Request, frozen=True, kw_only=True):
    """A metric whose differences params may explain, and over which runs."""

    metric: str
    where: str = ""
    seed: int = 0


class TwoRuns(Request, frozen=True, kw_only=True):
    """Two runs by their ids, or the beginnings of them."""

    before: str
    after: str


class SeriesFilter(Request, frozen=True, kw_only=True):
    """Which metric series of a run; an empty key asks for all."""

    id: str
    key: str = ""


class StateFilter(Request, frozen=True, kw_only=True):
    """Which state; empty asks for all."""

    state: str = ""

    def of(self, *known: str) -> str:
        """The state, one of those that are known or empty; raises UsageError."""
        if self.state and self.state not in known:
            raise UsageError(f"there is no state {self.state!r}", hint=f"one of {', '.join(known)}")
        return self.state


class Between(Request, frozen=True, kw_only=True):
    """From when to when: a date, or how long ago ("2w"); empty is from the beginning, to now."""

    since: str = ""
    until: str = ""


class Firing(Request, frozen=True, kw_only=True):
    """A trigger to fire; under the same `key` once only."""

    name: str
    key: str = ""


class Backfill(Request, frozen=True, kw_only=True):
    """A trigger and a range of moments, [start, end)."""

    name: str
    start: str
    end: str


class Reason(Request, frozen=True, kw_only=True):
    """Why something is asked for."""

    reason: str = ""


class Resolution(Request, frozen=True, kw_only=True):
    """An incident to close, and why."""

    id: str
    note: str = ""


class Acknowledgement(Request, frozen=True, kw_only=True):
    """An incident that somebody has in hand, and who."""

    id: str
    by: str = ""


class Watched(Request, frozen=True, kw_only=True):
    """What is watched, by its name (empty: everything), and how many windows of it."""

    name: str = ""
    windows: int = 30
