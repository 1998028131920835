"""Evidently: drift of one feature as its preset chooses the test, and the whole preset."""

import numpy as np
import pandas as pd
from common import Clock, run


def preset(reference, current):
    from evidently import Report
    from evidently.presets import DataDriftPreset

    found = {}
    for metric in Report([DataDriftPreset()]).run(current, reference).dict()["metrics"]:
        config = metric.get("config", {})
        if "column" in config:
            value, threshold = float(metric["value"]), float(config.get("threshold", 0.1))
            p_value = "p_value" in config.get("method", "")
            found[config["column"]] = value < threshold if p_value else value >= threshold
    return found


def alarms(path):
    """Per pair of (reference, window): whether the test that the preset chooses tells drift."""
    from evidently.legacy.calculations.stattests import get_stattest
    from evidently.legacy.core import ColumnType

    data, told = np.load(path, allow_pickle=False), {}
    for name in data.files:
        if not name.startswith("window|"):
            continue
        base = pd.Series(data["reference|" + "|".join(name.split("|")[1:3])])
        kind = ColumnType.Categorical if base.dtype.kind not in "fi" else ColumnType.Numerical
        windows = data[name]
        hits = []
        for row in windows:
            now = pd.Series(row)
            hits.append(bool(get_stattest(base, now, kind, None)(base, now, kind, None).drifted))
        told[name] = hits
    return told


def joins(path):
    """Per window of many columns whether any of them drifts by the test that the preset chooses."""
    from evidently.legacy.calculations.stattests import get_stattest
    from evidently.legacy.core import ColumnType

    data, told = np.load(path, allow_pickle=False), {}
    bases = [pd.Series(column) for column in data["reference"].T]
    kind = ColumnType.Numerical
    for name in data.files:
        if name.startswith("window|"):
            told[name] = []
            for window in data[name]:
                pairs = zip(bases, map(pd.Series, window.T), strict=True)
                hits = [get_stattest(a, b, kind, None)(a, b, kind, None).drifted for a, b in pairs]
                told[name].append(bool(any(hits)))
    return told


def blind(path):
    data = np.load(path, allow_pickle=False)
    cases = sorted({name.split("|")[1] for name in data.files})
    found = {}
    for case in cases:
        pair = [pd.DataFrame({"x": data[f"{side}|{case}"]}) for side in ("reference", "current")]
        found[case] = bool(preset(*pair)["x"])
    return found


def speed(path):
    data = np.load(path, allow_pickle=False)
    pair = [
        pd.DataFrame({n.split("|")[1]: data[n] for n in data.files if n.startswith(side)})
        for side in ("reference", "current")
    ]
    preset(pair[0].head(1000), pair[1].head(1000))
    with Clock() as clock:
        preset(*pair)
    return "preset", clock.cpu


def load(_=None):
    import evidently  # noqa: F401
    from evidently import Report  # noqa: F401
    from evidently.presets import DataDriftPreset  # noqa: F401

    return "import"


run({"alarms": alarms, "blind": blind, "joins": joins, "speed": speed, "import": load})
