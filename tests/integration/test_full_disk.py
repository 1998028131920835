"""A disk that fills up: an error in words, nothing half-written, and on it goes once there is room."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from trimtab import hashing
from trimtab.errors import StorageError
from trimtab.store import check, evidence, ledger, metrics, trees, versions
from trimtab.store.records import Evidence, Point
from trimtab.store.workspace import FOLDER, Workspace, open_workspace


@pytest.fixture
def ws(tiny_disk: Path) -> Iterator[Workspace]:
    opened = open_workspace(tiny_disk, "demo")
    yield opened
    opened.close()


def fill(folder: Path, *, leave: int = 0) -> Path:
    """Take all room that there is, but for `leave` bytes."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(b"\0" * 4096)
        except OSError:
            pass
        stream.truncate(max(0, os.fstat(stream.fileno()).st_size - leave))
    return filler


def measured(number: int) -> Evidence:
    return Evidence(
        id=f"{number:06}", metric="auc", subject="s", value=0.5, lo=0.4, hi=0.6, n=9, method="m"
    )


def appended_until_full(ws: Workspace, start: int) -> list[str]:
    """The ids of the evidence that was stored before the disk refused."""
    stored = []
    for number in range(start, start + 5000):
        try:
            evidence.append(ws, [measured(number)])
        except StorageError:
            return stored
        stored.append(measured(number).id)
    pytest.fail("the disk never filled up")


def test_a_file_that_does_not_fit_leaves_nothing(
    ws: Workspace, tiny_disk: Path, tmp_path: Path
) -> None:
    large = tmp_path / "large"
    large.write_bytes(os.urandom(2 << 20))
    kept = ws.blobs.put(b"kept")
    for put in (lambda: ws.blobs.put_file(large), lambda: ws.blobs.put(large.read_bytes())):
        with pytest.raises(StorageError, match="full") as caught:
            put()
        assert "free some space" in caught.value.hint
    assert list(ws.blobs.digests()) == [kept]
    assert list((ws.root / "tmp").iterdir()) == []
    small = tmp_path / "small"
    small.write_bytes(b"small")
    assert ws.blobs.read(ws.blobs.put_file(small)) == b"small"


@pytest.mark.parametrize("leave", [0, 4096, 8192, 12288])
def test_no_blob_appears_on_a_full_disk(ws: Workspace, tiny_disk: Path, leave: int) -> None:
    # With a page or two left, the folder is made and the bytes are refused, or the reverse.
    data = os.urandom(20_000)
    filler = fill(tiny_disk, leave=leave)
    with pytest.raises(StorageError, match="full"):
        ws.blobs.put(data)
    assert list(ws.blobs.digests()) == []
    filler.unlink()
    digest = ws.blobs.put(data)
    ws.blobs.verify(digest)


def test_evidence_is_stored_whole_or_not_at_all(ws: Workspace, tiny_disk: Path) -> None:
    stored: list[str] = []
    for attempt in range(3):
        filler = fill(tiny_disk, leave=100_000 * attempt)
        stored += appended_until_full(ws, attempt * 10_000)
        # Readers go on, and see whole batches alone.
        assert {one.id for one in evidence.find(ws, limit=100_000)} == set(stored)
        assert ledger.verify(ws) == len(stored)
        filler.unlink()
        evidence.append(ws, [measured(attempt * 10_000 + 9_999)])
        stored.append(measured(attempt * 10_000 + 9_999).id)
        assert ledger.verify(ws) == len(stored)
    ws.close()
    again = open_workspace(tiny_disk, "demo")
    assert {one.id for one in evidence.find(again, limit=100_000)} == set(stored)
    assert ledger.verify(again) == len(stored)
    again.close()


def test_a_transaction_that_fills_the_disk_is_undone(ws: Workspace, tiny_disk: Path) -> None:
    versions.add(ws, "model", "loans", hashing.digest("blob", b"first"))
    filler = fill(tiny_disk, leave=60_000)
    with pytest.raises(StorageError), ws.transaction():
        versions.add(ws, "model", "loans", hashing.digest("blob", b"second"))
        for number in range(2000):
            points = [Point(key="loss", step=s, time=s, value=hash(s) / 7) for s in range(500)]
            metrics.append(ws, f"r{number}", points)
    assert [one.number for one in versions.find(ws, "model")] == [1]
    assert metrics.read(ws, "r0") == []
    assert ledger.verify(ws) == 1
    filler.unlink()
    assert versions.add(ws, "model", "loans", hashing.digest("blob", b"second")).number == 2
    assert ledger.verify(ws) == 2


def test_nothing_goes_on_in_a_transaction_that_the_full_disk_ended(
    ws: Workspace, tiny_disk: Path
) -> None:
    filler = fill(tiny_disk, leave=60_000)
    with pytest.raises(StorageError), ws.transaction():
        for number in range(5000):
            try:
                evidence.append(ws, [measured(number)])
                metrics.append(
                    ws, "r", [Point(key=os.urandom(9000).hex(), step=0, time=0, value=0)]
                )
            except StorageError:
                filler.unlink(missing_ok=True)  # there is room again, but the beginning is lost
    found = evidence.find(ws, limit=100_000)
    assert ledger.verify(ws) == len(found)
    assert len(found) in (0, 5000)


def test_a_checkout_that_does_not_fit_leaves_nothing(ws: Workspace, tiny_disk: Path) -> None:
    blob = ws.blobs.put(os.urandom(30_000))
    tree = trees.put_files(ws.blobs, {f"folder/{number}": blob for number in range(20)})
    filler = fill(tiny_disk, leave=50_000)
    with pytest.raises(StorageError):
        trees.checkout(ws.blobs, tree, tiny_disk / "out")
    assert {item.name for item in tiny_disk.iterdir()} == {FOLDER, "filler"}
    filler.unlink()
    small = trees.put_files(ws.blobs, {"one": blob})
    trees.checkout(ws.blobs, small, tiny_disk / "out")
    assert check.check_blobs(ws) == []


@pytest.mark.parametrize("leave", [0, 4096, 8192, 16_384, 40_960, 57_344, 100_000, 200_000])
def test_a_store_that_does_not_fit_is_made_later(tiny_disk: Path, leave: int) -> None:
    filler = fill(tiny_disk, leave=leave)
    with pytest.raises(StorageError, match="full|No space") as caught:
        open_workspace(tiny_disk, "demo")
    assert "space" in caught.value.hint
    filler.unlink()
    ws = open_workspace(tiny_disk, "demo")
    evidence.append(ws, [measured(1)])
    assert ledger.verify(ws) == 1
    ws.close()
