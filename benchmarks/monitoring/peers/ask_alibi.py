"""alibi-detect: TabularDrift at its default level, MMD, KS on numbers."""

import numpy as np
from common import Clock, run


def alarms(path):
    from alibi_detect.cd import TabularDrift

    data, found = np.load(path, allow_pickle=False), {}
    for name in data.files:
        if not name.startswith("window|"):
            continue
        base = data["reference|" + "|".join(name.split("|")[1:3])]
        windows, kinds = data[name], None
        if base.dtype.kind not in "fi":
            levels, base = np.unique(base, return_inverse=True)
            at = np.minimum(np.searchsorted(levels, windows), len(levels) - 1)
            windows = np.where(levels[at] == windows, at, len(levels))
            kinds = {0: None}
        own = TabularDrift(base.reshape(-1, 1), p_val=0.05, categories_per_feature=kinds)
        found[name] = [bool(own.predict(w.reshape(-1, 1))["data"]["is_drift"]) for w in windows]
    return found


def speed(path):
    from alibi_detect.cd import KSDrift

    data = np.load(path, allow_pickle=False)
    pair = [
        np.stack(
            [data[n] for n in data.files if n.startswith(side) and data[n].dtype.kind == "f"], 1
        )
        for side in ("reference", "current")
    ]
    with Clock() as clock:
        KSDrift(pair[0], p_val=0.05).predict(pair[1])
    return "KS of the numbers alone", clock.cpu


def load(_=None):
    from alibi_detect.cd import TabularDrift  # noqa: F401

    return "import"


run({"alarms": alarms, "speed": speed, "import": load})
