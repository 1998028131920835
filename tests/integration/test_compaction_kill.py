"""kill -9 of a compaction at any moment: every frame is in the log once, before, while and after."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter

import msgspec
import numpy as np
import polars as pl
import pytest

from trimtab import ids
from trimtab.monitor.log import catalogue, columnar, compaction, history
from trimtab.monitor.log.catalogue import HOUR
from trimtab.serve.logged import frame as bytes_of
from trimtab.serve.logged import log as logs
from trimtab.serve.logged.frame import Frame

KILLS = 20
NOW = 480_000 * HOUR
CHILD = """
import sys
from pathlib import Path
from trimtab.monitor.log import catalogue, compaction, history

compaction.BATCH_BYTES = 40_000
with catalogue.open_catalogue(Path(sys.argv[1])) as index:
    print("begun", flush=True)
    compaction.compact(index, lambda model: None, history.ends(index), batch_bytes=40_000)
"""
WRITER = """
import sys
from pathlib import Path
from trimtab.serve.logged import frame as bytes_of
from trimtab.serve.logged.log import Log
import msgspec

log = Log(Path(sys.argv[1]) / "log", "goods", segment_bytes=15_000)
for one in msgspec.msgpack.decode(sys.stdin.buffer.read(), type=list[bytes_of.Frame]):
    log.append([one])
"""


def frame(number: int) -> Frame:
    """Every ninth is a refusal, every fifth has an id of the client's own."""
    refused = number % 9 == 0
    names = () if refused else (ids.new_id() if number % 5 else f"mine-{number}", f"x-{number}")
    return Frame(
        ids=names,
        request=f"request-{number}",
        received_at=NOW + number * HOUR // 4_000,
        endpoint="goods",
        role="shadow" if number % 4 == 0 else "champion",
        model=f"m{number % 2}",
        label=f"goods@v{number % 2}",
        contract="predict",
        status=422 if refused else 200,
        numbers={} if refused else bytes_of.pack_numbers({"x": np.array([1.0, number])}),
        score=np.full(len(names), 0.5, "<f4").tobytes(),
        decision=["yes"] * len(names),
        error="input in x" if refused else "",
    )


def everything(index) -> Counter:
    """Each row and each refusal as a reader sees them: segments and files of one moment."""
    while True:
        with index.snapshot():
            generation = catalogue.generation(index)
            files, passed = catalogue.files_in(index, "", 0, columnar.END), catalogue.covered(index)
        try:
            tables = [pl.read_parquet(index.folder / path) for path in files]
            frames = list(history._tail(index, passed))
        except FileNotFoundError:
            continue
        if catalogue.generation(index) == generation:
            break
    found: Counter = Counter()
    for one in tables:
        found.update(zip(one["request"].to_list(), one["prediction_id"].to_list(), strict=True))
    found.update((one.request, name) for one in frames for name in (one.ids or (None,)))
    return found


def write(folder, frames) -> None:
    subprocess.run(
        [sys.executable, "-c", WRITER, str(folder)],
        input=msgspec.msgpack.encode(frames),
        check=True,
    )


def take_in(index) -> None:
    cursor = history.ends(index)
    for group in history.fresh(index, cursor):
        with index.transaction():
            for piece in group:
                catalogue.add_block(index, piece.block, piece.frames)


@pytest.mark.slow
def test_a_killed_compaction_loses_nothing_and_repeats_nothing(tmp_path):
    noise = random.Random(0)
    expected: Counter = Counter()
    number, killed, duration = 1, 0, 0.1
    while killed < KILLS:
        fresh = [frame(number + i) for i in range(200)]
        number += len(fresh)
        expected.update((one.request, name) for one in fresh for name in (one.ids or (None,)))
        write(tmp_path, fresh)
        with catalogue.open_catalogue(tmp_path) as index:
            take_in(index)
            child = subprocess.Popen(
                [sys.executable, "-c", CHILD, str(tmp_path)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            assert child.stdout is not None and child.stdout.readline() == b"begun\n"
            began = time.monotonic()
            if killed % 4 == 0:  # a reader beside it, which is slower than the compaction
                while child.poll() is None and time.monotonic() - began < duration / 3:
                    assert everything(index) == expected
            else:
                time.sleep(noise.uniform(0, duration))
            if child.poll() is None:
                child.send_signal(signal.SIGKILL)
            else:  # it took less than that
                duration = min(0.9 * duration, time.monotonic() - began)
            _, said = child.communicate()
            assert child.returncode in (0, -signal.SIGKILL), said
            killed += child.returncode == -signal.SIGKILL
            assert everything(index) == expected
            one, name = noise.choice([(o, n) for o in fresh for n in o.ids if o.role != "shadow"])
            assert history.find(index, name)["request"] == one.request
    with catalogue.open_catalogue(tmp_path) as index:
        compaction.compact(index, lambda model: None, history.ends(index))
        assert logs.segments(index.log) == []
        assert everything(index) == expected
        files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.parquet")}
        assert files == set(catalogue.files_in(index, "", 0, columnar.END))
