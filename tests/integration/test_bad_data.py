"""Bad batches at the door: each is refused with a clear message, kept, and changes nothing else."""

from __future__ import annotations

import errno
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from trimtab.config import Config, parse
from trimtab.data import checks, snapshot, tables
from trimtab.errors import DataError, StorageError
from trimtab.store import ledger, versions
from trimtab.store.workspace import Workspace, open_workspace

HEADER = "application_id,applied_at,income,purpose,repaid\n"
GOOD = f"{HEADER}A1,2026-01-01,100.5,car,1\nA2,2026-01-02,,home,0\n"


@pytest.fixture
def ws(tmp_path: Path) -> Iterator[Workspace]:
    workspace = open_workspace(tmp_path, "loans")
    yield workspace
    workspace.close()


def config(suffix: str = "csv") -> Config:
    return parse(
        {
            "project": {"name": "loans"},
            "data": {
                "loans": {
                    "source": f"batch.{suffix}",
                    "key": "application_id",
                    "time": "applied_at",
                    "target": "repaid",
                }
            },
        }
    )


def parquet(frame: pl.DataFrame) -> bytes:
    out = io.BytesIO()
    frame.write_parquet(out)
    return out.getvalue()


def frame(**columns) -> pl.DataFrame:
    base = pl.read_csv(io.StringIO(GOOD))
    return base.with_columns(**{name: pl.Series(values) for name, values in columns.items()})


def state(ws: Workspace) -> tuple[object, ...]:
    """All that a refused batch must leave as it was."""
    cached = sorted(path.name for path in (ws.root / "cache").rglob("*.parquet"))
    return (
        ledger.head(ws),
        [version.label for version in versions.find(ws, "data")],
        sorted(ws.blobs.digests()),
        cached,
        list((ws.root / "tmp").iterdir()),
    )


LONG_AGO = "".join(f"B{n},2026-01-01,{n},car,1\n" for n in range(5_000))

BAD = {
    "an empty file": (b"", "batch.csv is empty"),
    "a header and no rows": (HEADER.encode(), "batch.csv has a header and no rows"),
    "a row cut short": (
        f"{GOOD}A3,2026-01-03\n".encode(),
        "batch.csv line 4 has 2 fields, the header has 5",
    ),
    "a row too long": (
        f"{GOOD}A3,2026-01-03,1,000,car,1\n".encode(),
        "batch.csv line 4 has 6 fields, the header has 5",
    ),
    "an open quote": (
        f'{GOOD}A3,2026-01-03,1,"car,1\nA4,2026-01-03,1,car,1\n'.encode(),
        "batch.csv line 4: a quote opens and never closes",
    ),
    "another encoding": (
        GOOD.replace("home", "Büro").encode("latin-1"),
        "batch.csv line 3 is not UTF-8 (byte 0xfc)",
    ),
    "one name twice": (
        GOOD.replace("purpose", "income").encode(),
        "batch.csv has two columns called 'income'",
    ),
    "one key twice": (
        f"{GOOD}A1,2026-01-03,1,car,1\nA2,2026-01-03,1,car,1\n".encode(),
        (
            "batch.csv line 4: key 'application_id' has 'A1' again, first in batch.csv line 2; "
            "2 rows repeat an earlier key"
        ),
    ),
    "a row without key": (
        f"{GOOD},2026-01-03,1,car,1\n".encode(),
        "batch.csv line 4: key 'application_id' is missing",
    ),
    "no target": (
        GOOD.replace("repaid", "repayed").encode(),
        "there is no column 'repaid', did you mean 'repayed'?",
    ),
    "a time nobody can read": (
        f"{GOOD}A3,31/12/2026,1,car,1\n".encode(),
        "batch.csv line 4, column 'applied_at': '31/12/2026' is not a time",
    ),
    "a row without time": (
        f"{GOOD}A3,,1,car,1\n".encode(),
        "batch.csv line 4: time 'applied_at' is missing",
    ),
    "an infinite number": (
        f"{GOOD}A3,2026-01-03,inf,car,1\n".encode(),
        "batch.csv line 4, column 'income': a number cannot be infinite",
    ),
}


def refuse(ws: Workspace, content: bytes, message: str, suffix: str = "csv") -> None:
    before = state(ws)
    path = ws.project_dir / f"batch.{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        snapshot.add(ws, config(suffix), "loans")
    assert message in caught.value.message
    assert state(ws) == before
    kept = list((ws.root / "quarantine" / "loans").glob("*/reason.json"))
    assert len(kept) == 1
    reason = json.loads(kept[0].read_text(encoding="utf-8"))
    assert reason["error"] == caught.value.message
    assert (kept[0].parent / "files" / path.name).read_bytes() == content
    assert str(kept[0].parent.relative_to(ws.project_dir)) in caught.value.hint


@pytest.mark.parametrize("case", BAD)
def test_a_bad_first_batch(case: str, ws: Workspace) -> None:
    refuse(ws, *BAD[case])


@pytest.mark.parametrize("case", BAD)
def test_a_bad_batch_after_a_good_one(case: str, ws: Workspace) -> None:
    (ws.project_dir / "batch.csv").write_text(GOOD, encoding="utf-8")
    snapshot.add(ws, config(), "loans")
    content, message = BAD[case]
    if case == "no target":
        message = "column 'repaid' (integer) is gone"
    refuse(ws, content, message)
    (ws.project_dir / "batch.csv").write_text(GOOD + "A3,2026-01-03,1,car,1\n", encoding="utf-8")
    added = snapshot.add(ws, config(), "loans")
    assert added.version.label == "loans@v2"
    assert len(added.quarantined) == 1


def test_a_parquet_file_cut_off(ws: Workspace) -> None:
    content = parquet(frame())
    refuse(ws, content[: len(content) // 2], "batch.parquet is not a whole Parquet file", "parquet")


def test_a_parquet_file_with_infinity(ws: Workspace) -> None:
    content = parquet(frame(income=[1.0, -np.inf]))
    message = "batch.parquet row 2, column 'income': a number cannot be infinite"
    refuse(ws, content, message, "parquet")


def test_a_column_that_changed_its_type(ws: Workspace) -> None:
    (ws.project_dir / "batch.parquet").write_bytes(parquet(frame()))
    snapshot.add(ws, config("parquet"), "loans")
    content = parquet(frame(income=["much", "little"]))
    refuse(ws, content, "column 'income' was number and is text", "parquet")


def test_a_word_among_numbers_is_found_behind_any_head(ws: Workspace) -> None:
    path = ws.project_dir / "batch.csv"
    path.write_text(HEADER + LONG_AGO, encoding="utf-8")
    snapshot.add(ws, config(), "loans")
    content = f"{HEADER}{LONG_AGO}C1,2026-01-01,unknown,car,1\n".encode()
    refuse(ws, content, "batch.csv line 5002, column 'income': 'unknown' is not a whole number")


def test_nan_is_a_missing_value(ws: Workspace) -> None:
    (ws.project_dir / "batch.parquet").write_bytes(parquet(frame(income=[1.0, float("nan")])))
    added = snapshot.add(ws, config("parquet"), "loans")
    assert tables.read(ws, added.version)["income"].to_list() == [1.0, None]


def test_a_text_of_a_megabyte_is_accepted_and_flagged(ws: Workspace) -> None:
    long = "x" * 1_000_000
    (ws.project_dir / "batch.csv").write_text(f'{GOOD}A3,2026-01-03,1,"{long}",1\n')
    added = snapshot.add(ws, config(), "loans")
    assert added.version.meta["statistics"]["purpose"]["flags"] == [
        "row 3 holds a value of 1000000 bytes"
    ]
    assert tables.read(ws, added.version)["purpose"][2] == long


def test_a_target_of_one_class_is_refused_when_a_model_asks(ws: Workspace) -> None:
    (ws.project_dir / "batch.csv").write_text(GOOD.replace(",0\n", ",1\n"))
    added = snapshot.add(ws, config(), "loans")
    with pytest.raises(DataError, match="target 'repaid' is 1 in all of 2 rows"):
        checks.check_target(tables.read(ws, added.version), "repaid")


@pytest.mark.parametrize("after", [0, 1])
def test_a_full_disk_leaves_nothing_half_written(
    after: int, ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fills up at the first and at the second file of a batch."""
    for name in ("a", "b"):
        (ws.project_dir / f"{name}.csv").write_text(GOOD.replace("A", name), encoding="utf-8")
    settings = parse({"project": {"name": "loans"}, "data": {"loans": {"source": "*.csv"}}})
    rename, done = os.rename, []

    def full(source: str | Path, target: str | Path) -> None:
        if Path(source).parent.name == "tmp":
            if len(done) == after:
                raise OSError(errno.ENOSPC, "No space left on device")
            rename(source, target)
            done.append(target)
        else:
            rename(source, target)

    before = ledger.head(ws)
    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", full)
        with pytest.raises(StorageError, match="is full"):
            snapshot.add(ws, settings, "loans")
    assert versions.find(ws, "data") == []
    assert ledger.head(ws) == before
    assert list((ws.root / "tmp").iterdir()) == []
    assert len(list(ws.blobs.digests())) == after
    for digest in ws.blobs.digests():
        ws.blobs.verify(digest)
    assert snapshot.add(ws, settings, "loans").rows == 4
