"""Goal 9, second half: estimates of quality without labels where weights may carry them.

`python benchmarks/monitoring/weighted.py`: both data sets of NannyML's wheel in chunks of 5,000, CBPE
beside what the monitor says, against what the labels showed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from environments import BUILD, Absent, ask
from numpy.typing import NDArray

from trimtab.model.signature import Signature
from trimtab.monitor import basis
from trimtab.monitor.budget import Budget
from trimtab.monitor.drift import coarse
from trimtab.monitor.judge import judge
from trimtab.monitor.log import traffic
from trimtab.monitor.outcomes import estimate, expected
from trimtab.profile.profile import count
from trimtab.profile.reference import fit_reference


def measure() -> dict[str, dict[str, float]] | str:
    """Mean absolute errors of estimates in chunks of 5,000, by CBPE and as the monitor makes them.

    The monitor weights withheld rows where its judge, at the default budget of daily windows, has a
    finding on the inputs and the gates let it (`estimate.weighted`).
    """
    result: dict[str, dict[str, float]] = {}
    for which in ("employment", "loans"):
        path = BUILD / f"cbpe-{which}.npz"
        answer = ask("nannyml", "cbpe", which, str(path))
        if isinstance(answer, Absent):
            print(f"weighted CBPE, {which}: NannyML is absent: {answer.reason}")
            return answer.reason
        with np.load(path) as stored:
            result[which] = errors(dict(stored))
        print(f"weighted CBPE, {which}:", {k: round(v, 5) for k, v in result[which].items()},
              flush=True)  # fmt: skip
    return result


def said(flags: NDArray[Any]) -> list[str]:
    return np.where(flags > 0, "1", "0").tolist()


def errors(data: dict[str, NDArray[Any]], rows: int = 5_000) -> dict[str, float]:
    names, found = ("accuracy", "f1", "roc_auc"), []
    signature = Signature(task="binary", engine="onnx", inputs=(), classes=("0", "1"),
                          positive="1", threshold=0.5)  # fmt: skip
    sides = {
        side: {name.split("|")[1]: data[name] if data[name].dtype.kind == "f"
               else data[name].astype(object) for name in data if name.startswith(f"{side}|")}
        for side in ("ref", "now")
    }  # fmt: skip
    before, now = (
        sides[side] | traffic.outputs(data[f"{key}score"], said(data[f"{key}decided"]), signature)
        for side, key in (("ref", "ref_"), ("now", ""))
    )
    reference = fit_reference(before)
    known = basis.fit(signature, reference, before, data["ref_score"], said(data["ref_decided"]),
                      said(data["ref_truth"]))  # fmt: skip
    covered = used = 0
    for first in range(0, len(data["score"]) - rows + 1, rows):
        part = slice(first, first + rows)
        columns = {name: values[part] for name, values in now.items()}
        findings = judge(reference, [count(reference.bins, columns)], budget=Budget()).findings
        score, decided = data["score"][part].astype(np.float64), data["decided"][part] > 0
        asked = estimate.Asked(score, decided, coarse.table(known.coarse, reference.bins, columns))
        truth = expected.Rows(score, decided, data["truth"][part].astype(np.float64),
                              np.ones(rows))  # fmt: skip
        real = [expected.BINARY[name](truth).value for name in names]
        each = []
        for open_now in ((), findings):
            told = estimate.estimate(known, "binary", asked, open_now)
            value = {one.metric: one for one in told.estimates}
            each += [abs(value[name].value - one) for name, one in zip(names, real, strict=True)]
        covered += sum(value[name].lo <= one <= value[name].hi
                       for name, one in zip(names, real, strict=True))  # fmt: skip
        used += value["accuracy"].method == estimate.WEIGHTED
        found.append(each)
    mean = np.mean(found, axis=0)
    titles = [f"{who} {name}" for who in ("CBPE", "ours") for name in names]
    return dict(zip(titles, mean.tolist(), strict=True)) | {
        "chunks": len(found), "weighted": used, "covered": covered / len(found) / len(names),
    }  # fmt: skip


if __name__ == "__main__":
    measure()
