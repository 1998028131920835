"""whylogs: a profile of a table, and row by row."""

import numpy as np
import pandas as pd
from common import Clock, run


def speed(path):
    import whylogs

    data = np.load(path, allow_pickle=False)
    now = pd.DataFrame({n.split("|")[1]: data[n] for n in data.files if n.startswith("current")})
    with Clock() as clock:
        whylogs.log(now)
    return "profile of one table", clock.cpu


def row(_=None):
    from whylogs.core import DatasetProfile

    profile, one = DatasetProfile(), {f"f{i}": float(i) for i in range(20)}
    for _ in range(200):
        profile.track(row=one)
    with Clock() as clock:
        for _ in range(3_000):
            profile.track(row=one)
    return clock.cpu / 3_000 * 1e6


def load(_=None):
    import whylogs  # noqa: F401

    return "import"


run({"speed": speed, "row": row, "import": load})
