"""An estimate for every closed window and metric, kept before its labels come.

A window is estimated once for the rows and findings that it has. Where a requirement names the
metric the estimate is evidence too, as statistic "expected", valid for a single look.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from trimtab import ids
from trimtab.config import Config
from trimtab.monitor.findings import Finding
from trimtab.monitor.log import asked
from trimtab.monitor.log.catalogue import Catalogue
from trimtab.monitor.outcomes import estimate
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
    found = []
    for window in closed:
        key = {"rows": window.rows, "findings": sorted(one["kind"] for one in window.findings)}
        kept = window.features.get(KEPT, {})
        if window.rows >= config.monitor.min_rows and any(kept.get(k) != key[k] for k in key):
            window = _estimate(ws, config, endpoint, model, window, index, key)
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
        "values": {one.metric: msgspec.to_builtins(one) for one in found.estimates},
        "effective": found.effective,
        "reason": found.reason,
        "untrusted": found.untrusted,
    }
    with ws.transaction():
        estimates.save(ws, _rows(endpoint, model, window, found))
        evidence.append(ws, _evidence(endpoint, model, window, found, required))
        return keep(ws, window, KEPT, body)


def _rows(endpoint: str, model: Watched, window: Window, found: Estimated) -> list[WindowEstimate]:
    now = ids.now()
    return [
        WindowEstimate(
            endpoint=endpoint,
            model=model.version.digest,
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
