"""What every place for blobs must satisfy: subclass, give it a fresh place, and run pytest."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from trimtab import hashing
from trimtab.errors import IntegrityError, NotFoundError, StorageError
from trimtab.store.blobs import Blobs

Damage = Callable[[str], None]
_SIZES = (0, 1, 4095, 1 << 20, (1 << 20) + 1)


class BlobsConformance:
    """Implementers override both fixtures.

    `blobs` is an empty place, `damage` changes the stored bytes of a digest behind its back.
    """

    @pytest.fixture
    def blobs(self, tmp_path: Path) -> Blobs:
        raise NotImplementedError

    @pytest.fixture
    def damage(self, blobs: Blobs) -> Damage:
        raise NotImplementedError

    @pytest.mark.parametrize("size", _SIZES)
    def test_bytes_come_back_under_their_digest(self, blobs: Blobs, size: int) -> None:
        data = _bytes(size)
        digest = blobs.put(data)
        assert digest == hashing.digest("blob", data)
        assert blobs.read(digest) == data
        assert blobs.size(digest) == size
        assert blobs.has(digest)
        assert blobs.again(digest)
        blobs.verify(digest)

    @pytest.mark.parametrize("size", _SIZES)
    def test_a_file_is_its_bytes(self, blobs: Blobs, tmp_path: Path, size: int) -> None:
        source = tmp_path / "source"
        source.write_bytes(_bytes(size))
        digest = blobs.put_file(source)
        assert digest == hashing.digest("blob", _bytes(size))
        assert blobs.read(digest) == _bytes(size)
        assert source.read_bytes() == _bytes(size)

    def test_the_file_may_go_once_it_is_stored(self, blobs: Blobs, tmp_path: Path) -> None:
        source = tmp_path / "source"
        source.write_bytes(b"first")
        digest = blobs.put_file(source)
        source.write_bytes(b"then other bytes")
        source.unlink()
        assert blobs.read(digest) == b"first"

    def test_the_same_bytes_are_stored_once(self, blobs: Blobs, tmp_path: Path) -> None:
        source = tmp_path / "source"
        source.write_bytes(b"same")
        digests = {blobs.put(b"same"), blobs.put(b"same"), blobs.put_file(source)}
        assert list(blobs.digests()) == sorted(digests)
        assert len(digests) == 1

    def test_what_is_removed_is_not_here_and_may_come_again(self, blobs: Blobs) -> None:
        kept, gone = blobs.put(b"kept"), blobs.put(b"gone")
        for _ in range(2):
            blobs.remove(gone)
        assert not blobs.has(gone)
        assert not blobs.again(gone)
        assert list(blobs.digests()) == [kept]
        with pytest.raises(NotFoundError):
            blobs.read(gone)
        assert blobs.put(b"gone") == gone
        blobs.verify(gone)

    def test_a_tree_is_never_a_blob(self, blobs: Blobs) -> None:
        tree, blob = blobs.put(b"[]", kind="tree"), blobs.put(b"[]")
        assert tree == hashing.digest("tree", b"[]") != blob
        assert blobs.read(tree) == blobs.read(blob) == b"[]"
        blobs.verify(tree)
        blobs.verify(blob)

    def test_a_path_is_a_read_only_file(self, blobs: Blobs) -> None:
        digest = blobs.put(b"data")
        path = blobs.path(digest)
        assert path.read_bytes() == b"data"
        assert path.stat().st_mode & 0o222 == 0
        assert blobs.path(digest).read_bytes() == b"data"

    @pytest.mark.parametrize("digest", [hashing.digest("blob", b"never stored"), "", "blake3:ab"])
    def test_what_is_not_here_is_not_found(self, blobs: Blobs, digest: str) -> None:
        assert not blobs.has(digest)
        for ask in (blobs.read, blobs.path, blobs.size, blobs.verify):
            with pytest.raises(NotFoundError) as caught:
                ask(digest)
            assert digest in caught.value.message

    def test_digests_are_listed_in_order(self, blobs: Blobs) -> None:
        assert list(blobs.digests()) == []
        stored = {blobs.put(bytes([number])) for number in range(40)}
        assert list(blobs.digests()) == sorted(stored)

    def test_a_file_that_is_not_there_leaves_nothing(self, blobs: Blobs, tmp_path: Path) -> None:
        with pytest.raises(NotFoundError):
            blobs.put_file(tmp_path / "nothing")
        with pytest.raises(StorageError):
            blobs.put_file(tmp_path)
        assert list(blobs.digests()) == []

    def test_changed_bytes_are_found(self, blobs: Blobs, damage: Damage) -> None:
        good, bad = blobs.put(b"good"), blobs.put(b"bad")
        damage(bad)
        blobs.verify(good)
        with pytest.raises(IntegrityError) as caught:
            blobs.verify(bad)
        assert bad in caught.value.message

    def test_writers_at_the_same_time_do_not_mix(self, blobs: Blobs) -> None:
        pieces = [bytes([number]) * 70_000 for number in range(8)] * 3
        with ThreadPoolExecutor(8) as pool:
            digests = list(pool.map(blobs.put, pieces))
        assert [blobs.read(digest) for digest in digests] == pieces
        assert len(list(blobs.digests())) == 8

    def test_a_flush_keeps_everything(self, blobs: Blobs) -> None:
        digest = blobs.put(b"data")
        blobs.flush()
        assert blobs.read(digest) == b"data"


def _bytes(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]
