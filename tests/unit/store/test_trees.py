"""Folders go in and come back; nothing leads out of them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab import hashing
from trimtab.errors import ConflictError, DataError, IntegrityError, NotFoundError, StorageError
from trimtab.store import trees
from trimtab.store.blobs import LocalBlobs
from trimtab.testing.memory import MemoryBlobs

ROOT = Path(__file__).parents[3]
GOLDEN = json.loads((ROOT / "tests/golden/tree-v1.json").read_text(encoding="utf-8"))
PAGE = (ROOT / "docs/formats/tree.md").read_text(encoding="utf-8")

names = st.text(
    st.characters(blacklist_characters="/\0", blacklist_categories=("Cs",)), min_size=1, max_size=12
).filter(lambda name: name not in (".", ".."))
folders = st.recursive(
    st.binary(max_size=30), lambda inner: st.dictionaries(names, inner, max_size=5), max_leaves=12
).filter(lambda made: isinstance(made, dict))


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path / "store")


def flat(folder: dict, prefix: str = "") -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for name, what in folder.items():
        path = f"{prefix}{name}"
        found |= {path: what} if isinstance(what, bytes) else flat(what, f"{path}/")
    return found


def write(folder: dict, into: Path) -> None:
    into.mkdir()
    for name, what in folder.items():
        if isinstance(what, bytes):
            (into / name).write_bytes(what)
        else:
            write(what, into / name)


def read(folder: Path) -> dict:
    return {
        item.name: read(item) if item.is_dir() else item.read_bytes() for item in folder.iterdir()
    }


@pytest.mark.slow
@given(folder=folders)
def test_a_folder_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, folder: dict
) -> None:
    place = tmp_path_factory.mktemp("tree")
    try:
        blobs = LocalBlobs(place / "store")
        write(folder, place / "in")
        digest = trees.put_folder(blobs, place / "in")
        assert {
            name: blobs.read(one.digest) for name, one in trees.walk(blobs, digest).items()
        } == (flat(folder))
        trees.checkout(blobs, digest, place / "out")
        assert read(place / "out") == folder
        assert trees.put_folder(blobs, place / "out") == digest
        assert set(trees.nodes(blobs, digest)) == set(blobs.digests())
    finally:
        shutil.rmtree(place)


@pytest.mark.slow
@given(folder=folders, order=st.randoms())
def test_a_tree_of_blobs_has_one_digest(folder: dict, order) -> None:
    blobs = MemoryBlobs()
    files = list({path: blobs.put(data) for path, data in flat(folder).items()}.items())
    digest = trees.put_files(blobs, dict(files))
    order.shuffle(files)
    assert trees.put_files(blobs, dict(files)) == digest
    walked = trees.walk(blobs, digest)
    assert {path: entry.digest for path, entry in walked.items()} == dict(files)
    assert all(entry.size == blobs.size(entry.digest) for entry in walked.values())
    assert sum(entry.size for entry in trees.entries(blobs, digest)) == sum(
        entry.size for entry in walked.values()
    )
    blobs.close()


def test_both_ways_to_make_a_tree_agree(blobs: LocalBlobs, tmp_path: Path) -> None:
    write({"a": b"1", "b": {"c": b"2"}}, tmp_path / "in")
    made = trees.put_files(blobs, {"b/c": blobs.put(b"2"), "a": blobs.put(b"1")})
    assert made == trees.put_folder(blobs, tmp_path / "in")


def test_the_golden_tree(blobs: LocalBlobs, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for name, file in GOLDEN["files"].items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(file["text"], encoding="utf-8")
        target.chmod(0o755 if file["exec"] else 0o644)
    (folder / "empty").mkdir()
    digest = trees.put_folder(blobs, folder)
    assert digest == GOLDEN["digest"]
    for node in GOLDEN["nodes"]:
        assert blobs.read(node["digest"]).decode() == node["text"]
        assert hashing.digest("tree", node["text"].encode()) == node["digest"]
        assert node["text"] in PAGE
        assert node["digest"] in PAGE


def test_only_the_owners_execute_bit_counts(blobs: LocalBlobs, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write({"plain": b"1", "tool": b"2"}, folder)
    (folder / "tool").chmod(0o700)
    digest = trees.put_folder(blobs, folder)
    assert {name: entry.exec for name, entry in trees.walk(blobs, digest).items()} == {
        "plain": False,
        "tool": True,
    }
    (folder / "tool").chmod(0o755)
    os.utime(folder / "plain", (1, 1))
    assert trees.put_folder(blobs, folder) == digest
    trees.checkout(blobs, digest, tmp_path / "out")
    assert (tmp_path / "out" / "tool").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "out" / "plain").stat().st_mode & 0o777 == 0o644


def test_what_is_checked_out_may_be_changed(blobs: LocalBlobs, tmp_path: Path) -> None:
    digest = trees.put_files(blobs, {"a": blobs.put(b"1")})
    trees.checkout(blobs, digest, tmp_path / "out")
    (tmp_path / "out" / "a").write_bytes(b"changed")
    assert trees.file(blobs, digest, "a").read_bytes() == b"1"


@pytest.mark.parametrize(
    "path",
    ["", ".", "..", "/a", "//a", "a/", "a//b", "./a", "a/./b", "../a", "a/../b", "a\0b", "a/..",
     "\udcff", "x" * 256, "/".join("d" * 101)],
)  # fmt: skip
def test_a_path_that_is_no_plain_path_is_refused(blobs: LocalBlobs, path: str) -> None:
    with pytest.raises(DataError):
        trees.put_files(blobs, {path: blobs.put(b"data")})


def test_a_path_cannot_be_file_and_folder(blobs: LocalBlobs) -> None:
    data = blobs.put(b"data")
    with pytest.raises(DataError, match="a/b"):
        trees.put_files(blobs, {"a": data, "a/b": data})


def test_a_tree_needs_its_blobs(blobs: LocalBlobs) -> None:
    with pytest.raises(NotFoundError):
        trees.put_files(blobs, {"a": hashing.digest("blob", b"never stored")})


def test_links_and_pipes_are_refused_by_name(blobs: LocalBlobs, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    with pytest.raises(DataError, match="link"):
        trees.put_folder(blobs, folder)
    (folder / "link").unlink()
    os.mkfifo(folder / "pipe")
    with pytest.raises(DataError, match="pipe"):
        trees.put_folder(blobs, folder)


def test_a_name_that_is_not_utf8_is_refused(blobs: LocalBlobs, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / os.fsdecode(b"caf\xe9")).write_bytes(b"")
    with pytest.raises(DataError, match="UTF-8"):
        trees.put_folder(blobs, folder)


def test_a_folder_that_is_not_there_is_named(blobs: LocalBlobs, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="nothing"):
        trees.put_folder(blobs, tmp_path / "nothing")


def test_a_file_that_changes_meanwhile_is_a_conflict(blobs: LocalBlobs, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write({"a": b"1"}, folder)

    class Slow(LocalBlobs):
        def put_file(self, path: Path) -> str:
            digest = super().put_file(path)
            path.write_bytes(b"longer")
            return digest

    with pytest.raises(ConflictError, match="changed while"):
        trees.put_folder(Slow(tmp_path / "store"), folder)


def node(blobs: LocalBlobs, *listed: object) -> str:
    return blobs.put(msgspec.json.encode(listed), kind="tree")


@pytest.mark.parametrize(
    "listed",
    [
        [["../out", "blob", False, "blake3:" + "0" * 64, 1]],
        [["/etc/out", "blob", False, "blake3:" + "0" * 64, 1]],
        [["..", "tree", False, "blake3:" + "0" * 64, 1]],
        [["a", "link", False, "blake3:" + "0" * 64, 1]],
        [["a", "blob", False, "../../secret", 1]],
        [["a", "blob", False, "blake3:" + "0" * 64, 1, "more"]],
        [["a", "blob", False, "blake3:" + "0" * 64]],
        [["b", "blob", False, "blake3:" + "0" * 64, 1], ["a", "blob", False, "blake3:" + "0" * 64, 1]],
        [["a", "blob", False, "blake3:" + "0" * 64, 1], ["a", "blob", False, "blake3:" + "1" * 64, 1]],
        {"a": 1},
        [1],
    ],
)  # fmt: skip
def test_a_forged_node_is_refused(blobs: LocalBlobs, tmp_path: Path, listed: object) -> None:
    digest = blobs.put(msgspec.json.encode(listed), kind="tree")
    for ask in (trees.entries, trees.walk, trees.nodes):
        with pytest.raises(IntegrityError, match=digest):
            ask(blobs, digest)
    with pytest.raises(IntegrityError):
        trees.checkout(blobs, digest, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_that_looks_like_a_node_is_none(blobs: LocalBlobs) -> None:
    digest = blobs.put(b"[]")
    assert not trees.is_tree(blobs, digest)
    assert trees.is_tree(blobs, trees.put_files(blobs, {}))
    assert not trees.is_tree(blobs, hashing.digest("tree", b"never stored"))
    with pytest.raises(IntegrityError, match="not a tree"):
        trees.entries(blobs, digest)


def test_a_changed_node_is_found_where_it_is_read(blobs: LocalBlobs) -> None:
    digest = trees.put_files(blobs, {"one": blobs.put(b"1")})
    path = blobs.path(digest)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"one", b"two"))
    with pytest.raises(IntegrityError, match=digest):
        trees.walk(blobs, digest)


def test_a_checkout_is_whole_or_not_at_all(blobs: LocalBlobs, tmp_path: Path) -> None:
    digest = trees.put_files(blobs, {"a/b": blobs.put(b"1"), "c": blobs.put(b"22")})
    path = blobs.path(hashing.digest("blob", b"22"))
    path.chmod(0o644)
    path.write_bytes(b"2")
    place = tmp_path / "place"
    with pytest.raises(IntegrityError, match="c of tree"):
        trees.checkout(blobs, digest, place / "out")
    assert list(place.iterdir()) == []
    path.unlink()
    with pytest.raises(NotFoundError):
        trees.checkout(blobs, digest, place / "out")
    assert list(place.iterdir()) == []


def test_a_checkout_writes_over_nothing(blobs: LocalBlobs, tmp_path: Path) -> None:
    digest = trees.put_files(blobs, {"a": blobs.put(b"1")})
    (tmp_path / "out").mkdir()
    with pytest.raises(ConflictError):
        trees.checkout(blobs, digest, tmp_path / "out")
    (tmp_path / "file").write_text("a file where a folder should be")
    with pytest.raises(StorageError):
        trees.checkout(blobs, digest, tmp_path / "file" / "out")


def test_one_file_of_a_tree(blobs: LocalBlobs) -> None:
    digest = trees.put_files(blobs, {"a/b": blobs.put(b"1")})
    assert trees.file(blobs, digest, "a/b").read_bytes() == b"1"
    with pytest.raises(NotFoundError, match="a/c"):
        trees.file(blobs, digest, "a/c")


def test_a_tree_that_is_too_deep_is_refused_where_it_is_read(blobs: LocalBlobs) -> None:
    digest = trees.put_files(blobs, {})
    for _ in range(trees.MAX_DEPTH):
        digest = node(blobs, ["d", "tree", False, digest, 0])
    with pytest.raises(IntegrityError, match="deep"):
        trees.walk(blobs, digest)
