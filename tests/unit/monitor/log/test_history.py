"""Segments and Parquet files as one log: every row once, wherever it is."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from hashlib import blake2b
from pathlib import Path

import msgspec
import numpy as np
import pytest

from trimtab import ids
from trimtab.errors import ConflictError, IntegrityError
from trimtab.model.signature import Column, Signature
from trimtab.monitor.log import catalogue, compaction, history
from trimtab.monitor.log.catalogue import HOUR
from trimtab.serve.logged import frame as bytes_of
from trimtab.serve.logged import log as logs
from trimtab.serve.logged.frame import Frame, Part
from trimtab.serve.logged.log import Log
from trimtab.serve.process import started

SIGNED = Signature(
    task="binary",
    engine="onnx",
    inputs=(Column(name="x", kind="number"),),
    context=(Column(name="group", kind="text"),),
    classes=("no", "yes"),
    positive="yes",
)
NOW = 480_000 * HOUR
DOCS = Path(__file__).parents[4] / "docs"


def frame(names, *, model="m1", role="champion", received=NOW, label="", **fields) -> Frame:
    count = len(names)
    return Frame(
        ids=tuple(names),
        request=f"r-{names[0]}" if names else "r",
        received_at=received,
        endpoint="goods",
        role=role,
        model=model,
        label=label or f"goods@v{model[1:]}",
        contract="predict",
        numbers=bytes_of.pack_numbers({"x": np.arange(count, dtype=float)}),
        score=np.full(count, 0.5, "<f4").tobytes(),
        decision=["yes"] * count,
        **fields,
    )


def take_in(index) -> dict[str, int]:
    """What the monitor does, without a store."""
    cursor = history.ends(index)
    for group in history.fresh(index, cursor):
        with index.transaction():
            for piece in group:
                catalogue.add_block(index, piece.block, piece.frames)
    return history.ends(index)


def compact(index, **how):
    return compaction.compact(index, lambda model: SIGNED, take_in(index), **how)


@pytest.fixture
def dead(monkeypatch):
    """Whoever wrote a segment is gone."""
    monkeypatch.setattr(compaction, "_lives", lambda *_: False)


@pytest.fixture
def index(tmp_path):
    with catalogue.open_catalogue(tmp_path) as found:
        yield found


def write(index, frames, *, each: int = 1 << 20) -> None:
    log = Log(index.log, "goods", segment_bytes=each)
    for one in frames:
        log.append([one])
    log.close()


def read(index, model="m1", **how):
    return sorted(history.read(index, SIGNED, model, tail=True, **how).ids)


def looked_up(index, names):
    found = history.lookup(index, names, lambda model: SIGNED, ["group"])
    return {key: sorted(rows.ids) for key, rows in found.items()}


def test_rows_are_read_from_segments_before_they_were_taken_in(index):
    write(index, [frame(["a", "b"]), frame(["c"], model="m2"), frame([], status=422)])
    assert read(index) == ["a", "b"]
    assert history.read(index, SIGNED, "m1").rows == 0
    assert history.find(index, "c")["model"] == "m2"


@pytest.mark.slow
def test_a_row_is_found_once_at_every_stage_of_its_life(index, dead):
    own = [ids.new_id() for _ in range(40)]
    write(index, [frame([name], received=NOW + i * HOUR // 10) for i, name in enumerate(own)])
    write(index, [frame(["mine"]), frame(["mine"], role="shadow", model="m2")])
    for stage in (lambda: None, lambda: take_in(index), lambda: compact(index)):
        stage()
        assert read(index) == sorted([*own, "mine"])
        assert read(index, "m2", shadow=True) == ["mine"]
        assert history.find(index, own[3])["prediction_id"] == own[3]
    assert logs.segments(index.log) == []
    expected = {("m1", False): sorted([*own, "mine"]), ("m2", True): ["mine"]}
    assert looked_up(index, [*own, "mine", "nobody", ids.new_id()]) == expected
    assert history.find(index, "mine")["role"] == "champion"
    assert history.find(index, "nobody") is None


def test_lookups_before_compaction_read_only_the_pieces_that_hold_the_ids(index, monkeypatch):
    monkeypatch.setattr(history, "BLOCK_BYTES", 2_000)
    names = [ids.new_id() for _ in range(200)]
    write(index, [frame([name]) for name in names])
    take_in(index)
    place = catalogue.places(index, [names[5], names[150]])
    assert len(place.blocks) == 2 and place.files == {}
    assert looked_up(index, [names[5], names[150]]) == {
        ("m1", False): sorted([names[5], names[150]])
    }


def test_files_lie_by_model_version_and_hour(index, dead):
    some = [
        frame(["a"], received=NOW),
        frame(["b"], received=NOW + HOUR),
        frame(["c"], model="m2"),
        frame(["d"], label="odd/../name"),
        frame(["e"], label=".."),
    ]
    write(index, some)
    done = compact(index)
    assert (done.segments, done.rows, done.files) == (1, 5, 5)
    hour = ids.to_datetime(NOW).strftime("%Y-%m-%dT%H")
    after = ids.to_datetime(NOW + HOUR).strftime("%Y-%m-%dT%H")
    found = {str(p.parent.relative_to(index.folder)) for p in index.folder.rglob("*.parquet")}
    assert found == {
        f"history/goods/v1/{hour}",
        f"history/goods/v1/{after}",
        f"history/goods/v2/{hour}",
        f"history/odd%2F..%2Fname/_/{hour}",
        f"history/%2E./_/{hour}",
    }
    assert read(index) == ["a", "b", "d", "e"]


def test_a_column_that_a_rule_made_text_of_is_read_with_the_numbers_before(index, dead):
    """A rule of `[serve] pii` that hashes a column from some day on; in files, and beside a segment."""
    write(index, [frame(["a", "b"])])
    compact(index)
    hashed = msgspec.structs.replace(
        frame(["c"], received=NOW + HOUR), numbers={}, words={"x": ["0f"]}
    )
    write(index, [hashed])
    for _ in "ab":
        rows = history.read(index, SIGNED, "m1", tail=True)
        cells = dict(zip(rows.ids, rows.columns["x"].tolist(), strict=True))
        assert cells == {"a": 0.0, "b": 1.0, "c": "0f"}
        take_in(index)
        found = history.lookup(index, ["a", "c"], lambda model: SIGNED, ["x"])
        assert sorted(found["m1", False].columns["x"].tolist(), key=str) == [0.0, "0f"]
        compact(index)
    for one in (msgspec.structs.replace(hashed, ids=("d",)), frame(["e"], received=NOW + HOUR)):
        write(index, [one])
    compact(index)
    page = (DOCS / "formats" / "prediction-log.md").read_text()
    (code,) = [x.split("```")[0] for x in page.split("```python\n")[1:] if "read_parquet" in x]
    found: dict = {}
    exec(code.replace("endpoints/NAME", str(index.folder)), found)
    texts = dict(found["history"].select("prediction_id", "input_x").rows())
    assert texts == {"a": "0.0", "b": "1.0", "c": "0f", "d": "0f", "e": "0.0"}


def test_late_rows_of_an_hour_go_to_further_files(index, dead):
    write(index, [frame(["a"])])
    compact(index)
    write(index, [frame(["b"])])
    compact(index)
    assert len(list(index.folder.rglob("*.parquet"))) == 2
    assert read(index) == ["a", "b"]
    assert compact(index) == compaction.Compacted()


def test_event_times_bound_what_is_read(index, dead):
    write(index, [frame(["a", "b"], event_times=(10, 20)), frame(["c"], event_times=(30,))])
    for stage in (lambda: take_in(index), lambda: compact(index)):
        stage()
        assert read(index, since=20, until=30) == ["b"]
        assert read(index, since=11) == ["b", "c"]
        assert read(index, until=20) == ["a"]
    assert catalogue.files_in(index, "m1", 31, 99) == []


def test_requests_scored_together_keep_their_own_ids_times_and_latencies(index, dead):
    parts = (Part("q", 2, NOW + 1, 11), Part("r", 1, NOW + 2, 22))
    write(index, [frame(["a", "b", "c"], parts=parts)])
    compact(index)
    found = history.read(index, SIGNED, "m1")
    assert found.times.tolist() == found.received.tolist() == [NOW + 1, NOW + 1, NOW + 2]
    assert found.latency_us.tolist() == [11, 11, 22]
    assert history.find(index, "c")["request"] == "r"


def test_a_segment_that_somebody_writes_is_left_alone(index):
    log = Log(index.log, "goods", segment_bytes=300)
    for name in "abcdef":
        log.append([frame([name])])
    before = logs.segments(index.log)
    assert len(before) > 2
    assert compact(index).segments == len(before) - 1
    assert logs.segments(index.log) == before[-1:]
    log.append([frame(["g"])])
    log.close()
    take_in(index)
    assert read(index) == list("abcdefg")


def test_what_a_reader_has_not_passed_is_left_alone(index, dead):
    write(index, [frame(["a"])])
    (path,) = logs.segments(index.log)
    assert compaction.compact(index, lambda _: SIGNED, {path.name: 10**9}).segments == 0
    passed = take_in(index)
    assert compaction.compact(index, lambda _: SIGNED, {}).segments == 0
    write(index, [frame(["late"])])
    assert compaction.compact(index, lambda _: SIGNED, passed).segments == 1
    assert read(index) == ["a", "late"]


def rewrite_header(path, **changes):
    data = path.read_bytes()
    header, end = bytes_of.unpack_header(data)
    path.write_bytes(bytes_of.pack_header(msgspec.structs.replace(header, **changes)) + data[end:])


def test_a_recycled_pid_is_not_taken_for_the_writer(index):
    log = Log(index.log, "goods")
    log.append([frame(["a"])])
    (path,) = logs.segments(index.log)
    assert compaction.closed(index.log) == []
    rewrite_header(path, pid=os.getppid())
    assert started(os.getppid())
    assert compaction.closed(index.log) == [path]
    log.close()


def test_a_clock_that_was_set_forward_does_not_end_a_writer(index):
    log = Log(index.log, "goods")
    log.append([frame(["a"])])
    (path,) = logs.segments(index.log)
    rewrite_header(path, created_at=ids.now() - 10**12)
    assert compaction.closed(index.log) == []
    log.close()
    assert compaction.closed(index.log) == [path]


def test_a_torn_tail_goes_with_its_segment(index, dead):
    write(index, [frame(["a"])])
    (path,) = logs.segments(index.log)
    with path.open("ab") as stream:
        stream.write(bytes_of.pack(frame(["torn"]))[:-3])
    assert compact(index).rows == 1
    assert (read(index), logs.segments(index.log)) == (["a"], [])


def test_frames_behind_a_segment_that_was_taken_for_closed_are_not_lost(index, monkeypatch):
    """Should a writer live after all, what it appends is read and compacted in its turn."""
    monkeypatch.setattr(compaction, "_lives", lambda *_: False)
    log = Log(index.log, "goods")
    log.append([frame(["a"])])
    real = compaction._store

    def store(*arguments):
        log.append([frame(["b"])])
        return real(*arguments)

    monkeypatch.setattr(compaction, "_store", store)
    compact(index)
    monkeypatch.setattr(compaction, "_store", real)
    assert read(index) == ["a", "b"]
    log.close()
    take_in(index)
    assert read(index) == ["a", "b"]
    assert compact(index).rows == 1
    assert (read(index), logs.segments(index.log)) == (["a", "b"], [])


def test_old_files_are_let_go_and_their_ids_with_them(index, dead):
    names = [ids.new_id(), "theirs"]
    write(index, [frame([name], received=NOW - 100 * HOUR) for name in names])
    compact(index)
    write(index, [frame(["young"])])
    compact(index)
    done = compact(index, keep=50 * HOUR, now=NOW)
    assert done.removed == 1
    assert read(index) == ["young"]
    assert looked_up(index, names) == {}
    (keys,) = index.db.execute("SELECT COUNT(*) FROM keys").fetchone()
    assert keys == 1
    assert len(list(index.folder.rglob("*.parquet"))) == 1


def test_two_compactions_at_once_are_one(index, dead):
    write(index, [frame(["a"])])
    with compaction._alone(index.folder / catalogue.FOLDER), pytest.raises(ConflictError):
        compact(index)
    assert compact(index).rows == 1


def test_a_reader_that_meets_a_compaction_reads_again(index, dead, monkeypatch, tmp_path):
    write(index, [frame([name]) for name in "abc"])
    take_in(index)
    real, moved = logs.read_segment, []

    def meanwhile(*arguments):
        if not moved:
            moved.append(True)
            with catalogue.open_catalogue(tmp_path) as other:
                compaction.compact(other, lambda _: SIGNED, history.ends(other))
        return real(*arguments)

    monkeypatch.setattr(logs, "read_segment", meanwhile)
    assert read(index) == ["a", "b", "c"]
    assert logs.segments(index.log) == []


def test_a_file_that_is_gone_is_an_error_and_no_silence(index, dead):
    write(index, [frame(["a"])])
    compact(index)
    next(iter(index.folder.rglob("*.parquet"))).unlink()
    with pytest.raises(IntegrityError, match="parquet"):
        read(index)


def test_a_compaction_that_dies_before_it_commits_leaves_the_segments(index, dead, monkeypatch):
    write(index, [frame(["a"])])

    def dies(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(catalogue, "add_batch", dies)
    with pytest.raises(KeyboardInterrupt):
        compact(index)
    monkeypatch.undo()
    assert len(list(index.folder.rglob("*.parquet"))) == 1
    assert read(index) == ["a"]
    monkeypatch.setattr(compaction, "_lives", lambda *_: False)
    compact(index)
    assert len(list(index.folder.rglob("*.parquet"))) == 1
    assert (read(index), logs.segments(index.log)) == (["a"], [])


def test_a_compaction_that_dies_before_it_removes_the_segments_is_finished(
    index, dead, monkeypatch
):
    write(index, [frame(["a"])])
    (path,) = logs.segments(index.log)
    data = path.read_bytes()
    compact(index)
    path.write_bytes(data)
    with index.transaction():
        index.db.execute("INSERT INTO covered VALUES (?, ?)", (path.name, len(data)))
    assert read(index) == ["a"]
    assert list(history.fresh(index, {})) == []
    assert compact(index).rows == 0
    assert (read(index), logs.segments(index.log)) == (["a"], [])
    assert catalogue.covered(index) == {}


def test_taking_in_again_changes_nothing(index):
    write(index, [frame(["a", ids.new_id()])])
    (group,) = history.fresh(index, {})
    for _ in range(2):
        with index.transaction():
            for piece in group:
                catalogue.add_block(index, piece.block, piece.frames)
    assert list(history.fresh(index, history.ends(index))) == []
    assert looked_up(index, ["a"]) == {("m1", False): ["a"]}


def test_our_ids_are_ordered_by_time_and_others_are_negative():
    names = [ids.new_id() for _ in range(50)]
    keys = [catalogue.key_of(name) for name in names]
    assert keys == sorted(keys) and keys[0] > 0
    assert catalogue.hour_of(keys[0]) == int(names[0][:12], 16) // 3_600_000
    for name in ("", "a-17", "f" * 32, names[0].upper(), "0" * 32):
        assert -(2**63) <= catalogue.key_of(name) < 0
    assert (
        catalogue.key_of("a") == -(int.from_bytes(blake2b(b"a", digest_size=8).digest()) >> 1) - 1
    )


def test_a_newer_index_is_refused(tmp_path):
    with catalogue.open_catalogue(tmp_path):
        pass
    with contextlib.closing(sqlite3.connect(tmp_path / "history" / "index.db")) as db:
        db.execute("PRAGMA user_version = 9")
    with pytest.raises(ConflictError, match="format 9"), catalogue.open_catalogue(tmp_path):
        pass
