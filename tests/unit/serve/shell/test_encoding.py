import gzip
import random
import subprocess
import sys
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from trimtab.serve.reply import Refusal
from trimtab.serve.shell import encoding
from trimtab.serve.shell.encoding import deflate_for, inflate

MIB = 1 << 20


def raw_deflate(body):
    made = zlib.compressobj(6, zlib.DEFLATED, -15)
    return made.compress(body) + made.flush()


def zstd(body):
    return zstandard.ZstdCompressor().compress(body)


def streamed_zstd(body):
    """A frame that does not say how large it is."""
    made = zstandard.ZstdCompressor(level=3).compressobj()
    return made.compress(body) + made.flush()


WAYS = [
    ("gzip", gzip.compress),
    ("x-gzip", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("zstd", zstd),
    ("zstd", streamed_zstd),
    ("", bytes),
    ("identity", bytes),
]
each = pytest.mark.parametrize(
    ("name", "pack"), WAYS, ids=[f"{name or 'none'}-{pack.__name__}" for name, pack in WAYS]
)
packed = pytest.mark.parametrize(
    ("name", "pack"), WAYS[:6], ids=[f"{name}-{pack.__name__}" for name, pack in WAYS[:6]]
)
NAMES = st.sampled_from(["gzip", "deflate", "zstd", "identity"])


def refused(body, name, cap=MIB):
    with pytest.raises(Refusal) as caught:
        inflate(body, name, cap)
    return caught.value


def outcome(body, name, cap):
    try:
        return "fits" if len(inflate(body, name, cap)) <= cap else "too much"
    except Refusal as refusal:
        return refusal.status


@each
@given(body=st.binary(max_size=3000), times=st.integers(1, 40))
def test_what_was_packed_comes_out(name, pack, body, times):
    whole = body * times
    assert inflate(pack(whole), f" {name.upper()} ", len(whole)) == whole
    if whole:
        assert refused(pack(whole), name, len(whole) - 1).status == 413


@packed
@given(body=st.binary(min_size=1, max_size=400), data=st.data())
def test_what_is_cut_off_is_refused(name, pack, body, data):
    whole = pack(body)
    cut = data.draw(st.integers(0, len(whole) - 1))
    assert refused(whole[:cut], name).status == 400


@packed
@given(body=st.binary(max_size=200), more=st.binary(min_size=1, max_size=50))
def test_what_goes_on_after_its_end_is_refused(name, pack, body, more):
    assert refused(pack(body) + more, name).status == 400


@given(body=st.binary(max_size=2000), name=NAMES, cap=st.integers(0, 300))
def test_any_bytes_give_a_refusal_or_at_most_the_cap(body, name, cap):
    assert outcome(body, name, cap) in {"fits", 400, 413}


@given(body=st.binary(max_size=300), name=NAMES, data=st.data())
def test_damaged_bytes_give_a_refusal_or_at_most_the_cap(body, name, data):
    pack = dict(WAYS)[name]
    whole = bytearray(pack(body * 10))
    if whole:
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] ^= data.draw(st.integers(1, 255))
    assert outcome(bytes(whole), name, 1000) in {"fits", 400, 413}


class Counted:
    """A decompressor that counts what it makes."""

    made = 0

    def __init__(self, inner):
        self.inner = inner

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def decompress(self, *given):
        out = self.inner.decompress(*given)
        Counted.made += len(out)
        return out


@pytest.mark.parametrize(("name", "pack"), WAYS[:4])
def test_a_bomb_is_inflated_to_one_byte_beyond_the_cap(name, pack, monkeypatch):
    bomb = pack(b"\0" * (16 * MIB))
    cap = 100_000
    real = zlib.decompressobj
    Counted.made = 0
    monkeypatch.setattr(zlib, "decompressobj", lambda *given: Counted(real(*given)))
    assert refused(bomb, name, cap).status == 413
    assert Counted.made == cap + 1


@pytest.mark.slow
@pytest.mark.parametrize("pack", [zstd, streamed_zstd])
def test_a_zstd_bomb_costs_no_memory(tmp_path, pack):
    """Measured from outside, in a process of its own."""
    bomb = tmp_path / "bomb"
    bomb.write_bytes(pack(b"\0" * (256 * MIB)))
    code = (
        "import resource, sys; from trimtab.serve.shell.encoding import inflate\n"
        "from trimtab.serve.reply import Refusal\n"
        "inflate(bytes.fromhex('28b52ffd2000010000'), 'zstd', 9)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "body = open(sys.argv[1], 'rb').read()\n"
        "try: inflate(body, 'zstd', 1 << 20)\n"
        "except Refusal as refusal: print(refusal.status)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(bomb)], capture_output=True, text=True, check=True
    )
    status, grown = map(int, done.stdout.split())
    assert status == 413
    assert grown < 24 * 1024


def test_a_frame_that_lies_about_its_size_gives_no_more():
    body = bytearray(zstd(b"a" * 70_000))
    assert zstandard.get_frame_parameters(bytes(body)).content_size == 70_000
    body[5:9] = (10).to_bytes(4, "little")
    assert refused(bytes(body), "zstd", 1000).status in (400, 413)


def test_a_frame_that_wants_a_window_beyond_the_standard_is_refused():
    parameters = zstandard.ZstdCompressionParameters(window_log=27, strategy=1)
    made = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    body = made.compress(random.Random(0).randbytes(100)) + made.flush()
    assert refused(body, "zstd").status == 400


def test_a_large_frame_of_one_segment_is_read():
    body = b"a" * (20 * MIB)
    assert inflate(zstd(body), "zstd", 32 * MIB) == body


def test_members_of_gzip_follow_each_other():
    body = gzip.compress(b"ab") + gzip.compress(b"") + gzip.compress(b"cd")
    assert inflate(body, "gzip", 4) == b"abcd"
    assert refused(body, "gzip", 3).status == 413
    assert refused(gzip.compress(b"") * 100_000, "gzip").status == 400


def test_raw_deflate_that_looks_like_zlib_is_read_all_the_same():
    body = b"\x78\x9c" + raw_deflate(b"")
    assert refused(body, "deflate").status in (400, 413)
    stored = bytes([0x08, 0x1D])  # passes zlib's header check, and is no zlib
    assert int.from_bytes(stored) % 31 == 0
    assert refused(stored, "deflate").status == 400


@pytest.mark.parametrize("name", ["br", "gzip, gzip", "gzip,deflate", "compress", "gzip;q=1", "é"])
def test_what_is_not_read_is_told_with_what_is(name):
    refusal = refused(b"x", name)
    assert refusal.status == 415
    assert refusal.headers == {"accept-encoding": encoding.ACCEPTED}


ANSWER = b'{"score":0.5,"decision":"yes"},' * 100


@pytest.mark.parametrize(
    ("accept", "name"),
    [
        ("", ""),
        ("gzip", "gzip"),
        ("GZip", "gzip"),
        ("x-gzip", "gzip"),
        ("gzip, deflate", "gzip"),
        ("deflate, gzip;q=0.5", "deflate"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("zstd;q=0.8, gzip;q=0.9", "gzip"),
        ("br", ""),
        ("*", "zstd"),
        ("*;q=0.5, zstd;q=0", "gzip"),
        ("gzip;q=0", ""),
        ("gzip;q=0.000", ""),
        ("gzip; q=0.5 ; x=1", "gzip"),
        ("identity, gzip;q=0.5", ""),
        ("identity;q=0.5, gzip", "gzip"),
        ("identity;q=0", ""),
        ("identity;q=0, *", "zstd"),
        ("gzip;q=2", ""),
        ("gzip;q=nan", ""),
        ("gzip;q=", ""),
        (",,;;=", ""),
        ("gzip," * 200, ""),
    ],
)
def test_the_client_is_asked_what_it_likes(accept, name):
    made, told = deflate_for(accept, ANSWER)
    assert told == name
    assert inflate(made, told, len(ANSWER)) == ANSWER
    assert (len(made) < len(ANSWER)) == bool(name)


def test_small_answers_and_those_that_would_grow_stay_as_they_are():
    small = ANSWER[: encoding.WORTH - 1]
    assert deflate_for("gzip", small) == (small, "")
    assert deflate_for("gzip", small, worth=100)[1] == "gzip"
    noise = random.Random(0).randbytes(4000)
    for name in ("gzip", "deflate", "zstd"):
        assert deflate_for(name, noise) == (noise, "")


@given(st.text(max_size=60), st.binary(max_size=2000))
def test_any_accept_gives_an_answer_that_can_be_read(accept, body):
    made, name = deflate_for(accept, body, worth=0)
    assert inflate(made, name, len(body)) == body


@given(st.lists(st.tuples(NAMES, st.integers(0, 1000)), max_size=5, unique_by=lambda x: x[0]))
def test_nothing_is_sent_that_was_refused(asked):
    accept = ", ".join(f"{name};q={weight / 1000}" for name, weight in asked)
    _, name = deflate_for(accept, ANSWER)
    weights = dict(asked)
    if name:
        assert weights[name] == max(weights.values()) > 0
    else:
        best = max((w for n, w in asked if n != "identity"), default=0)
        assert best == 0 or weights.get("identity", 0) > best
