"""NannyML: univariate drift, PCA reconstruction, CBPE."""

from pathlib import Path

import numpy as np
import pandas as pd
from common import Clock, run


def calculator(names, rows, methods=("jensen_shannon",)):
    import nannyml as nml

    return nml.UnivariateDriftCalculator(
        column_names=list(names),
        chunk_size=rows,
        continuous_methods=list(methods),
        categorical_methods=["jensen_shannon"],
    )


def told(frame, name, method):
    return [bool(x) for x in frame[(name, method, "alert")]]


def alarms(path):
    data, found = np.load(path, allow_pickle=False), {}
    for name in data.files:
        if not name.startswith("window|"):
            continue
        base = data["reference|" + "|".join(name.split("|")[1:3])]
        windows = data[name]
        rows = windows.shape[1]
        own = calculator(["x"], rows).fit(pd.DataFrame({"x": base}))
        result = own.calculate(pd.DataFrame({"x": windows.ravel()})).filter(period="analysis")
        found[name] = told(result.to_df(), "x", "jensen_shannon")
    return found


def blind(path):
    data, found = np.load(path, allow_pickle=False), {}
    for case in sorted({name.split("|")[1] for name in data.files}):
        base, now = (
            pd.DataFrame({"x": data[f"{side}|{case}"]}) for side in ("reference", "current")
        )
        own = calculator(["x"], len(now)).fit(base)
        result = own.calculate(now).filter(period="analysis").to_df()
        found[case] = told(result, "x", "jensen_shannon")[0]
    return found


def joins(path):
    import nannyml as nml

    data, found = np.load(path, allow_pickle=False), {}
    base = data["reference"]
    names = [f"f{i}" for i in range(base.shape[1])]
    for name in data.files:
        if name.startswith("window|"):
            windows = data[name]
            own = nml.DataReconstructionDriftCalculator(
                column_names=names, chunk_size=windows.shape[1]
            )
            own.fit(pd.DataFrame(base, columns=names))
            rows = windows.reshape(-1, base.shape[1])
            result = (
                own.calculate(pd.DataFrame(rows, columns=names)).filter(period="analysis").to_df()
            )
            found[name] = [bool(x) for x in result[("reconstruction_error", "alert")]]
    return found


def speed(path):
    import nannyml  # noqa: F401 - before the clock runs

    data = np.load(path, allow_pickle=False)
    pair = [
        pd.DataFrame({n.split("|")[1]: data[n] for n in data.files if n.startswith(side)})
        for side in ("reference", "current")
    ]
    with Clock() as clock:
        own = calculator(pair[0].columns, len(pair[0]) // 10).fit(pair[0])
        own.calculate(pair[1])
    return "univariate", clock.cpu


def frames(which):
    import nannyml

    folder = Path(nannyml.__file__).parent / "datasets" / "data"
    if which == "employment":
        read = [
            pd.read_parquet(folder / f"employment_MA_{part}.pq")
            for part in ("reference", "analysis", "analysis_target")
        ]
        return read, ("employed", "predicted_probability", "prediction")
    read = [
        pd.read_csv(folder / f"synthetic_car_loan_{part}.csv")
        for part in ("reference", "analysis", "analysis_target")
    ]
    return read, ("repaid", "y_pred_proba", "y_pred")


def plain(column):
    if column.dtype.kind in "fiub":
        return column.to_numpy().astype(float)
    return np.array([str(one) for one in column])


def cbpe(which, out):
    """CBPE's estimates in chunks of 5,000; inputs, scores and labels go to `out` for our own."""
    import nannyml as nml

    (base, now, target), (truth, score, decided) = frames(which)
    columns = {
        "reference": base.columns.tolist(),
        "analysis": now.columns.tolist(),
        "target": target.columns.tolist(),
    }
    if truth not in base.columns:
        raise KeyError(str(columns))
    metrics = ["accuracy", "roc_auc", "f1"]
    own = nml.CBPE(
        y_true=truth,
        y_pred_proba=score,
        y_pred=decided,
        metrics=metrics,
        chunk_size=5_000,
        problem_type="classification_binary",
    )
    with Clock() as clock:
        own.fit(base)
        result = own.estimate(now).filter(period="analysis").to_df()
    apart = {truth, score, decided, "id", "timestamp", "year"}
    inputs = {
        f"{side}|{name}": plain(frame[name])
        for side, frame in (("ref", base), ("now", now))
        for name in now.columns
        if name not in apart
    }
    np.savez(
        out,
        **inputs,
        ref_decided=base[decided],
        ref_score=base[score],
        ref_truth=base[truth],
        score=now[score],
        decided=now[decided],
        truth=target[truth] if len(target) == len(now) else [],
    )
    return {m: [float(x) for x in result[(m, "value")]] for m in metrics}, clock.cpu


def quality(path):
    """CBPE's CPU seconds on a large made-up set."""
    import nannyml as nml

    data = np.load(path, allow_pickle=False)
    base = pd.DataFrame({"y": data["ref_truth"], "p": data["ref_score"]})
    now = pd.DataFrame({"p": data["score"]})
    for one in (base, now):
        one["d"] = (one["p"] >= 0.5).astype(int)
    own = nml.CBPE(
        y_true="y",
        y_pred_proba="p",
        y_pred="d",
        chunk_number=10,
        metrics=["roc_auc", "accuracy", "f1"],
        problem_type="classification_binary",
    )
    with Clock() as clock:
        own.fit(base)
        own.estimate(now)
    return "cbpe", clock.cpu


def load(_=None):
    import nannyml  # noqa: F401

    return "import"


run(
    {
        "alarms": alarms,
        "blind": blind,
        "joins": joins,
        "speed": speed,
        "cbpe": cbpe,
        "quality": quality,
        "import": load,
    }
)
