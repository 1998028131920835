"""The chain and everything that repeats it: one changed bit is found and named."""

from __future__ import annotations

import json
import math
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from trimtab import hashing
from trimtab.errors import ConflictError, DataError, IntegrityError
from trimtab.store import evidence, ledger, operations, refs, verdicts, versions
from trimtab.store.records import Evidence, Incident, Rollout, Verdict
from trimtab.store.workspace import Workspace, open_workspace

ROOT = Path(__file__).parents[3]
GOLDEN = json.loads((ROOT / "tests/golden/ledger-v1.json").read_text(encoding="utf-8"))
PAGE = (ROOT / "docs/formats/ledger.md").read_text(encoding="utf-8")
MODEL, CANDIDATE = hashing.digest("blob", b"model"), hashing.digest("blob", b"candidate")

# Everything that the chain covers.
COVERED = {
    "ledger": ("project", "seq", "time", "kind", "body", "previous", "hash"),
    "ledger_heads": ("project", "seq", "hash"),
    "evidence": (
        "id", "project", "seq", "metric", "statistic", "subject", "slice", "window", "value", "lo",
        "hi", "n", "level", "method", "validity", "run", "measured_at", "details",
    ),
    "verdicts": (
        "id", "project", "seq", "requirement", "text", "metric", "statistic", "subject", "place",
        "status", "provisional", "reason", "value", "lo", "hi", "n", "evidence", "details", "config",
        "run", "decided_at",
    ),
    "versions": ("project", "kind", "name", "number", "digest", "run"),
    "refs": ("project", "kind", "name", "digest"),
    "rollouts": (
        "id", "project", "endpoint", "candidate", "champion", "stages", "stage", "state", "reason",
        "cause", "opened_at", "staged_at", "closed_at",
    ),
    "incidents": (
        "id", "project", "kind", "key", "endpoint", "title", "severity", "state", "detail",
        "opened_at", "resolved_at", "since", "resolution", "acknowledged_at", "acknowledged_by",
        "reopened",
    ),
}  # fmt: skip


def measured(name: str, **fields: object) -> Evidence:
    values = {"value": 0.8, "lo": 0.75, "hi": 0.85, "n": 1000, "method": "delong"} | fields
    return Evidence(id=name, metric="roc_auc", subject=MODEL, **values)


def judged(name: str, **fields: object) -> Verdict:
    return Verdict(
        id=name, requirement=MODEL, text="roc_auc > 0.7", metric="roc_auc", subject=MODEL,
        place="gate", status="pass", reason="0.75 > 0.7", **fields,
    )  # fmt: skip


def fill(ws: Workspace) -> None:
    versions.add(ws, "model", "loans", MODEL, run="r1")
    versions.set_alias(ws, "model", "loans", "champion", MODEL)
    evidence.append(
        ws, [measured("e1"), measured("e2", details={"by": [1.5, math.nan, "é\ufffd"]})]
    )
    evidence.append(ws, [measured("e3", value=math.nan, lo=-math.inf, hi=math.inf, window="w")])
    verdicts.append(
        ws, [judged("v1", evidence=["e1"], provisional=True), judged("v2", value=1.0, lo=-0.0)]
    )
    versions.add(ws, "model", "loans", CANDIDATE)
    versions.set_alias(ws, "model", "loans", "champion", CANDIDATE)
    versions.set_alias(ws, "model", "loans", "old", MODEL)
    versions.set_alias(ws, "model", "loans", "old", refs.ABSENT)
    rollout = Rollout(id="o1", endpoint="e", candidate=CANDIDATE, champion=MODEL, stages=["10 %"])
    operations.open_rollout(ws, rollout)
    operations.update_rollout(ws, _moved(rollout))
    operations.open_incident(
        ws, Incident(id="i1", kind="drift", key="k", endpoint="e", title="age drifts")
    )


def _moved(rollout: Rollout) -> Rollout:
    return Rollout(
        **{
            field: getattr(rollout, field)
            for field in rollout.__struct_fields__
            if field != "stage"
        },
        stage=1,
    )


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    ws = open_workspace(tmp_path_factory.mktemp("ledger"), "demo")
    # A second project's rows must not be taken for this one's.
    neighbour = open_workspace(ws.project_dir, "other")
    fill(ws)
    evidence.append(neighbour, [measured("n1")])
    yield ws
    neighbour.close()
    ws.close()


@pytest.fixture(scope="module")
def raw(filled: Workspace) -> Iterator[sqlite3.Connection]:
    """Behind the program's back."""
    with closing(sqlite3.connect(filled.root / "store.db", isolation_level=None)) as connection:
        yield connection


def test_a_whole_chain_verifies(filled: Workspace) -> None:
    seq, last = ledger.head(filled)
    assert ledger.verify(filled) == seq == 12
    assert ledger.verify(filled, expect=last) == 12
    for entry in ledger.find(filled):
        assert ledger.verify(filled, expect=entry.hash) == 12


def test_an_expected_head_must_be_in_the_chain(filled: Workspace) -> None:
    strange = hashing.digest("ledger", b"another chain")
    with pytest.raises(IntegrityError, match=strange):
        ledger.verify(filled, expect=strange)


def flipped(value: object, position: int, bit: int) -> object:
    """The value with one bit of its stored form turned; text as (bytes,)."""
    if isinstance(value, int):
        return value ^ (1 << (position % 63))
    if isinstance(value, float):
        bits = struct.unpack("<q", struct.pack("<d", value))[0] ^ (1 << (position % 63))
        return struct.unpack("<d", struct.pack("<q", bits))[0]
    assert isinstance(value, bytes)
    if not value:
        return (b"x",)
    place = position % len(value)
    return (value[:place] + bytes([value[place] ^ (1 << bit)]) + value[place + 1 :],)


@pytest.mark.slow
@given(
    table=st.sampled_from(sorted(COVERED)),
    column=st.integers(0, 20),
    row=st.integers(0, 20),
    position=st.integers(0, 2000),
    bit=st.integers(0, 7),
)
def test_one_changed_bit_is_found_and_named(
    filled: Workspace, raw: sqlite3.Connection, table: str, column: int, row: int, position: int,
    bit: int,
) -> None:  # fmt: skip
    name = COVERED[table][column % len(COVERED[table])]
    rowids = [
        one[0]
        for one in raw.execute(
            f'SELECT rowid FROM "{table}" WHERE project = ? ORDER BY rowid', (filled.project,)
        )
    ]
    rowid = rowids[row % len(rowids)]
    kind, number, content = raw.execute(
        f'SELECT typeof("{name}"), "{name}", CAST("{name}" AS BLOB) FROM "{table}" WHERE rowid = ?',
        (rowid,),
    ).fetchone()
    before = content if kind == "text" else number
    after = 0.0 if kind == "null" else flipped(before, position, bit)
    # SQLite keeps no NaN, and no sign of zero.
    assume(not (isinstance(after, float) and (math.isnan(after) or after == before)))
    key = "seq" if table.startswith("ledger") else ("number" if table == "versions" else "rowid")
    label = {"evidence": "id", "verdicts": "id", "rollouts": "id", "incidents": "id"}.get(
        table, key
    )
    named = str(
        raw.execute(f'SELECT {label} FROM "{table}" WHERE rowid = ?', (rowid,)).fetchone()[0]
    )

    def put(value: object) -> None:
        where = f'UPDATE "{table}" SET "{name}" = {{}} WHERE rowid = ?'
        if isinstance(value, tuple):
            raw.execute(where.format("CAST(? AS TEXT)"), (*value, rowid))
        else:
            raw.execute(where.format("?"), (value, rowid))

    try:
        put(after)
    except (sqlite3.IntegrityError, OverflowError):
        assume(False)
    try:
        with pytest.raises(IntegrityError) as caught:
            ledger.verify(filled)
    finally:
        put((before,) if kind == "text" else before)
    assert caught.value.hint
    if name not in ("id", "seq", "project", "number"):
        expected = {
            "ledger": f"ledger entry {named} ",
            "ledger_heads": "head",
            "versions": "versions row",
            "refs": "refs row",
        }.get(table, f"{table} row {named} ")
        assert expected in caught.value.message
    assert ledger.verify(filled) == 12


@pytest.mark.parametrize("table", sorted(COVERED))
def test_every_removed_row_is_found(filled: Workspace, raw: sqlite3.Connection, table: str) -> None:
    rows = raw.execute(
        f'SELECT rowid FROM "{table}" WHERE project = ?', (filled.project,)
    ).fetchall()
    assert rows
    for (rowid,) in rows:
        raw.execute("BEGIN IMMEDIATE")
        raw.execute(f'CREATE TEMP TABLE kept AS SELECT * FROM "{table}" WHERE rowid = ?', (rowid,))
        raw.execute(f'DELETE FROM "{table}" WHERE rowid = ?', (rowid,))
        raw.execute("COMMIT")
        try:
            with pytest.raises(IntegrityError):
                ledger.verify(filled)
        finally:
            raw.execute(f'INSERT INTO "{table}" SELECT * FROM temp.kept')
            raw.execute("DROP TABLE temp.kept")
    assert ledger.verify(filled) == 12


@pytest.mark.parametrize("table", ["evidence", "verdicts", "versions", "refs", "incidents"])
def test_a_row_that_was_slipped_in_is_found(
    filled: Workspace, raw: sqlite3.Connection, table: str
) -> None:
    unique = {"versions": "number = 9, digest = 'd'", "refs": "name = 'loans@new'"}.get(
        table, "id = 'new', key = 'new'" if table == "incidents" else "id = 'new'"
    )
    raw.execute(
        f'CREATE TEMP TABLE copied AS SELECT * FROM "{table}" WHERE project = ? LIMIT 1',
        (filled.project,),
    )
    raw.execute(f"UPDATE temp.copied SET {unique}")
    raw.execute(f'INSERT INTO "{table}" SELECT * FROM temp.copied')
    slipped = raw.execute("SELECT last_insert_rowid()").fetchone()[0]
    try:
        with pytest.raises(IntegrityError, match=f"{table} row"):
            ledger.verify(filled)
    finally:
        raw.execute(f'DELETE FROM "{table}" WHERE rowid = ?', (slipped,))
        raw.execute("DROP TABLE temp.copied")
    assert ledger.verify(filled) == 12


def test_a_chain_cut_with_care_is_found_by_a_head_kept_elsewhere(ws: Workspace) -> None:
    evidence.append(ws, [measured("e1")])
    evidence.append(ws, [measured("e2")])
    seq, last = ledger.head(ws)
    before = ledger.find(ws)[1].hash
    with closing(sqlite3.connect(ws.root / "store.db")) as raw, raw:
        raw.execute("DELETE FROM ledger WHERE seq = ?", (seq,))
        raw.execute("UPDATE ledger_heads SET seq = ?, hash = ?", (seq - 1, before))
    with pytest.raises(IntegrityError, match="evidence row e2 is not in the ledger"):
        ledger.verify(ws)
    with closing(sqlite3.connect(ws.root / "store.db")) as raw, raw:
        raw.execute("DELETE FROM evidence WHERE id = 'e2'")
    assert ledger.verify(ws) == 1
    with pytest.raises(IntegrityError, match=last):
        ledger.verify(ws, expect=last)


def test_the_golden_chain() -> None:
    previous = ""
    for entry in GOLDEN:
        body = hashing.canonical(json.loads(entry["body"])).decode()
        assert body == entry["body"]
        assert entry["previous"] == previous
        values = (previous, entry["seq"], entry["time"], entry["kind"], body)
        previous = ledger.entry_hash(*values)
        assert previous == entry["hash"]
        assert previous in PAGE
        assert hashing.canonical(values).decode() in PAGE


def test_the_page_names_every_kind(filled: Workspace) -> None:
    for entry in ledger.find(filled):
        assert f"`{entry.kind}`" in PAGE


def test_what_is_stored_reads_back(ws: Workspace) -> None:
    batch = [measured("e1", value=math.inf, lo=-0.0, details={"n": 2**63, "t": (1, 2)}, n=5)]
    evidence.append(ws, batch)
    (found,) = evidence.find(ws)
    assert found.value == math.inf
    assert found.details == {"n": 2**63, "t": [1, 2]}
    evidence.append(ws, [measured("e2", value=math.nan)])
    assert math.isnan(evidence.find(ws)[0].value)
    verdicts.append(ws, [judged("v1", value=math.nan, provisional=True, evidence=["e2"])])
    (verdict,) = verdicts.find(ws)
    assert verdict.value is not None
    assert math.isnan(verdict.value)
    assert verdict.provisional is True
    assert verdict.lo is None
    assert ledger.verify(ws) == 3


@pytest.mark.parametrize(
    "wrong",
    [{"value": "high"}, {"n": 1.5}, {"details": {"x": object()}}, {"method": None},
     {"details": {"x": "\udcff"}}],
)  # fmt: skip
def test_evidence_of_the_wrong_type_is_refused(ws: Workspace, wrong: dict) -> None:
    with pytest.raises(DataError, match="Evidence"):
        evidence.append(ws, [measured("e1"), measured("e2", **wrong)])
    assert evidence.find(ws) == []
    assert ledger.verify(ws) == 0


def test_an_id_is_stored_once(ws: Workspace) -> None:
    evidence.append(ws, [measured("e1")])
    with pytest.raises(ConflictError):
        evidence.append(ws, [measured("e2"), measured("e1")])
    verdicts.append(ws, [judged("v1")])
    with pytest.raises(ConflictError):
        verdicts.append(ws, [judged("v1")])
    assert [one.id for one in evidence.find(ws)] == ["e1"]
    assert ledger.verify(ws) == 2


def test_nothing_appended_is_no_entry(ws: Workspace) -> None:
    evidence.append(ws, [])
    verdicts.append(ws, [])
    assert ledger.head(ws) == (0, "")
    assert ledger.verify(ws) == 0


def test_evidence_is_found_by_what_it_is_about(ws: Workspace) -> None:
    evidence.append(ws, [measured("e1", window="withheld"), measured("e2", window="bench")])
    evidence.append(ws, [Evidence(id="e3", metric="brier", subject="endpoint:e", value=0.1, lo=0.0,
                                  hi=0.2, n=9, method="m")])  # fmt: skip
    ids = lambda **wanted: [one.id for one in evidence.find(ws, **wanted)]  # noqa: E731
    assert ids() == ["e3", "e1", "e2"]
    assert ids(subject=MODEL) == ["e1", "e2"]
    assert ids(metric="brier") == ["e3"]
    assert ids(window="bench") == ["e2"]
    assert ids(subject=MODEL, metric="brier") == []
    assert ids(limit=1) == ["e3"]


def test_verdicts_are_found_by_subject_and_place(ws: Workspace) -> None:
    verdicts.append(ws, [judged("v1")])
    assert [one.id for one in verdicts.find(ws, subject=MODEL, place="gate")] == ["v1"]
    assert verdicts.find(ws, place="monitor") == []
    assert verdicts.find(ws, subject=CANDIDATE) == []


def test_each_project_has_its_own_chain(ws: Workspace, other: Workspace) -> None:
    evidence.append(ws, [measured("e1")])
    evidence.append(other, [measured("o1")])
    assert [entry.seq for entry in ledger.find(other)] == [1]
    assert [one.id for one in evidence.find(other)] == ["o1"]
    assert ledger.verify(ws) == ledger.verify(other) == 1
    assert ledger.head(ws) != ledger.head(other)


def test_entries_are_found_by_kind(filled: Workspace) -> None:
    assert [entry.seq for entry in ledger.find(filled, kind="evidence")] == [4, 3]
    assert [entry.seq for entry in ledger.find(filled, limit=2)] == [12, 11]
    newest = ledger.find(filled, kind="version", limit=1)[0]
    assert json.loads(newest.body)["name"] == "loans@v2"
