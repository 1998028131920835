from __future__ import annotations

import hashlib
import os

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.config import parse
from trimtab.data import quarantine, snapshot, sources, tables
from trimtab.data.record import SourceRecord
from trimtab.errors import ConfigError, ConflictError, DataError, NotFoundError, StorageError
from trimtab.store import artifacts, blobs, ledger, versions
from trimtab.store.workspace import open_workspace

ROWS = "id,income,word,at\nA,1.5,x,2026-01-01\nB,,y,2026-01-02\n"


def test_a_source_becomes_a_version_with_all_that_is_known(ws, put, configure):
    put("loans.csv", ROWS)
    config = configure(key="id", time="at", licence="CC0-1.0")
    added = snapshot.add(ws, config, "loans", run="r" * 32)
    version = versions.get(ws, "data", "loans@latest")
    assert added.version == version
    assert (version.label, version.run) == ("loans@v1", "r" * 32)
    assert (added.new, added.rows, added.columns) == (True, 2, 4)
    assert version.meta["rows"] == 2
    assert version.meta["parents"] == []
    assert version.meta["statistics"]["income"]["nulls"] == 1
    assert [column["name"] for column in version.meta["schema"]["columns"]] == [
        "id",
        "income",
        "word",
        "at",
    ]
    record = msgspec.convert(version.meta["source"], SourceRecord)
    assert record == added.record
    assert (record.licence, record.collector) == ("CC0-1.0", "unknown")
    assert [file.name for file in record.files] == ["loans.csv"]
    assert artifacts.get(ws, version.digest).size == len(ROWS)
    assert ws.blobs.read(record.files[0].digest) == ROWS.encode()


def test_the_same_bytes_are_the_same_version(ws, put, configure):
    put("loans.csv", ROWS)
    first = snapshot.add(ws, configure(), "loans")
    again = snapshot.add(ws, configure(), "loans")
    assert not again.new
    assert again.version == first.version
    assert again.record == first.record
    assert (again.rows, again.columns) == (2, 4)
    assert len(versions.find(ws, "data", "loans")) == 1


def test_old_bytes_are_the_old_version(ws, put, configure):
    for content in (ROWS, f"{ROWS}C,2,z,2026-01-03\n", ROWS):
        put("loans.csv", content)
        added = snapshot.add(ws, configure(), "loans")
    assert (added.version.label, added.new) == ("loans@v1", False)


@pytest.mark.slow
def test_a_new_version_knows_its_parent_and_what_changed(ws, put, configure):
    put("loans.csv", ROWS)
    first = snapshot.add(ws, configure(), "loans").version
    put("loans.csv", "id,income,word,at,extra\nA,1,,2026-01-01,5\n")
    second = snapshot.add(ws, configure(), "loans")
    assert second.version.label == "loans@v2"
    assert second.version.meta["parents"] == [first.digest]
    assert [(c.column, c.kind) for c in second.schema_changes] == [
        ("word", "nullable"),
        ("extra", "added"),
    ]
    stored = tables.schema(ws, second.version)
    assert stored.get("extra").nullable
    assert stored.get("income").type == "number"
    assert stored.get("income").nullable
    put("loans.csv", "id,income,word,at\nA,1,x,2026-01-01\n")
    with pytest.raises(DataError, match="column 'extra' \\(integer\\) is gone"):
        snapshot.add(ws, configure(), "loans")
    third = snapshot.add(ws, configure(allow=["extra"]), "loans")
    assert [(c.column, c.kind) for c in third.schema_changes] == [("extra", "removed")]


def test_a_code_stays_text_although_the_next_batch_has_digits_only(ws, put, configure):
    put("loans.csv", "zip\nSW1A\n")
    snapshot.add(ws, configure(), "loans")
    put("loans.csv", "zip\n10115\n")
    added = snapshot.add(ws, configure(), "loans")
    assert tables.read(ws, added.version)["zip"].to_list() == ["10115"]


def test_a_retyped_column_is_refused_unless_allowed(ws, put, configure):
    put("loans.csv", "n\n1\n2\n")
    snapshot.add(ws, configure(), "loans")
    put("loans.csv", "n\n1\nmany\n")
    with pytest.raises(DataError, match=r"line 3, column 'n': 'many' is not a whole number"):
        snapshot.add(ws, configure(), "loans")
    added = snapshot.add(ws, configure(allow=["n"]), "loans")
    assert added.schema_changes[0].text == "column 'n' was integer and is text"
    assert tables.read(ws, "loans@v1")["n"].to_list() == [1, 2]
    assert tables.read(ws, "loans@v2")["n"].to_list() == ["1", "many"]


def test_a_refused_batch_changes_nothing_but_its_quarantine(ws, put, configure):
    put("data/a.csv", "id,n\n1,1\n")
    config = configure("data/*.csv", key="id")
    first = snapshot.add(ws, config, "loans")
    put("data/b.csv", "id,n\n1,2\n")
    blobs, head = list(ws.blobs.digests()), ledger.head(ws)
    with pytest.raises(DataError, match=r"b.csv line 2: key 'id'") as caught:
        snapshot.add(ws, config, "loans")
    assert "kept in .trimtab/quarantine/loans/" in caught.value.hint
    assert (list(ws.blobs.digests()), ledger.head(ws)) == (blobs, head)
    (reason,) = quarantine.find(ws.root, "loans")
    assert list(reason.files) == ["b.csv"]
    (ws.project_dir / "data/b.csv").unlink()
    again = snapshot.add(ws, config, "loans")
    assert again.version == first.version
    assert again.quarantined == (reason,)


def test_nothing_is_visible_when_the_disk_is_full(ws, put, configure, monkeypatch):
    put("loans.csv", ROWS)
    head = ledger.head(ws)
    with monkeypatch.context() as patched:
        patched.setattr(blobs, "_read_only", lambda *_: os.open("/dev/full", os.O_WRONLY))
        with pytest.raises(StorageError, match="is full"):
            snapshot.add(ws, configure(), "loans")
    assert versions.find(ws, "data") == []
    assert list(ws.blobs.digests()) == []
    assert ledger.head(ws) == head
    assert list((ws.root / "tmp").iterdir()) == []
    assert snapshot.add(ws, configure(), "loans").version.number == 1


def test_a_crash_before_the_commit_leaves_no_version(ws, put, configure, monkeypatch):
    def killed(*args):
        raise KeyboardInterrupt

    put("loans.csv", ROWS)
    with monkeypatch.context() as patched:
        patched.setattr(versions, "insert_new", killed)
        with pytest.raises(KeyboardInterrupt):
            snapshot.add(ws, configure(), "loans")
    assert versions.find(ws, "data") == []
    assert artifacts.find(ws) == []
    assert snapshot.add(ws, configure(), "loans").new


def test_bytes_are_flushed_before_a_version_names_them(ws, put, configure, monkeypatch):
    put("loans.csv", ROWS)
    seen_at_flush = []

    def flush(blobs):
        seen_at_flush.append((len(list(blobs.digests())), versions.find(ws, "data")))

    monkeypatch.setattr(type(ws.blobs), "flush", flush)
    snapshot.add(ws, configure(), "loans")
    assert seen_at_flush == [(3, [])]  # the file, the tree and the profile


def test_a_file_that_changes_while_it_is_read_is_a_conflict(ws, put, configure, monkeypatch):
    path = put("loans.csv", ROWS)
    check = snapshot.check

    def slow(*args):
        path.write_text(f"{ROWS}C,1,z,2026-01-03\n")
        return check(*args)

    monkeypatch.setattr(snapshot, "check", slow)
    with pytest.raises(ConflictError, match=r"loans.csv changed while it was read"):
        snapshot.add(ws, configure(), "loans")
    assert versions.find(ws, "data") == []


def test_progress_tells_stage_and_files(ws, put, configure):
    put("data/a.csv", "n\n1\n")
    put("data/b.csv", "n\n2\n")
    told = []
    config = configure("data/*.csv")
    snapshot.add(ws, config, "loans", on_progress=lambda *args: told.append(args))
    assert told == [
        ("hash", 0, 2),
        ("hash", 1, 2),
        ("hash", 2, 2),
        ("read", 0, 2),
        ("read", 2, 2),
        ("store", 0, 2),
        ("store", 1, 2),
        ("store", 2, 2),
    ]


def test_an_unknown_name_offers_the_nearest(ws, configure):
    with pytest.raises(NotFoundError, match=r"no \[data.lons\], did you mean 'loans'"):
        snapshot.add(ws, configure(), "lons")


def test_a_name_cannot_be_a_path(ws):
    config = parse({"project": {"name": "demo"}, "data": {"../x": {"source": "a.csv"}}})
    with pytest.raises(ConfigError, match="a name is letters"):
        snapshot.add(ws, config, "../x")


def test_nothing_fetched_is_quarantined(ws, configure):
    with pytest.raises(NotFoundError):
        snapshot.add(ws, configure("none.csv"), "loans")
    assert not (ws.root / "quarantine").exists()


def test_a_file_that_cannot_be_read_is_named(ws, put, configure, monkeypatch):
    path = put("loans.csv", ROWS)
    fetch = sources.fetch

    def gone(*args):
        fetched = fetch(*args)
        path.unlink()
        return fetched

    monkeypatch.setattr(sources, "fetch", gone)
    with pytest.raises(StorageError, match=r"cannot read .*loans.csv: No such file"):
        snapshot.add(ws, configure(), "loans")


def test_roles_are_checked_for_known_bytes_too(ws, put, configure):
    put("loans.csv", ROWS)
    snapshot.add(ws, configure(), "loans")
    with pytest.raises(DataError, match="did you mean 'income'"):
        snapshot.add(ws, configure(target="incomes"), "loans")


def test_a_declared_checksum_is_verified_or_refused(ws, put, configure):
    put("loans.csv", "a\n1\n")
    with pytest.raises(DataError, match="the checksum is sha256:"):
        snapshot.add(ws, configure(checksum=f"sha256:{'0' * 64}"), "loans")
    assert quarantine.find(ws.root, "loans")
    found = hashlib.sha256(b"a\n1\n").hexdigest()
    added = snapshot.add(ws, configure(checksum=f"sha256:{found}"), "loans")
    assert added.record.checksum_verified


@pytest.mark.slow
@settings(max_examples=8)
@given(order=st.permutations(["a.csv", "b.csv", "sub/c.csv", "sub/d.csv"]))
def test_the_digest_does_not_depend_on_the_order_of_the_files(tmp_path_factory, order):
    folder = tmp_path_factory.mktemp("project")
    (folder / "data/sub").mkdir(parents=True)
    for name in order:
        (folder / "data" / name).write_text(f"n\n{len(name)}\n")
    ws = open_workspace(folder, "demo")
    config = parse({"project": {"name": "demo"}, "data": {"loans": {"source": "data/**/*.csv"}}})
    added = snapshot.add(ws, config, "loans")
    ws.close()
    assert [file.name for file in added.record.files] == sorted(order, key=str.encode)
    seen.add(added.version.digest)
    assert len(seen) == 1


seen: set[str] = set()


def test_a_source_plugin_is_used_for_its_scheme(ws, configure, monkeypatch):
    class Memory:
        def fetch(self, uri, project_dir, scratch):
            path = scratch / "rows.parquet"
            pl.DataFrame({"n": [1, 2]}).write_parquet(path)
            file = sources.SourceFile(name="rows.parquet", path=path, mtime=1)
            return sources.Fetched(uri=uri, files=(file,), version="etag-1")

    monkeypatch.setattr(sources.plugins, "get", lambda group, name: Memory())
    added = snapshot.add(ws, configure("memory://me:secret@there"), "loans")
    assert (added.record.uri, added.record.version) == ("memory://there", "etag-1")
    assert added.record.scheme == "memory"
    assert tables.read(ws, added.version)["n"].to_list() == [1, 2]
