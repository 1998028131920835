"""A writer that is killed at any moment loses nothing that it had acknowledged."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from trimtab import hashing
from trimtab.store import check, evidence, ledger, metrics, versions
from trimtab.store.workspace import FOLDER, open_workspace

ROUNDS = 45
FRESH = 10  # so many of the rounds begin without a store: the first schema is interrupted, too

# Forks a writer per line of input, because starting Python takes longer than a writer lives. The
# writer says on stdout what is stored, after it is stored.
WRITERS = """
import os, sys
from pathlib import Path
from trimtab import ids
from trimtab.store import evidence, metrics, trees, versions
from trimtab.store.records import Evidence, Point
from trimtab.store.workspace import open_workspace
import alembic.command, alembic.config, alembic.script
import sqlalchemy.dialects.postgresql, sqlalchemy.dialects.sqlite.pysqlite


def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())


def write(folder):
    say("pid", os.getpid())
    ws = open_workspace(folder, "demo")
    say("open")
    number = 0
    while True:
        number += 1
        data = os.urandom(32) * (1 + number % 7 * 700)
        blob = ws.blobs.put(data)
        say("blob", blob)
        source = folder / "source"
        source.write_bytes(data + b"file")
        say("blob", ws.blobs.put_file(source))
        with ws.transaction():
            version = versions.add(ws, "model", "loans", trees.put_files(ws.blobs, {"a/b": blob}))
            versions.set_alias(ws, "model", "loans", "champion", version.digest)
        say("version", version.label, version.digest)
        batch = [Evidence(id=ids.new_id(), metric="auc", subject=version.digest, value=0.5, lo=0.4,
                          hi=0.6, n=9, method="m") for _ in range(3)]
        evidence.append(ws, batch)
        say("evidence", *(one.id for one in batch))
        metrics.append(ws, "r", [Point(key="loss", step=version.number, time=1, value=0.5)])
        say("point", version.number)


for line in sys.stdin:
    child = os.fork()
    if child == 0:
        try:
            write(Path(line.rstrip("\\n")))
        finally:
            os._exit(1)
    os.waitpid(child, 0)
    say("ended")
"""


@pytest.fixture
def writers() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITERS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield process
    process.communicate()
    assert process.returncode == 0


def killed_after(
    writers: subprocess.Popen[str], folder: Path, words: int, delay: float
) -> list[list[str]]:
    """What a writer acknowledged before it was killed, `delay` seconds after its first `words`."""
    assert writers.stdin is not None
    assert writers.stdout is not None
    writers.stdin.write(f"{folder}\n")
    writers.stdin.flush()
    said: list[list[str]] = []
    pid = 0
    for line in writers.stdout:
        said.append(line.split())
        if line == "ended\n":
            break
        if said[-1][0] == "pid":
            pid = int(said[-1][1])
        if len(said) == words:
            time.sleep(delay)
            os.kill(pid, signal.SIGKILL)
    assert len(said) > words, "the writer ended by itself"
    return said[:-1]


def examine(folder: Path, said: list[list[str]]) -> None:
    ws = open_workspace(folder, "demo")
    try:
        ledger.verify(ws)
        assert check.check_blobs(ws) == []
        blobs = set(ws.blobs.digests())
        ids = {one.id for one in evidence.find(ws, limit=100_000)}
        labels = {one.label: one.digest for one in versions.find(ws, "model")}
        points = {point.step for point in metrics.read(ws, "r")}
        for kind, *what in said:
            if kind == "blob":
                assert what[0] in blobs
            elif kind == "version":
                assert labels[what[0]] == what[1]
            elif kind == "evidence":
                assert ids.issuperset(what)
            elif kind == "point":
                assert int(what[0]) in points
        # An alias moves with its version or not at all, and a batch is whole or not there.
        newest = max(versions.find(ws, "model"), key=lambda one: one.number, default=None)
        aliases = versions.aliases(ws, "model", "loans")
        assert aliases == ({} if newest is None else {"champion": newest.digest})
        assert len(ids) % 3 == 0
    finally:
        ws.close()
    for file in (folder / FOLDER / "blobs").rglob("*"):
        if file.is_file():
            assert file.stat().st_mode & 0o777 == 0o444
            digest = f"blake3:{file.parent.name}{file.name}"
            data = file.read_bytes()
            assert digest in (hashing.digest("blob", data), hashing.digest("tree", data))


@pytest.mark.slow
def test_what_was_acknowledged_survives_a_kill(
    writers: subprocess.Popen[str], tmp_path: Path
) -> None:
    dice = random.Random(20261121)
    acknowledged: list[list[str]] = []
    shared = tmp_path / "shared"
    shared.mkdir()
    for number in range(ROUNDS):
        # After the first word the writer opens the store, which takes about 20 ms where it is new.
        if number < FRESH:
            folder = tmp_path / f"fresh {number}"
            folder.mkdir()
            said = killed_after(writers, folder, 1, dice.random() * 0.04)
            examine(folder, said)
        else:
            acknowledged += killed_after(
                writers, shared, dice.randint(1, 60), dice.random() * 0.005
            )
            examine(shared, acknowledged)
    assert sum(1 for kind, *_ in acknowledged if kind == "evidence") > ROUNDS
