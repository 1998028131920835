"""What an endpoint counts, rendered as Prometheus text.

Own counters and bucket arrays: an observation costs well under a microsecond, where a client
library takes two to three. Several processes of one endpoint each count for themselves; `snapshot`
and `merged` put them together.
"""

from __future__ import annotations

import functools
import time
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from trimtab import ids

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
)  # fmt: skip

_HELP: Final = {
    "requests_total": "Requests by contract and HTTP status.",
    "rows_total": "Answered rows by role and model.",
    "runs_total": "Runs of a model by role and model; several requests may share one.",
    "queue_seconds_total": "Seconds that requests waited for a run, by role and model.",
    "compute_seconds_total": "Seconds in runs, by role and model.",
    "unseen_categories_total": "Texts that training did not see, by model and column.",
    "invalid_cells_total": "Nulls and texts that training did not see, let through by a policy.",
    "shadow_errors_total": "Shadow answers that failed, by model and error.",
    "shadow_dropped_total": "Rows that no shadow scored, because it could not keep up.",
    "unlogged_frames_total": "Refusals and shadow answers that the disk did not take.",
    "unlogged_rows_total": "Answered rows that are not in the log, by reason.",
    "reloads_total": "Changes of the routes, by result.",
}

Labels = tuple[tuple[str, str], ...]


class Stats(msgspec.Struct):
    """What a model did: runs, rows, nanoseconds waited and computed, runs by their number of rows.

    `requests` were answered; `failures` could not be, after `failed_ns`. `last_ms` is when the last
    one came to an end, in milliseconds since 1970.
    """

    role: str = ""
    label: str = ""
    requests: int = 0
    rows: int = 0
    runs: int = 0
    queue_ns: int = 0
    compute_ns: int = 0
    failures: int = 0
    failed_ns: int = 0
    last_ms: int = 0
    batches: dict[int, tuple[int, int]] = {}


class Counts(msgspec.Struct):
    """Everything that was counted, as it can be written and added up."""

    counters: list[tuple[str, Labels, float]] = []
    seconds: dict[str, list[float]] = {}
    models: dict[str, Stats] = {}
    cpu_seconds: float = 0.0


class Metrics:
    """Counters and request-time histograms of one process; not shared between threads."""

    def __init__(self, endpoint: str, before: Counts | None = None) -> None:
        self.endpoint = endpoint
        begun = before or Counts()
        self._counters = {(name, labels): value for name, labels, value in begun.counters}
        self._seconds = begun.seconds
        self._models = begun.models
        self._cpu_before = begun.cpu_seconds
        self._requests: dict[tuple[str, int], int] = {}

    def add(self, name: str, amount: float = 1, **labels: str) -> None:
        """Count `amount` more of `trimtab_NAME` with these labels."""
        key = (name, tuple(labels.items()))
        self._counters[key] = self._counters.get(key, 0) + amount

    def answered(self, contract: str, status: int, seconds: float) -> None:
        """A request of a contract was answered after `seconds`."""
        self.answered_together(contract, (seconds,), status)

    def answered_together(self, contract: str, seconds: Sequence[float], status: int = 200) -> None:
        """Requests of a contract were answered after so many seconds each."""
        key = (contract, status)
        self._requests[key] = self._requests.get(key, 0) + len(seconds)
        counts = self._seconds.get(contract)
        if counts is None:
            # One count per bucket, one for +Inf, and the sum of all seconds at the end.
            counts = self._seconds[contract] = [0.0] * (len(BUCKETS) + 2)
        for one in seconds:
            counts[bisect_left(BUCKETS, one)] += 1
        counts[-1] += sum(seconds)

    def scored(
        self,
        role: str,
        label: str,
        *,
        requests: int,
        rows: int,
        runs: int,
        waited: float,
        spent: float,
    ) -> None:
        """A model scored the rows of some requests together."""
        one = self._of(role, label)
        nanoseconds = int(spent * 1e9)
        one.requests += requests
        one.rows += rows
        one.runs += runs
        one.queue_ns += int(waited * 1e9) * requests
        one.compute_ns += nanoseconds
        one.last_ms = ids.now_ns() // 1_000_000
        count, total = one.batches.get(rows, (0, 0))
        one.batches[rows] = (count + 1, total + nanoseconds)

    def alone(
        self, role: str, label: str, contract: str, *, waited: float, spent: float, now: int
    ) -> None:
        """A model scored the one row of a request, which was answered: `scored` and `answered`.

        `now` is in microseconds since 1970.
        """
        one = self._models.get(f"{role} {label}") or self._of(role, label)
        nanoseconds = int(spent * 1e9)
        one.requests += 1
        one.rows += 1
        one.runs += 1
        one.queue_ns += int(waited * 1e9)
        one.compute_ns += nanoseconds
        one.last_ms = now // 1_000
        count, total = one.batches.get(1, (0, 0))
        one.batches[1] = (count + 1, total + nanoseconds)
        seconds = waited + spent
        self._requests[contract, 200] = self._requests.get((contract, 200), 0) + 1
        counts = self._seconds.get(contract)
        if counts is None:
            counts = self._seconds[contract] = [0.0] * (len(BUCKETS) + 2)
        counts[bisect_left(BUCKETS, seconds)] += 1
        counts[-1] += seconds

    def failed(self, role: str, label: str, seconds: float) -> None:
        """A model could not score a request that it had been given `seconds` ago."""
        one = self._of(role, label)
        one.failures += 1
        one.failed_ns += int(seconds * 1e9)
        one.last_ms = ids.now_ns() // 1_000_000

    def stats(self, label: str) -> Stats | None:
        """What a model did in this process in all its roles, None where it did nothing."""
        found = [one for one in self._models.values() if one.label == label]
        return functools.reduce(_both, found) if found else None

    def snapshot(self) -> Counts:
        """Everything counted so far."""
        counters = [(name, labels, value) for (name, labels), value in self._counters.items()]
        counters += [
            ("requests_total", (("contract", contract), ("code", str(status))), float(count))
            for (contract, status), count in self._requests.items()
        ]
        cpu = self._cpu_before + time.process_time()
        return Counts(
            counters=counters, seconds=self._seconds, models=self._models, cpu_seconds=cpu
        )

    def render(
        self, gauges: Iterable[tuple[str, str, float]] = (), others: Sequence[Counts] = ()
    ) -> bytes:
        """Everything as Prometheus text, with what other processes counted.

        `gauges` are (name, help, value).
        """
        counts = merged([self.snapshot(), *others])
        samples = [*counts.counters, *_of_models(counts)]
        lines: list[str] = []
        for name in _HELP:
            found = [(labels, value) for kind, labels, value in samples if kind == name]
            if found:
                lines += _head(f"trimtab_{name}", _HELP[name], "counter")
                lines += [self._line(f"trimtab_{name}", labels, value) for labels, value in found]
        if counts.seconds:
            name = "trimtab_request_seconds"
            lines += _head(name, "Seconds from the whole request to its answer.", "histogram")
            for contract, buckets in counts.seconds.items():
                lines += self._histogram(name, contract, buckets)
        for name, text, value in gauges:
            lines += [*_head(f"trimtab_{name}", text, "gauge")]
            lines.append(self._line(f"trimtab_{name}", (), value))
        lines += _head("process_cpu_seconds_total", "User and system CPU time.", "counter")
        lines.append(f"process_cpu_seconds_total {counts.cpu_seconds:.6f}")
        return ("\n".join(lines) + "\n").encode()

    def _of(self, role: str, label: str) -> Stats:
        key = f"{role} {label}"
        one = self._models.get(key)
        if one is None:
            one = self._models[key] = Stats(role=role, label=label, batches={})
        return one

    def _histogram(self, name: str, contract: str, counts: list[float]) -> list[str]:
        lines, total = [], 0.0
        for bound, count in zip((*map(str, BUCKETS), "+Inf"), counts, strict=False):
            total += count
            lines.append(
                self._line(f"{name}_bucket", (("contract", contract), ("le", bound)), total)
            )
        lines.append(self._line(f"{name}_sum", (("contract", contract),), counts[-1]))
        lines.append(self._line(f"{name}_count", (("contract", contract),), total))
        return lines

    def _line(self, name: str, labels: Labels, value: float) -> str:
        pairs = (("endpoint", self.endpoint), *labels)
        text = ",".join(f'{key}="{_escape(label)}"' for key, label in pairs)
        number = repr(value) if value != int(value) else str(int(value))
        return f"{name}{{{text}}} {number}"


def merged(parts: Sequence[Counts]) -> Counts:
    """The sums of what several processes counted."""
    if len(parts) == 1:
        return parts[0]
    counters: dict[tuple[str, Labels], float] = {}
    whole = Counts(seconds={}, models={})
    for part in parts:
        for name, labels, value in part.counters:
            counters[name, labels] = counters.get((name, labels), 0) + value
        for contract, counts in part.seconds.items():
            known = whole.seconds.get(contract) or [0.0] * len(counts)
            whole.seconds[contract] = [a + b for a, b in zip(known, counts, strict=True)]
        for key, one in part.models.items():
            known_model = whole.models.get(key)
            whole.models[key] = _both(known_model, one) if known_model else one
        whole.cpu_seconds += part.cpu_seconds
    whole.counters = [(name, labels, value) for (name, labels), value in counters.items()]
    return whole


def _both(a: Stats, b: Stats) -> Stats:
    batches = dict(a.batches)
    for rows, (count, total) in b.batches.items():
        before = batches.get(rows, (0, 0))
        batches[rows] = (before[0] + count, before[1] + total)
    return Stats(
        role=b.role,
        label=b.label,
        requests=a.requests + b.requests,
        rows=a.rows + b.rows,
        runs=a.runs + b.runs,
        queue_ns=a.queue_ns + b.queue_ns,
        compute_ns=a.compute_ns + b.compute_ns,
        failures=a.failures + b.failures,
        failed_ns=a.failed_ns + b.failed_ns,
        last_ms=max(a.last_ms, b.last_ms),
        batches=batches,
    )


def _of_models(counts: Counts) -> Iterable[tuple[str, Labels, float]]:
    for one in counts.models.values():
        labels = (("role", one.role), ("model", one.label))
        yield "rows_total", labels, one.rows
        yield "runs_total", labels, one.runs
        yield "queue_seconds_total", labels, one.queue_ns / 1e9
        yield "compute_seconds_total", labels, one.compute_ns / 1e9


def _head(name: str, text: str, kind: str) -> list[str]:
    return [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
