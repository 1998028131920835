"""Speed and memory of the same work here and at the peers: goals 7, 8, 10 and 17.

`python benchmarks/monitoring/speed.py [--rows 1000000]`: 20 numbers and 5 categories (3 to 1,000
levels), reference and current of equal size. Each line is a process of its own on one thread: CPU
seconds of the work alone, peak memory of the whole process with its data.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from environments import BUILD, Absent, Answer, ask, save


def data(rows: int) -> str:
    """A file with both tables, made once for each size."""
    path = BUILD / f"speed-{rows}.npz"
    if not path.is_file():
        random, arrays = np.random.default_rng(5), {}
        for side in ("reference", "current"):
            for i in range(20):
                kind = i % 4
                x = (random.normal(size=rows) if kind == 0 else random.lognormal(size=rows) if kind == 1
                     else random.gamma(2.0, size=rows) if kind == 2
                     else random.exponential(10, rows).round())  # fmt: skip
                arrays[f"{side}|n{i}"] = x
            for levels in (3, 10, 50, 200, 1000):
                share = 1 / np.arange(1, levels + 1)
                names = np.array([f"level-{k:04d}" for k in range(levels)])
                picked = random.choice(levels, rows, p=share / share.sum())
                arrays[f"{side}|c{levels}"] = names[picked]
        save(path, arrays)
    return str(path)


def scores(rows: int) -> str:
    path = BUILD / f"scores-{rows}.npz"
    random = np.random.default_rng(6)
    base, now = random.beta(1, 1.5, rows), random.beta(1.2, 1.5, rows)
    truth = (random.random(rows) < base).astype(np.int64)
    save(path, {"ref_score": base, "ref_truth": truth, "score": now})
    return str(path)


def show(
    name: str, found: Answer | Absent, ours: float = 0.0, unit: str = "s", by: float = 1.0
) -> None:
    if isinstance(found, Absent):
        print(f"  {name:36} absent: {found.reason}", flush=True)
        return
    ratio = f"{found.cpu / ours:8.1f} x ours" if ours else ""
    print(f"  {name:36} {found.cpu * by:9.3f} {unit} CPU {found.peak:8.0f} MB {ratio}", flush=True)


def measure(rows: int) -> dict[str, Any]:
    path, measured = data(rows), {}
    print(f"a table of {rows:,} x 25 (profile of one table, against a reference that is there)")
    own = ask("trimtab", "profile", path)
    show("trimtab profile", own)
    base = own.cpu if isinstance(own, Answer) else 0.0
    coded = ask("trimtab", "added", path)
    show("trimtab profile, text as codes", coded, base)
    if isinstance(own, Answer) and isinstance(coded, Answer):
        measured |= {"profile": own.cpu, "coded": coded.cpu, "fit": own.value["fit"]}
        measured["added_mb"] = coded.value["added_mb"]
        print(f"    fit of the reference {own.value['fit']:.2f} s; the profile adds "
              f"{coded.value['added_mb']:.0f} MB to the data")  # fmt: skip
    show("trimtab judge of it", ask("trimtab", "judge", path))
    for peer in ("evidently", "nannyml", "whylogs", "alibi"):
        found = ask(peer, "speed", path)
        measured[peer] = found.cpu if isinstance(found, Answer) else found.reason
        show(f"{peer} ({found.value})" if isinstance(found, Answer) else peer, found, base)
    found = ask("trimtab", "compare", "1000")
    show("trimtab, compare 1,000 features", found, unit="ms", by=1e3)
    measured["compare"] = found.cpu if isinstance(found, Answer) else None
    print("one row of 20 features logged in the request path")
    logged, row = ask("trimtab", "log", "0"), ask("whylogs", "row", "0")
    measured["log"] = logged.value if isinstance(logged, Answer) else None
    print(
        f"  trimtab.Monitor: {logged.value if isinstance(logged, Answer) and logged.value else logged}"
    )
    print(f"  whylogs track(row=): {row.value if isinstance(row, Answer) else row} us")
    print(f"CBPE, {rows:,} rows, accuracy, roc_auc, f1")
    quality = scores(rows)
    found = ask("trimtab", "quality", quality)
    show("trimtab (estimate alone)", found)
    measured["cbpe"] = found.cpu if isinstance(found, Answer) else None
    if isinstance(found, Answer):
        print(f"    {found.value}")
    show("nannyml (fit and estimate)", ask("nannyml", "quality", quality),
         found.cpu if isinstance(found, Answer) else 0.0)  # fmt: skip
    print("import (whole process)")
    found = ask("trimtab", "import", "0")
    show("trimtab.monitor", found)
    if isinstance(found, Answer):
        measured |= {"import": found.cpu, "import_mb": found.peak}
    for peer in ("evidently", "nannyml", "whylogs", "alibi", "river"):
        show(peer, ask(peer, "import", "0"), measured.get("import", 0.0))
    return measured


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    measure(parser.parse_args().rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
