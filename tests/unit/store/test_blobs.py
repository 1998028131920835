"""Both implementations of the blobs port, and what is particular to the folder."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from trimtab import hashing
from trimtab.errors import IntegrityError, NotFoundError, StorageError
from trimtab.store.blobs import LocalBlobs
from trimtab.testing.blobs import BlobsConformance, Damage
from trimtab.testing.memory import MemoryBlobs


class TestLocalBlobs(BlobsConformance):
    @pytest.fixture
    def blobs(self, tmp_path: Path) -> LocalBlobs:
        return LocalBlobs(tmp_path / "store")

    @pytest.fixture
    def damage(self, blobs: LocalBlobs) -> Damage:
        def change(digest: str) -> None:
            path = blobs.path(digest)
            path.chmod(0o644)
            path.write_bytes(path.read_bytes()[:-1] + b"!")

        return change


class TestMemoryBlobs(BlobsConformance):
    @pytest.fixture
    def blobs(self) -> Iterator[MemoryBlobs]:
        place = MemoryBlobs()
        yield place
        place.close()

    @pytest.fixture
    def damage(self, blobs: MemoryBlobs) -> Damage:
        def change(digest: str) -> None:
            blobs._data[digest] = b"!"

        return change


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path)


def test_objects_lie_where_the_format_says(blobs: LocalBlobs, tmp_path: Path) -> None:
    name = hashing.digest("blob", b"data").removeprefix("blake3:")
    blobs.put(b"data")
    assert (tmp_path / "blobs" / name[:2] / name[2:]).read_bytes() == b"data"
    assert list((tmp_path / "tmp").iterdir()) == []


def test_files_that_are_no_objects_are_passed_over(blobs: LocalBlobs, tmp_path: Path) -> None:
    digest = blobs.put(b"data")
    blobs.path(digest).with_name("backup~").write_bytes(b"data")
    (tmp_path / "blobs" / "README").write_text("hello")
    (tmp_path / "blobs" / "lost+found").mkdir()
    (tmp_path / "blobs" / "lost+found" / ("a" * 62)).write_text("hello")
    assert list(blobs.digests()) == [digest]


def test_what_a_dead_writer_left_is_no_blob(blobs: LocalBlobs, tmp_path: Path) -> None:
    (tmp_path / "tmp" / "0190").write_bytes(b"half of som")
    assert list(blobs.digests()) == []
    assert list(LocalBlobs(tmp_path).digests()) == []


def test_a_changed_object_names_its_file(blobs: LocalBlobs) -> None:
    path = blobs.path(blobs.put(b"data"))
    path.chmod(0o644)
    path.write_bytes(b"d@ta")
    with pytest.raises(IntegrityError) as caught:
        blobs.verify(hashing.digest("blob", b"data"))
    assert hashing.digest("blob", b"d@ta") in caught.value.message
    assert str(path) in caught.value.hint


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_a_disk_that_refuses_leaves_nothing(
    blobs: LocalBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_args: object) -> None:
        raise OSError(code, "refused by the test")

    (tmp_path / "source").write_bytes(b"data")
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", refuse)
        for put in (lambda: blobs.put(b"data"), lambda: blobs.put_file(tmp_path / "source")):
            with pytest.raises(StorageError) as caught:
                put()
            assert ("full" in caught.value.message) == (code in (errno.ENOSPC, errno.EDQUOT))
    assert list((tmp_path / "tmp").iterdir()) == []
    assert list(blobs.digests()) == []
    assert blobs.read(blobs.put(b"data")) == b"data"


def test_an_unreadable_object_is_damage(blobs: LocalBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = blobs.put(b"data")

    def fail(*_args: object) -> str:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(hashing, "file_digest", fail)
    with pytest.raises(IntegrityError, match="cannot be read"):
        blobs.verify(digest)


def test_no_name_leads_out_of_the_folder(blobs: LocalBlobs, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    for name in ("../secret", "blake3:../../secret", f"blake3:{'A' * 64}"):
        assert not blobs.has(name)
        with pytest.raises(NotFoundError):
            blobs.read(name)
