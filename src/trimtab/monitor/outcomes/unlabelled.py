"""An estimate for every closed window and metric, kept before its labels come.

A window is estimated once for the rows and findings that it has. Where a requirement names the
metric the estimate is evidence too, as statistic "expected", valid for a single look. Where labels
show concept drift later, the estimates of its windows are marked, and so is new evidence of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from trimtab import ids
from trimtab.config import Config
from trimtab.monitor.findings import Finding
from trimtab.monitor.log import asked
from trimtab.monitor.log.catalogue import Catalogue
from trimtab.monitor.outcomes import distrust, estimate
from trimtab.monitor.outcomes.cbpe import Estimate
from trimtab.monitor.outcomes.distrust import Span
from trimtab.monitor.outcomes.estimate import Estimated
from trimtab.monitor.watched import Watched
from trimtab.store import estimates, evidence, operations
from trimtab.store.records import Evidence, Window, WindowEstimate
from trimtab.store.workspace import Workspace

KEPT: Final = "estimate"
EXPECTED: Final = "expected"


def look(
    ws: Workspace,
    config: Config,
    endpoint: str,
    model: Watched,
    closed: list[Window],
    index: Catalogue,
) -> list[Window]:
    """Estimate what was not estimated yet; returns the windows with what was found."""
    found, known = [], distrust.spans(ws, endpoint, model.version.digest)
    for window in closed:
        key = {"rows": window.rows, "findings": sorted(one["kind"] for one in window.findings)}
        kept = window.features.get(KEPT, {})
        if window.rows >= config.monitor.min_rows and any(kept.get(k) != key[k] for k in key):
            key["drift"] = distrust.why(known, window)
            window = _estimate(ws, config, endpoint, model, window, index, key)
        found.append(window)
    return found


def mark(
    ws: Workspace,
    config: Config,
    endpoint: str,
    model: Watched,
    closed: Sequence[Window],
    known: Sequence[Span],
) -> list[Window]:
    """The windows, the estimates of those in a `known` concept drift marked as untrusted; those of
    windows that are in none any more are as they were.
    """
    found = []
    for window in closed:
        kept, why = window.features.get(KEPT, {}), distrust.why(known, window)
        if kept and kept.get("drift", "") != why:
            window = _mark(ws, config, endpoint, model, window, why)
        found.append(window)
    return found


def keep(ws: Workspace, window: Window, name: str, body: Any) -> Window:
    """Store something under a name with a window; its row may have changed since it was read."""
    with ws.transaction():
        stored = operations.window(ws, window) or window
        operations.save_window(
            ws, msgspec.structs.replace(stored, features={**stored.features, name: body})
        )
    return msgspec.structs.replace(window, features={**window.features, name: body})


def _estimate(
    ws: Workspace,
    config: Config,
    endpoint: str,
    model: Watched,
    window: Window,
    index: Catalogue,
    key: dict[str, Any],
) -> Window:
    rows = asked.gather(index, config, model, window)
    required = {one.metric for one in config.require}
    findings = msgspec.convert(window.findings, list[Finding])
    found = estimate.estimate(
        model.basis, model.signature.task, rows.asked, findings, sorted(required)
    )
    body = {
        **key,
        "cells": rows.cells,
        "effective": found.effective,
        "reason": found.reason,
        "inputs": found.untrusted,
    }
    found = _doubted(found, distrust.both((key["drift"], found.untrusted)))
    with ws.transaction():
        evidence.append(ws, _evidence(endpoint, model, window, found, required))
        return _keep(ws, endpoint, model, window, found, body)


def _mark(
    ws: Workspace, config: Config, endpoint: str, model: Watched, window: Window, why: str
) -> Window:
    kept = window.features[KEPT]
    inputs, known = kept.get("inputs", kept["untrusted"]), list(kept["values"].values())
    found = Estimated(
        estimates=tuple(msgspec.convert(known, list[Estimate])),
        effective=kept["effective"],
        reason=kept["reason"],
    )
    found = _doubted(found, distrust.both((why, inputs)))
    body = {**kept, "inputs": inputs, "drift": why}
    with ws.transaction():
        if bool(kept.get("drift")) != bool(why):  # another date of the same drift is no news
            required = {one.metric for one in config.require}
            evidence.append(ws, _evidence(endpoint, model, window, found, required))
        return _keep(ws, endpoint, model, window, found, body)


def _doubted(found: Estimated, why: str) -> Estimated:
    marked = tuple(msgspec.structs.replace(one, untrusted=why) for one in found.estimates)
    return msgspec.structs.replace(found, estimates=marked, untrusted=why)


def _keep(
    ws: Workspace,
    endpoint: str,
    model: Watched,
    window: Window,
    found: Estimated,
    body: dict[str, Any],
) -> Window:
    values = {one.metric: msgspec.to_builtins(one) for one in found.estimates}
    estimates.save(ws, _rows(ws, endpoint, model, window, found))
    return keep(ws, window, KEPT, {**body, "values": values, "untrusted": found.untrusted})


def _rows(
    ws: Workspace, endpoint: str, model: Watched, window: Window, found: Estimated
) -> list[WindowEstimate]:
    """Estimates as rows of the store; what labels showed of them before stays with them."""
    now, digest = ids.now(), model.version.digest
    shown: dict[str, dict[str, Any]] = {
        one.metric: {
            "realised": one.realised,
            "realised_lo": one.realised_lo,
            "realised_hi": one.realised_hi,
            "labels": one.labels,
            "checked_at": one.checked_at,
        }
        for one in estimates.find(ws, endpoint, model=digest, since=window.start)
        if one.start == window.start
    }
    return [
        WindowEstimate(
            endpoint=endpoint,
            model=digest,
            metric=one.metric,
            start=window.start,
            end=window.end,
            value=one.value,
            lo=one.lo,
            hi=one.hi,
            level=one.level,
            n=one.n,
            method=one.method,
            note=one.note,
            untrusted=one.untrusted,
            effective=found.effective,
            measured_at=now,
            **shown.get(one.metric, {}),
        )
        for one in found.estimates
    ]


def _evidence(
    endpoint: str, model: Watched, window: Window, found: Estimated, required: set[str]
) -> list[Evidence]:
    now = ids.now()
    return [
        Evidence(
            id=ids.new_id(),
            metric=one.metric,
            statistic=EXPECTED,
            subject=f"endpoint:{endpoint}",
            window=f"{ids.iso(window.start)}/{ids.iso(window.end)}",
            value=one.value,
            lo=one.lo,
            hi=one.hi,
            n=one.n,
            level=one.level,
            method=one.method,
            validity="fixed",
            measured_at=now,
            details={
                "model": model.version.digest,
                "note": one.note,
                "untrusted": one.untrusted,
                "effective": found.effective,
            },
        )
        for one in found.estimates
        if one.metric in required
    ]
