"""A full disk as its users meet it: one sentence, nothing half-written, and on it goes with room."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

MEGABYTE = 1 << 20
STEPS = ("clean", "ballast", "light")
TOML = """
[project]
name = "goods"
[data.goods]
source = "goods.csv"
target = "good"
[require]
accuracy = { min = 0.5 }
"""
PIPELINE = """
import random
import polars as pl
from sklearn.linear_model import LogisticRegression
from trimtab import Candidate, Dataset, flow, search, step

def note(name):
    with open("calls", "a") as out:
        out.write(name + "\\n")

@step
def clean(raw: pl.DataFrame) -> pl.DataFrame:
    note("clean")
    return raw.select("size", "good")

@step
def ballast(rows: pl.DataFrame) -> bytes:
    note("ballast")
    return random.Random(len(rows)).randbytes(1_500_000)

@step
def light(rows: pl.DataFrame, heavy: bytes) -> pl.DataFrame:
    note("light")
    assert len(heavy) == 1_500_000
    return rows

@flow
def train(goods: Dataset) -> Candidate:
    rows = clean(goods)
    return search(LogisticRegression, light(rows, ballast(rows)), space={}, trials=1, cv=2)
"""


@dataclass(frozen=True)
class Disk:
    """The file system of its own that a project's `.trimtab` is."""

    folder: Path

    def leave(self, size: int) -> None:
        """Take all room but `size` bytes."""
        filler = self.folder / "filler"
        filler.unlink(missing_ok=True)
        taken = shutil.disk_usage(self.folder).free - size
        with filler.open("wb") as stream:
            os.posix_fallocate(stream.fileno(), 0, taken)

    def free(self) -> None:
        (self.folder / "filler").unlink(missing_ok=True)


@pytest.fixture
def disk(tmp_path, need):
    """A project folder whose `.trimtab` is a disk of eight megabytes."""
    folder = tmp_path / ".trimtab"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    able = sys.platform == "linux" and os.geteuid() == 0 and shutil.which("mount") is not None
    mounted = able and subprocess.run(command, capture_output=True, check=False).returncode == 0
    need(mounted, "a tmpfs can only be mounted by root on Linux")
    (tmp_path / "trimtab.toml").write_text(TOML)
    (tmp_path / "pipeline.py").write_text(PIPELINE)
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def shell(tmp_path):
    """The installed command in the project's folder."""
    tool = Path(sys.executable).with_name("trimtab")

    def call(*arguments, code=0):
        done = subprocess.run(
            [tool, *arguments],
            cwd=tmp_path, capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip
        assert done.returncode == code, f"{arguments} ended with {done.returncode}\n{done.stderr}"
        return done

    return call


def goods(rows, width, seed=0):
    """A table of random texts, which nothing makes smaller."""
    chance = random.Random(seed)
    lines = ["size,words,good"]
    for _ in range(rows):
        size = chance.random()
        words = chance.randbytes(width).hex()
        lines.append(f"{size + 0.3 * chance.random():.6f},{words},{('no', 'yes')[size > 0.5]}")
    return "\n".join(lines) + "\n"


def said_full(done):
    """One sentence that says what is full, and one on what to do; no traceback."""
    assert "Traceback" not in done.stderr
    assert done.stderr.count("error: ") == 1
    error, _, hint = done.stderr.partition("error: ")[2].partition("\nhint: ")
    assert "full" in error or "No space left" in error
    assert "space" in hint
    assert "something unexpected" not in done.stderr


def visible(disk):
    """What lies where whole files are expected, and what is being written."""
    places = ("tables", "tmp")
    return {path.name for path in disk.folder.rglob("*") if path.parent.name in places}


def listed(shell, *arguments):
    return json.loads(shell(*arguments, "--json").stdout)


def test_a_table_that_does_not_fit_is_no_version(disk, shell, tmp_path):
    source = tmp_path / "goods.csv"
    source.write_text(goods(200, 4))
    shell("data", "add", "goods")
    before = visible(disk)
    source.write_text(goods(3200, 500, seed=1))
    size = source.stat().st_size
    for leave in (0, size // 2, size - 4096):
        disk.leave(leave)
        refused = shell("data", "add", "goods", "--json", code=1)
        said_full(refused)
        assert json.loads(refused.stdout)["error"]["code"] == "storage"
        disk.free()
        assert visible(disk) == before
        assert [one["number"] for one in listed(shell, "data", "ls")["versions"]] == [1]
        assert listed(shell, "doctor")["ok"]
    # The bytes fit and the table that is made of them for speed does not: that is no error.
    disk.leave(size + MEGABYTE // 2)
    added = listed(shell, "data", "add", "goods")
    assert (added["version"]["number"], added["rows"], added["new"]) == (2, 3200, True)
    assert visible(disk) == before
    disk.free()
    found = listed(shell, "data", "diff", "goods@v1", "goods@v2")
    assert (found["rows_before"], found["rows_after"]) == (200, 3200)
    assert listed(shell, "doctor")["ok"]


def test_a_run_whose_outputs_do_not_fit_goes_on_with_room(disk, shell, tmp_path):
    (tmp_path / "goods.csv").write_text(goods(400, 4))
    calls = tmp_path / "calls"
    finished = set()
    # Too little for the data, for the large step's output, and for what comes after it.
    for leave in (40_000, 1_200_000, 1_670_000, 100_000):
        disk.leave(leave)
        called = Counter(calls.read_text().split() if calls.exists() else [])
        said_full(shell("run", code=1))
        disk.free()
        again = Counter(calls.read_text().split() if calls.exists() else []) - called
        assert not finished & again.keys()
        rows = listed(shell, "runs", "ls", "--all")["runs"]
        finished = {
            one["name"] for one in rows if one["kind"] == "step" and one["status"] == "done"
        }
        assert listed(shell, "doctor")["ok"]
    assert {"clean", "ballast"} <= finished
    assert listed(shell, "models", "ls")["versions"] == []
    trained = listed(shell, "run")
    assert trained["decision"]["version"]["number"] == 1
    rows = listed(shell, "runs", "ls", "--all")["runs"]
    assert not [one for one in rows if one["status"] == "running"]
    done = Counter(one["name"] for one in rows if one["kind"] == "step" and one["status"] == "done")
    assert done == Counter((*STEPS, "search"))
    assert [one["number"] for one in listed(shell, "data", "ls")["versions"]] == [1]
    assert [one["number"] for one in listed(shell, "models", "ls")["versions"]] == [1]
    assert listed(shell, "doctor")["ok"]
    assert listed(shell, "run")["nothing_to_do"]


def test_a_refused_batch_without_room_for_a_copy_is_not_said_to_be_kept(disk, shell, tmp_path):
    (tmp_path / "goods.csv").write_text(goods(3000, 500) + "1,2,3,4,5\n")
    shell("data", "ls")
    disk.leave(MEGABYTE)
    refused = shell("data", "add", "goods", code=1)
    assert "line 3002" in refused.stderr
    assert "no copy of the batch could be kept" in refused.stderr
    (quarantined,) = (disk.folder / "quarantine" / "goods").iterdir()
    assert [path.name for path in quarantined.iterdir()] == ["reason.json"]
    disk.free()
    refused = shell("data", "add", "goods", code=1)
    assert str(quarantined.relative_to(tmp_path)) in refused.stderr
    assert (quarantined / "files" / "goods.csv").stat().st_size > 3_000_000
    assert listed(shell, "data", "ls")["versions"] == []
