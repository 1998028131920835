from __future__ import annotations

import shutil

from trimtab import hashing
from trimtab.data import quarantine
from trimtab.errors import DataError


def test_a_batch_is_kept_with_its_reason(put, tmp_path):
    files = {"a/x.csv": put("in/x.csv", "one"), "y.csv": put("in/y.csv", "two")}
    error = DataError("bad", hint="mend it")
    folder = quarantine.keep(tmp_path / "ws", "loans", files, error, "in/*.csv")
    assert (folder / "files/a/x.csv").read_text() == "one"
    assert (folder / "files/y.csv").read_text() == "two"
    (reason,) = quarantine.find(tmp_path / "ws", "loans")
    assert (reason.error, reason.hint, reason.uri) == ("bad", "mend it", "in/*.csv")
    assert reason.files["y.csv"] == hashing.digest("blob", b"two")
    assert reason.kept
    assert folder.name == reason.digest.removeprefix("blake3:")


def test_the_same_bytes_are_kept_once_with_the_latest_reason(put, tmp_path):
    files = {"x.csv": put("x.csv", "one")}
    first = quarantine.keep(tmp_path, "loans", files, DataError("first"), "x.csv")
    again = quarantine.keep(tmp_path, "loans", files, DataError("again"), "x.csv")
    assert first == again
    assert first.name == hashing.digest("blob", b"one").removeprefix("blake3:")
    assert [reason.error for reason in quarantine.find(tmp_path, "loans")] == ["again"]
    assert sorted(path.name for path in first.iterdir()) == ["files", "reason.json"]


def test_a_batch_that_cannot_be_copied_leaves_its_reason(put, tmp_path, monkeypatch):
    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    files = {"x.csv": put("x.csv", "one")}
    folder = quarantine.keep(tmp_path, "loans", files, DataError("bad"), "x.csv")
    (reason,) = quarantine.find(tmp_path, "loans")
    assert not reason.kept
    assert "No space left" in reason.why_not
    assert [path.name for path in folder.iterdir()] == ["reason.json"]


def test_there_is_nothing_where_nothing_was_refused(tmp_path):
    assert quarantine.find(tmp_path, "loans") == []
