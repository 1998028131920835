"""The shortest way: one row under a head that came before, answered with the others of its turn.

What a head asks for (contract, caller, route) is decided once, as a `Plan` that holds until keys or
routes change; the bodies of a turn are decoded, scored, logged and written together. What this way
does not take, for whatever reason, goes the ordinary way (`engine`), which answers the same or says
exactly what is wrong: nothing was logged or told by then.
"""

from __future__ import annotations

import logging
import time
from collections import Counter as Counted
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, Protocol

from trimtab import ids
from trimtab.errors import TrimtabError
from trimtab.serve.access.auth import ANYBODY, SEEN_FOR, Caller, Gate
from trimtab.serve.access.consumers import Counter
from trimtab.serve.access.limits import Limits
from trimtab.serve.answer import Contract
from trimtab.serve.contracts import Contracts
from trimtab.serve.logged import outcome as outcomes
from trimtab.serve.logged.record import Recorder
from trimtab.serve.metrics import Metrics
from trimtab.serve.protocols import columnwise
from trimtab.serve.protocols.oip import LENGTH_HEADER
from trimtab.serve.reply import JSON
from trimtab.serve.router import Route, Router, Table
from trimtab.serve.shell import written
from trimtab.serve.shell.encoding import WORTH
from trimtab.serve.shell.fast import NOT_TAKEN, Row
from trimtab.serve.shell.lone import Lone, lone
from trimtab.serve.shell.wire import Head

_said: Final = logging.getLogger("trimtab.serve")
# What asks for more than one row in plain JSON there and back.
_MORE: Final = ("x-event-time", "x-request-id", "x-route", "content-encoding", LENGTH_HEADER)
MISSES: Final = 64
"""How many more requests of a head than were taken may be tried in vain before it is left alone."""

Read = Callable[[Sequence[bytes]], tuple[list[Row], Sequence[str]]]
"""Bodies of one row each to rows and the clients' names for them; raises one of `NOT_TAKEN`."""


class Client(Protocol):
    """Who waits for an answer."""

    is_gone: bool

    def take(self, answer: bytes) -> None:
        """The answer as it goes over the wire."""
        ...

    def again(self, body: bytes) -> None:
        """Ask the ordinary way."""
        ...


class Host(Protocol):
    """What this needs of an engine."""

    name: str
    router: Router
    metrics: Metrics
    limits: Limits
    contracts: Contracts
    consumers: Counter
    draining: bool
    gate: Gate | None
    recorder: Recorder
    announced: dict[str, str]


class Way:
    """A route asked in one contract; `packs` where answers worth it are to be compressed."""

    def __init__(self, host: Host, contract: Contract, route: Route, *, packs: bool) -> None:
        self.contract = contract.name
        self.route = route
        self.packs = packs
        self.missed = 0  # of all plans, so that those without any are not looked through
        name, signature = host.name, route.model.signature
        if contract is host.contracts.typed:
            self.read: Read = route.fast.alone
            self.write = written.typed(name, route.label, signature)
        else:
            self.read = partial(columnwise.alone, route.fast)
            self.write = written.tensors(name, route.label, signature)
        self.score = outcomes.of(route)
        self.lone = lone(
            contract.name,
            route,
            self.write,
            packs=packs,
            recorder=host.recorder,
            metrics=host.metrics,
            consumers=host.consumers,
        )

    def end(self) -> None:
        """Let the model go: a head that does not come again keeps its plan, and with it this."""
        del self.route, self.read, self.write, self.score, self.lone


class Plan:
    """What every request of one head gets while `epoch` is that of `Hot`.

    `missed` counts its requests that this way did not take, less those that it took since.
    """

    __slots__ = ("caller", "epoch", "missed", "until", "way")

    def __init__(self, way: Way, caller: Caller, epoch: int, until: int) -> None:
        self.way = way
        self.caller = caller
        self.epoch = epoch
        self.until = until
        self.missed = 0


Entry = tuple[Plan, bytes, Client, float]
"""A request that waits for its turn: plan, body, client, and when it began (perf_counter)."""


class Hot:
    """The shortest way of one endpoint; for one thread."""

    def __init__(self, host: Host) -> None:
        self.epoch = 0
        self._host = host
        self._seen: tuple[object, ...] = ()
        self._ways: dict[tuple[str, bool], Way] = {}

    def plan(self, head: Head) -> Plan | None:
        """What requests of a head get from now on, None where each of them needs a look."""
        self._look()
        host, headers, now = self._host, head.headers, ids.now()
        found = host.contracts.posts.get(head.path) if head.method == "POST" else None
        table = host.router.table
        if found is None or table is None or not self._is_plain(table, headers):
            return None
        if found.contract is not host.contracts.typed and found.contract is not host.contracts.oip:
            return None
        try:
            caller = host.gate.check(headers, "infer", now) if host.gate else ANYBODY
        except TrimtabError:
            return None
        until = min(caller.expires_at or now + SEEN_FOR, now + SEEN_FOR)
        if caller.rate or host.limits.rate or until <= now:  # a token's leeway is looked at anew
            return None
        key = (found.contract.name, "accept-encoding" in headers)
        way = self._ways.get(key)
        if way is None:
            way = Way(host, found.contract, table.routes[0], packs=key[1])
            self._ways[key] = way
        return Plan(way, caller, self.epoch, until)

    def turn(self, waiting: Sequence[Entry]) -> None:
        """Answer what came in one turn of the event loop."""
        self._look()
        now, clock = ids.now(), time.perf_counter()
        groups: dict[Way, list[Entry]] = {}
        for entry in waiting:
            plan, body, client, _ = entry
            if client.is_gone:
                continue
            if plan.until <= now and plan.epoch == self.epoch:
                self.epoch += 1
            if plan.epoch != self.epoch:
                client.again(body)
                continue
            group = groups.get(plan.way)
            if group is None:
                groups[plan.way] = [entry]
            else:
                group.append(entry)
        for way, entries in groups.items():
            if len(entries) > 1 or way.lone is None:
                self._answer(way, entries)
                continue
            ((plan, body, client, begun),) = entries
            arrived = now - int((clock - begun) * 1e6)
            answer = _alone(plan, way.lone, body, arrived, begun)
            if answer is None:
                client.again(body)
            else:
                client.take(answer)

    def alone(self, plan: Plan, body: bytes) -> bytes | None:
        """At once the answer to a request that just came; None where it is to go the ordinary way."""
        begun = time.perf_counter()
        self._look()
        now = ids.now()
        if plan.until <= now and plan.epoch == self.epoch:
            self.epoch += 1
        if plan.epoch != self.epoch or plan.way.lone is None:
            return None
        return _alone(plan, plan.way.lone, body, now, begun)

    def _is_plain(self, table: Table, headers: Mapping[str, str]) -> bool:
        """Whether nothing asks for more than plain JSON there and back, of one model with one score."""
        host, route = self._host, table.routes[0]
        return (
            headers.get("content-type", JSON) == JSON
            and headers.get("accept", "*/*") in ("*/*", JSON)
            and headers.keys().isdisjoint(_MORE)
            and not (host.draining or host.announced or host.recorder.samples)
            and not (len(table.routes) > 1 or table.shadows or route.slow or route.policies)
            and route.model.signature.task != "multiclass"
        )

    def _answer(self, way: Way, entries: list[Entry]) -> None:
        """Answer requests of one route and contract; the ordinary way where that fails."""
        taken: list[Entry] = []
        answers = None
        try:
            taken, rows, names = _read(way, entries)
            if 0 < len(taken) <= way.route.inline:
                answers = self._scored(way, taken, rows, names)
        except TrimtabError:
            pass  # it says so again on the ordinary way, to those whom it concerns
        except Exception:
            _said.exception("%d requests failed together", len(entries))
        if answers is None:
            taken, answers = [], []
        for (_, _, client, _), answer in zip(taken, answers, strict=True):
            client.take(answer)
        if len(taken) < len(entries):
            answered = set(map(id, taken))
            for entry in entries:
                if id(entry) not in answered:
                    entry[2].again(entry[1])

    def _scored(
        self, way: Way, entries: list[Entry], rows: list[Row], names: Sequence[str]
    ) -> list[bytes] | None:
        """The answers, logged by now; None where a cell or an answer needs a look alone."""
        host, route = self._host, way.route
        begun = time.perf_counter()
        outcome = way.score(rows)
        if outcome is None:
            return None
        now, wall = time.perf_counter(), ids.now()
        made = ids.new_ids(len(rows))
        answers = written.many(way.write, made, names, outcome.scores, outcome.decisions)
        if way.packs and max(map(len, answers)) >= WORTH:
            return None
        spent = [now - entry[3] for entry in entries]
        latencies = [int(one * 1e6) for one in spent]
        host.recorder.together(way.contract, route, outcome, made, wall, latencies)
        host.metrics.scored(
            route.role,
            route.label,
            requests=len(rows),
            rows=len(rows),
            runs=outcome.runs,
            waited=begun - entries[0][3],
            spent=now - begun,
        )
        for column, count in outcome.unseen.items():
            host.metrics.add("unseen_categories_total", count, model=route.label, column=column)
        host.metrics.answered_together(way.contract, spent)
        self._note(way, entries)
        return answers

    def _note(self, way: Way, entries: list[Entry]) -> None:
        """Count who called."""
        note, contract, label = self._host.consumers.note, way.contract, way.route.label
        plans = [entry[0] for entry in entries]
        several = plans.count(plans[0]) < len(plans)
        for plan, count in Counted(plans).items() if several else ((plans[0], len(plans)),):
            note(plan.caller.id, plan.caller.name, contract, label, count)

    def _look(self) -> None:
        """Begin a new epoch where anything has changed that plans depend on."""
        host, seen = self._host, self._seen
        state = host.gate.state if host.gate is not None else None
        if (
            seen
            and seen[0] is host.router.table
            and seen[1] is state
            and seen[2] is host.announced
            and seen[3] is host.draining
        ):
            return
        self._seen = (host.router.table, state, host.announced, host.draining)
        for way in self._ways.values():
            way.end()
        self._ways = {}
        self.epoch += 1


def _alone(plan: Plan, lone: Lone, body: bytes, arrived: int, begun: float) -> bytes | None:
    """The answer to a request alone in its turn; None where it is to go the ordinary way."""
    try:
        answer = lone(body, plan.caller, arrived, begun)
    except NOT_TAKEN:
        _missed(plan)
    except TrimtabError:
        pass  # it says so again on the ordinary way
    except Exception:
        _said.exception("a request failed alone")
    else:
        if plan.missed and answer is not None:
            _took(plan)
        return answer
    return None


def _read(way: Way, entries: list[Entry]) -> tuple[list[Entry], list[Row], Sequence[str]]:
    """The requests that are of one row in the usual words, their rows and their own names."""
    try:
        found = way.read([entry[1] for entry in entries])
    except NOT_TAKEN:
        pass
    else:
        if way.missed:
            for entry in entries:
                _took(entry[0])
        return entries, *found
    taken: list[Entry] = []
    rows: list[Row] = []
    names: list[str] = []
    for entry in entries:
        plan, body, _, _ = entry
        try:
            row, name = way.read((body,))
        except NOT_TAKEN:
            _missed(plan)
        else:
            _took(plan)
            taken.append(entry)
            rows += row
            names += name
    return taken, rows, names


def _took(plan: Plan) -> None:
    if plan.missed:
        plan.missed -= 1
        plan.way.missed -= 1


def _missed(plan: Plan) -> None:
    plan.missed += 1
    plan.way.missed += 1
    if plan.missed > MISSES:
        plan.way.missed -= plan.missed
        plan.missed = 0
        plan.epoch = -1  # its client sends something else: no use to try again
