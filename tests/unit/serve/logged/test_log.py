import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.errors import IntegrityError, StorageError
from trimtab.serve.logged import frame as bytes_of
from trimtab.serve.logged import log
from trimtab.serve.logged.frame import Frame, Header, Part
from trimtab.serve.logged.log import Log

GOLDEN = Path(__file__).parents[3] / "golden" / "prediction-log-v1.predictions"


def frame(name="a", rows=1, **changes) -> Frame:
    values = {
        "ids": tuple(f"{name}{i}" for i in range(rows)),
        "request": name,
        "received_at": 1_700_000_000_000_000,
        "endpoint": "loans",
        "role": "champion",
        "model": "blake3:" + "0" * 64,
        "label": "loans@v1",
        "contract": "predict",
        "numbers": bytes_of.pack_numbers({"debt": np.arange(float(rows))}),
        "words": {"purpose": ["car"] * rows},
        "score": np.full(rows, 0.5, dtype="<f4").tobytes(),
        "decision": ["yes"] * rows,
    }
    return Frame(**(values | changes))


def names(folder):
    return [x.request for x in log.read(folder)[0]]


texts = st.text(max_size=20)
frames = st.builds(
    Frame,
    ids=st.lists(texts, max_size=4).map(tuple),
    request=texts,
    received_at=st.integers(0, 2**62),
    endpoint=texts,
    role=st.sampled_from(["champion", "canary", "shadow"]),
    model=texts,
    label=texts,
    contract=texts,
    status=st.integers(200, 599),
    latency_us=st.integers(0, 2**40),
    event_times=st.lists(st.integers(0, 2**62), max_size=4).map(tuple),
    numbers=st.dictionaries(texts, st.binary(max_size=32), max_size=3),
    words=st.dictionaries(texts, st.lists(st.none() | texts, max_size=4), max_size=3),
    context=st.dictionaries(texts, st.lists(st.none() | texts | st.booleans(), max_size=3)),
    score=st.binary(max_size=16),
    decision=st.lists(texts | st.booleans() | st.integers(-9, 9), max_size=4),
    error=texts,
    parts=st.lists(
        st.builds(Part, texts, st.integers(0, 9), st.integers(0, 2**62), st.integers(0, 2**40)),
        max_size=3,
    ).map(tuple),
)


@pytest.mark.slow
@given(st.lists(frames, max_size=6), st.data())
def test_any_truncation_leaves_a_prefix_of_the_frames(listed, data):
    whole = bytes_of.pack_header(Header(endpoint="e", pid=1, created_at=2))
    ends = [len(whole)]
    for one in listed:
        whole += bytes_of.pack(one)
        ends.append(len(whole))
    cut = data.draw(st.integers(0, len(whole)))
    torn = whole[:cut]
    header = bytes_of.unpack_header(torn)
    if cut < ends[0]:
        assert header is None
        return
    place, read = header[1], []
    while (found := bytes_of.unpack(torn, place)) is not None:
        read.append(found[0])
        place = found[1]
    kept = sum(end <= cut for end in ends) - 1
    assert read == listed[:kept]
    assert place == ends[kept]


@pytest.mark.slow
@given(frames, frames, st.data())
def test_any_changed_byte_is_seen(first, second, data):
    whole = bytearray(bytes_of.pack(first) + bytes_of.pack(second))
    place = data.draw(st.integers(0, len(bytes_of.pack(first)) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    try:
        found = bytes_of.unpack(bytes(whole), 0)
    except IntegrityError:
        return
    # A longer length can look like a frame that is still being written; never like an answer.
    assert found is None


def test_what_is_appended_is_read_in_order(tmp_path):
    writer = Log(tmp_path, "loans")
    writer.append([frame("a"), frame("b", 3)])
    writer.append([frame("c")])
    found, cursor = log.read(tmp_path)
    assert [x.request for x in found] == ["a", "b", "c"]
    assert found[1] == frame("b", 3)
    assert log.read(tmp_path, cursor) == ([], cursor)
    writer.append([frame("d")])
    assert [x.request for x in log.read(tmp_path, cursor)[0]] == ["d"]


def test_a_log_that_does_not_exist_yet_is_empty(tmp_path):
    assert log.read(tmp_path / "none") == ([], {})


def test_a_reader_may_stop_anywhere_and_go_on(tmp_path):
    writer = Log(tmp_path, "loans", segment_bytes=2_000)
    for index in range(30):
        writer.append([frame(f"r{index:02}")])
    assert len(log.segments(tmp_path)) > 3
    seen, cursor = [], {}
    while True:
        found, cursor = log.read(tmp_path, cursor, max_bytes=700)
        if not found:
            break
        assert len(found) < 10
        seen += [x.request for x in found]
    assert seen == [f"r{index:02}" for index in range(30)]


def test_a_frame_longer_than_the_reading_limit_is_read_whole(tmp_path):
    Log(tmp_path, "loans").append([frame("big", 5_000)])
    found, _ = log.read(tmp_path, max_bytes=100)
    assert [x.rows for x in found] == [5_000]


def test_a_reader_waits_for_a_frame_that_is_being_written(tmp_path):
    data = bytes_of.pack(frame("late"))
    Log(tmp_path, "loans").append([frame("a")])
    (path,) = log.segments(tmp_path)
    _, cursor = log.read(tmp_path)
    with path.open("ab") as stream:
        for byte in data[:-1]:
            stream.write(bytes([byte]))
        stream.flush()
        assert log.read(tmp_path, cursor) == ([], cursor)
        stream.write(data[-1:])
    assert [x.request for x in log.read(tmp_path, cursor)[0]] == ["late"]


def test_a_new_process_never_writes_behind_a_torn_tail(tmp_path):
    Log(tmp_path, "loans").append([frame("a"), frame("torn")])
    (path,) = log.segments(tmp_path)
    os.truncate(path, path.stat().st_size - 5)
    Log(tmp_path, "loans").append([frame("b")])
    assert names(tmp_path) == ["a", "b"]
    assert len(log.segments(tmp_path)) == 2


def test_a_changed_byte_is_reported_with_its_place(tmp_path):
    Log(tmp_path, "loans").append([frame("a"), frame("b")])
    (path,) = log.segments(tmp_path)
    data = bytearray(path.read_bytes())
    data[data.index(b"loans@v1") + 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match=rf"{path.name} at byte \d+: .* checksum"):
        log.read(tmp_path)


def test_strange_files_are_refused(tmp_path):
    (tmp_path / f"x{log.SUFFIX}").write_bytes(b"something else entirely, for sure")
    with pytest.raises(IntegrityError, match="no segment"):
        log.read(tmp_path)


def test_a_newer_format_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(bytes_of, "FORMAT", 3)
    Log(tmp_path, "loans").append([frame("a")])
    monkeypatch.undo()
    with pytest.raises(IntegrityError, match="format 3"):
        log.read(tmp_path)


def test_a_removed_segment_leaves_the_cursor(tmp_path):
    Log(tmp_path, "loans").append([frame("a")])
    _, cursor = log.read(tmp_path)
    log.segments(tmp_path)[0].unlink()
    assert log.read(tmp_path, cursor) == ([], {})


@pytest.fixture
def limited():
    """Let files grow to a size and no further, as a full disk does: the last write is partial."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_partial_write_leaves_nothing_behind(tmp_path, limited):
    writer = Log(tmp_path, "loans")
    writer.append([frame("a")])
    (path,) = log.segments(tmp_path)
    size = path.stat().st_size
    limited(size + 100)
    with pytest.raises(StorageError, match="prediction log cannot be written") as caught:
        writer.append([frame("lost")])
    limited(resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    assert "make room" in caught.value.hint
    assert path.stat().st_size == size
    writer.append([frame("b")])
    assert names(tmp_path) == ["a", "b"]


def test_a_segment_that_cannot_begin_leaves_no_file(tmp_path, limited):
    writer = Log(tmp_path, "loans")
    limited(10)
    with pytest.raises(StorageError):
        writer.append([frame("lost")])
    limited(resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    assert log.segments(tmp_path) == []
    writer.append([frame("a")])
    assert names(tmp_path) == ["a"]


def test_a_full_disk_is_an_error_and_then_heals(tiny_disk):
    writer = Log(tiny_disk / "log", "loans")
    stored = 0
    with pytest.raises(StorageError, match="No space left|bytes were written"):
        for index in range(1_000):
            writer.append([frame(f"r{index}", 100)])
            stored += 1
    assert len(names(tiny_disk / "log")) == stored > 0
    log.segments(tiny_disk / "log")[0].unlink()
    writer.close()
    writer.append([frame("again")])
    assert names(tiny_disk / "log")[-1] == "again"


def test_where_a_partial_write_cannot_be_taken_back_the_segment_ends(tmp_path, monkeypatch):
    writer = Log(tmp_path, "loans")
    writer.append([frame("a")])
    real = os.write

    def half(file, data):
        return real(file, data[: len(data) // 2])

    def stuck(file, size):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half)
        patch.setattr(os, "ftruncate", stuck)
        with pytest.raises(StorageError):
            writer.append([frame("torn")])
    writer.append([frame("b")])
    assert names(tmp_path) == ["a", "b"]


def test_a_read_only_folder_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        Log(tmp_path / "file" / "log", "loans").append([frame("a")])


def test_a_segment_of_format_1_reads_as_it_always_did(tmp_path):
    (tmp_path / GOLDEN.name).write_bytes(GOLDEN.read_bytes())
    found, _ = log.read(tmp_path)
    expected = msgspec.json.decode(GOLDEN.with_suffix(".json").read_bytes(), type=list[Frame])
    assert found == expected
    assert found[0].column("income").tolist()[0] == 1234.5
    assert found[0].scores().shape == (2,)
    assert found[1].scores().shape == (1, 3)
    assert found[2].status == 422


@pytest.mark.slow
def test_reading_the_log_loads_no_model_runtime():
    code = (
        "import sys; import trimtab.serve.logged.log, trimtab.serve.routes, trimtab.serve.folder;"
        "print(*{'onnxruntime', 'polars', 'sklearn', 'uvicorn', 'sqlalchemy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
