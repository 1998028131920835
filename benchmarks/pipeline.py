"""What the pipeline itself costs: a plan with nothing to do, a step that does nothing.

`python benchmarks/pipeline.py` prints milliseconds: a plan of 20 cached steps (goal 300), a run of
them, an inline step (goal 0.5), and an isolated step (goal 60, beside the start of its process).
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from trimtab import config
from trimtab.pipeline import driver, load, plan
from trimtab.store.workspace import open_workspace

STEPS = 20
MANY = 200
CODE = """
from trimtab import flow, step

RATE = 3

def helper(x):
    return x * RATE

{steps}

@flow
def train(n: int = 0):
    x = n
{calls}
    return x
"""


def code(steps: int) -> str:
    one = "@step\ndef s{i}(x: int) -> int:\n    return helper(x) + {i}\n"
    defined = "\n".join(one.format(i=i) for i in range(steps))
    calls = "\n".join(f"    x = s{i}(x)" for i in range(steps))
    return CODE.format(steps=defined, calls=calls)


def timed(what: Callable[[int], object], times: int = 5) -> float:
    """The median of several measurements, in milliseconds."""
    found = []
    for number in range(times):
        start = time.perf_counter()
        what(number)
        found.append((time.perf_counter() - start) * 1000)
    return statistics.median(found)


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "pipeline.py").write_text(code(STEPS))
        ws = open_workspace(folder, "bench")
        project = config.parse({"project": {"name": "bench"}})
        driver.run(ws, project)

        def fresh(_: int) -> None:
            load.forget(folder)
            plan.plan(ws, project)

        print(f"plan of {STEPS} cached steps, code imported anew  {timed(fresh):8.2f} ms")
        again = timed(lambda _: plan.plan(ws, project))
        print(f"plan of {STEPS} cached steps, again               {again:8.2f} ms")
        cached = timed(lambda _: driver.run(ws, project))
        print(f"run of {STEPS} cached steps                       {cached:8.2f} ms")
        ran = timed(lambda n: driver.run(ws, project, params={"n": n + 1}))
        print(f"run of {STEPS} steps inline                       {ran:8.2f} ms")
        long = folder / "long"
        long.mkdir()
        (long / "pipeline.py").write_text(code(MANY))
        load.forget(folder)
        wide = open_workspace(long, "bench")
        driver.run(wide, project)
        ran = timed(lambda n: driver.run(wide, project, params={"n": n + 1}))
        empty = timed(lambda n: driver.run(wide, project, params={"n": 0}))
        print(f"an inline step, one of {MANY}                     {(ran - empty) / MANY:8.3f} ms")
        wide.close()
        load.forget(long)
        few = folder / "few"
        few.mkdir()
        (few / "pipeline.py").write_text(code(2))
        small = open_workspace(few, "bench")
        isolated = timed(
            lambda n: driver.run(small, project, params={"n": n}, executor="process"), 3
        )
        print(f"an isolated step, start of its process and all {isolated / 2:8.2f} ms")
        ws.close()
        small.close()


if __name__ == "__main__":
    main()
