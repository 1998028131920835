"""A request alone in its turn, the commonest turn where few ask: one row, one run, one frame, and no
table on the way.

The same answer, log and counts as among others (`hot`). What it does not take it leaves before
anything was logged or counted.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import perf_counter

from trimtab import ids
from trimtab.serve.access.auth import Caller
from trimtab.serve.access.consumers import Counter
from trimtab.serve.logged.noted import noter
from trimtab.serve.logged.record import Recorder
from trimtab.serve.metrics import Metrics
from trimtab.serve.protocols import columnwise
from trimtab.serve.router import Route
from trimtab.serve.shell.encoding import WORTH
from trimtab.serve.shell.written import Writer, encode

Lone = Callable[[bytes, Caller, int, float], bytes | None]
"""A body, who sent it and when it came (microseconds, perf_counter) to the answer as it goes over the
wire, which is logged by then; None where it needs a look. Raises `fast.NOT_TAKEN` for a body that is
not of one row in the usual words, TrimtabError where model or log fail."""


def lone(
    contract: str,
    route: Route,
    write: Writer,
    *,
    packs: bool,
    recorder: Recorder,
    metrics: Metrics,
    consumers: Counter,
) -> Lone | None:
    """Answers of one route in one contract; None for a route that knows no row alone."""
    fast, made_single = route.fast, route.model.single
    if made_single is None or route.rules:
        return None
    read = fast.one if contract == "predict" else partial(columnwise.one, fast)
    unseen_in, sent = fast.unseen, fast.sent
    predict, note = made_single().predict, noter(recorder.name, contract, route)
    append, count, tell = recorder.note, metrics.alone, consumers.note
    role, label, width = route.role, route.label, len(fast.columns)

    def answer(body: bytes, caller: Caller, arrived: int, begun: float) -> bytes | None:
        row, name = read(body)
        unseen = unseen_in(row)
        if unseen is None:
            return None
        started = perf_counter()
        found = predict(row[:width])
        ended = perf_counter()
        if found is None:
            return None
        score, decision = found
        made = ids.new_id()
        written = write(made, name, encode(score), decision)
        if packs and len(written) >= WORTH:
            return None
        context = sent([(cell,) for cell in row[width:]]) if len(row) > width else {}
        latency = int((ended - begun) * 1e6)
        append(note(made, arrived, latency, row[:width], context, score, decision))
        count(role, label, contract, waited=started - begun, spent=ended - started, now=arrived)
        for column in unseen:
            metrics.add("unseen_categories_total", 1, model=label, column=column)
        tell(caller.id, caller.name, contract, label)
        return written

    return answer
