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
    from trimtab.profile.bins import encode
    from trimtab.profile.profile import count
    from trimtab.profile.reference import fit_reference

    data = np.load(path, allow_pickle=False)
    base, now = table(data, "reference"), table(data, "current")
    with Clock() as fitting:
        reference = fit_reference(base)
    Path(f"{path}.bins").write_bytes(encode(reference.bins))
    with Clock() as clock:
        count(reference.bins, now)
    return {"fit": fitting.cpu}, clock.cpu


def added(path):
    """CPU seconds with text as codes, and megabytes that the profile needs over the table, in a
    process that holds the table and the bins alone."""
    from trimtab.profile.bins import decode
    from trimtab.profile.profile import count

    bins = decode(Path(f"{path}.bins").read_bytes())
    data = np.load(path, allow_pickle=False)
    now = {name.split("|")[1]: data[name] for name in data.files if name.startswith("current")}
    now = {name: one if one.dtype.kind == "f" else code(one) for name, one in now.items()}
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    loaded = peak()
    with Clock() as clock:
        count(bins, now)
    return {"added_mb": peak() - loaded}, clock.cpu


def code(column):
    """Text as Polars, pandas and Arrow keep categories."""
    from trimtab.profile.columns import Coded

    levels, codes = np.unique(column.astype(str), return_inverse=True)
    return Coded(tuple(levels.tolist()), codes.astype(np.int32))


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
        from trimtab.monitor.drift.compare import compare as comparing
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
    """Microseconds of user CPU of a call of `Monitor.log` with 20 features, and of all it entails,
    over a million rows: of rows that share their keys, as those of a pydantic model and literals do,
    and of rows with keys of their own, as those of a JSON body. The caller waits where the thread is
    behind, so that none is dropped."""
    names = [sys.intern(f"f{i}") for i in range(20)]
    table = np.random.default_rng(2).normal(size=(4_000, 20))
    shared = _logged([dict(zip(names, map(float, row), strict=True)) for row in table])
    own = _logged([{f"f{i}": float(x) for i, x in enumerate(row)} for row in table])
    return shared | {f"own_keys_{name}": value for name, value in own.items()}


def _logged(rows, turns=250):
    import resource
    import time

    import trimtab

    random, spent = np.random.default_rng(3), 0.0
    base = {f"f{i}": random.normal(size=5_000) for i in range(20)}
    with trimtab.Monitor.against(base) as monitor:
        for row in rows:
            monitor.log(row, 0.5)
        counted = monitor.rows
        begun = resource.getrusage(resource.RUSAGE_SELF).ru_utime
        for turn in range(turns):
            first = time.thread_time()
            for row in rows:
                monitor.log(row, 0.5)
            spent += time.thread_time() - first
            while monitor._ring and turn % 3 == 2:  # noqa: SLF001 - the thread counts what waits
                time.sleep(0.002)
        monitor.flush()
        every = resource.getrusage(resource.RUSAGE_SELF).ru_utime - begun
        calls = turns * len(rows)
        return {
            "call_us": spent / calls * 1e6,
            "with_counting_us": every / calls * 1e6,
            "dropped": monitor.dropped + counted + calls - monitor.rows,
        }


def quality(path):
    data = np.load(path, allow_pickle=False)
    score, truth, now = data["ref_score"], data["ref_truth"], data["score"]
    from trimtab.monitor.outcomes import calibration, cbpe

    metrics = ["accuracy", "roc_auc", "f1"]
    try:
        from trimtab.monitor.outcomes import curve
        from trimtab.monitor.outcomes.cbpe import Known
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
        "added": added,
        "judge": judge,
        "compare": compare,
        "log": log,
        "quality": quality,
        "import": load,
    }
)
