from __future__ import annotations

import hashlib

import msgspec
import pytest
from blake3 import blake3

from trimtab import hashing
from trimtab.config import DataConfig
from trimtab.data import record
from trimtab.data.record import FileRecord, SourceRecord
from trimtab.data.sources import Fetched, SourceFile
from trimtab.errors import DataError

HEX = "ab" * 32


def fetched(put, *names: str) -> Fetched:
    files = tuple(SourceFile(name=name, path=put(name, name), mtime=5) for name in names)
    return Fetched(uri="postgresql://me:secret@host/db", files=files)


def files(*names: str) -> tuple[FileRecord, ...]:
    return tuple(
        FileRecord(name=name, size=len(name), digest=f"blake3:{HEX}", mtime=5) for name in names
    )


def test_what_nobody_said_is_unknown(put):
    made = record.make(DataConfig(source="x"), fetched(put, "a.csv"), files("a.csv"), 1_000_000)
    shown = record.shown(made)
    for field in ("version", "licence", "collector", "method", "checksum", "retention"):
        assert shown[field] == "unknown"
    assert shown["personal data"] == "unknown"
    assert shown["fetched"] == "1970-01-01T00:00:01Z"
    assert "secret" not in msgspec.json.encode(made).decode()


def test_what_was_said_is_kept(put):
    sha = hashlib.sha256(b"a.csv").hexdigest()
    config = DataConfig(
        source="x",
        licence="CC-BY-4.0",
        collector="branch office",
        method="form",
        checksum=f"sha256:{sha}",
        pii=("name",),
        retention_days=365,
    )
    made = record.make(config, fetched(put, "a.csv"), files("a.csv"), 0)
    shown = record.shown(made)
    assert shown["checksum"] == f"sha256:{sha} (verified)"
    assert (shown["personal data"], shown["retention"]) == ("name", "365 days")
    assert msgspec.convert(msgspec.to_builtins(made), SourceRecord) == made


def test_checksums_are_of_the_bytes_as_the_common_tools_print_them(put):
    one = {"a": put("a", "one")}
    two = {"b": put("b", "two"), **one}
    record.verify(f"sha256:{hashlib.sha256(b'one').hexdigest()}", one)
    record.verify(f"sha256:{hashlib.sha256(b'one').hexdigest().upper()}", one)
    record.verify(f"blake3:{blake3(b'one').hexdigest()}", one)
    record.verify(hashing.digest("blob", b"one"), one)
    record.verify(f"sha256:{hashlib.sha256(b'onetwo').hexdigest()}", two)


def test_another_checksum_is_refused(put):
    with pytest.raises(DataError, match="the checksum is sha256:") as caught:
        record.verify(f"sha256:{HEX}", {"a.csv": put("a.csv", "one")})
    assert "a.csv" in caught.value.message


@pytest.mark.parametrize("declared", ["md5:abc", HEX, f"sha256:{HEX[:-1]}"])
def test_a_checksum_that_cannot_be_verified_is_refused(declared, put):
    with pytest.raises(DataError, match="is not one that can be verified"):
        record.verify(declared, {"a": put("a", "one")})
