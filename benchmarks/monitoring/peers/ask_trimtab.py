"""Ours as a subprocess like the peers, so that CPU and memory are measured alike."""

import json
import sys
from pathlib import Path

import numpy as np
from common import Clock, peak, run


def table(data, side):
    return {
        n.split("|")[1]: data[n] if data[n].dtype.kind == "f" else data[n].astype(object)
        for n in data.files
        if n.startswith(side)
    }


def profile(path, side="current"):
    from trimtab.profile.profile import count
    from trimtab.profile.reference import fit_reference

    data = np.load(path, allow_pickle=False)
    base, now = table(data, "reference"), table(data, "current")
    with Clock() as fitting:
        reference = fit_reference(base)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    loaded = peak()
    with Clock() as clock:
        count(reference.bins, now)
    return {"fit": fitting.cpu, "added_mb": peak() - loaded}, clock.cpu


def judge(path):
    from trimtab.monitor.judge import judge as judging
    from trimtab.profile.profile import count
    from trimtab.profile.reference import fit_reference

    data = np.load(path, allow_pickle=False)
    reference = fit_reference(table(data, "reference"))
    window = count(reference.bins, table(data, "current"))
    judging(reference, [window])
    with Clock() as clock:
        judging(reference, [window])
    return len(reference.bins.features), clock.cpu


def compare(features):
    """The measures of so many features from counts that are there: CPU seconds of one comparison."""
    from trimtab.profile.profile import count
    from trimtab.profile.reference import fit_reference

    random = np.random.default_rng(1)
    draw = lambda rows: {f"f{i}": random.normal(size=rows) for i in range(int(features))}  # noqa: E731
    reference = fit_reference(draw(5_000))
    window = count(reference.bins, draw(2_000))
    try:
        from trimtab.monitor.compare import compare as comparing
        from trimtab.profile.seasons import whole
    except ImportError:
        from trimtab.monitor.judge import judge as judging

        def once():
            return judging(reference, [window])
    else:

        def once():
            return comparing(reference, window.counts, window.rows, whole(reference.profile))

    once()
    with Clock() as clock:
        for _ in range(5):
            once()
    return once.__module__, clock.cpu / 5


def log(_=None):
    """Microseconds of a call of `Monitor.log` with 20 features, and with its thread's counting."""
    import trimtab

    if not hasattr(trimtab, "Monitor"):
        return None
    random = np.random.default_rng(2)
    rows = [
        {f"f{i}": float(x) for i, x in enumerate(row)} for row in random.normal(size=(4_000, 20))
    ]
    base = {f"f{i}": random.normal(size=5_000) for i in range(20)}
    import time

    calls, spent, all_spent = 0, 0.0, 0.0
    with trimtab.Monitor.against(base) as monitor:
        for row in rows:
            monitor.log(row, 0.5)
        monitor.flush()
        begun = time.process_time()
        for _ in range(10):
            first = time.thread_time()
            for row in rows:
                monitor.log(row, 0.5)
            spent += time.thread_time() - first
            calls += len(rows)
            monitor.flush()
        all_spent = time.process_time() - begun
        return {
            "call_us": spent / calls * 1e6,
            "with_counting_us": all_spent / calls * 1e6,
            "dropped": monitor.dropped,
        }


def quality(path):
    data = np.load(path, allow_pickle=False)
    score, truth, now = data["ref_score"], data["ref_truth"], data["score"]
    from trimtab.monitor import calibration, cbpe

    metrics = ["accuracy", "roc_auc", "f1"]
    try:
        from trimtab.monitor import curve
        from trimtab.monitor.cbpe import Known
    except ImportError:
        with Clock() as clock:
            known = calibration.fit(score, truth)
            cbpe.accuracy(known, now)
            cbpe.roc_auc(known, now)
        return "accuracy and roc_auc alone", clock.cpu
    with Clock() as fitting:
        known = Known(curve=curve.fit(score, truth), calibration=calibration.fit(score, truth))
    with Clock() as clock:
        cbpe.binary(known, now, now >= 0.5, metrics)
    return {"fit": fitting.cpu}, clock.cpu


def load(_=None):
    import trimtab.monitor.judge  # noqa: F401

    return json.dumps(
        sorted(m for m in ("numpy", "scipy", "polars", "sklearn") if m in sys.modules)
    )


run(
    {
        "profile": profile,
        "judge": judge,
        "compare": compare,
        "log": log,
        "quality": quality,
        "import": load,
    }
)
