"""Damage to blobs is found, and said in terms of what it hurts."""

from __future__ import annotations

import pytest

from trimtab import hashing
from trimtab.store import artifacts, check, trees, versions
from trimtab.store.records import Artifact
from trimtab.store.workspace import Workspace

LOANS, TEXT = b"a,b\n1,2\n", b"a report"


@pytest.fixture
def stored(ws: Workspace) -> str:
    """The digest of the tree of loans@v1; `common` is in both versions."""
    common = ws.blobs.put(b"common")
    first = trees.put_files(ws.blobs, {"data/a.csv": ws.blobs.put(LOANS), "common": common})
    versions.add(ws, "data", "loans", first)
    second = trees.put_files(ws.blobs, {"data/b.csv": ws.blobs.put(b"more"), "common": common})
    versions.add(ws, "data", "loans", second)
    for digest, kind in ((first, "data"), (ws.blobs.put(TEXT), "report")):
        artifacts.record(ws, Artifact(digest=digest, kind=kind, size=1))
    ws.blobs.put(b"nobody's")
    return first


def damage(ws: Workspace, digest: str) -> None:
    path = ws.blobs.path(digest)
    path.chmod(0o644)
    path.write_bytes(b"[" + path.read_bytes()[1:-1] + b"~")


def test_a_whole_store_has_no_problems(ws: Workspace, stored: str) -> None:
    heard: list[tuple[int, int]] = []
    assert check.check_blobs(ws, progress=lambda done, of: heard.append((done, of))) == []
    count = len(list(ws.blobs.digests()))
    assert heard == [(number, count) for number in range(1, count + 1)]


def test_an_empty_store_has_no_problems(ws: Workspace) -> None:
    assert check.check_blobs(ws) == []


@pytest.mark.parametrize(
    ("data", "users"),
    [
        (LOANS, "used by data loans@v1"),
        (b"common", "used by data loans@v1, data loans@v2"),
        (TEXT, f"used by report {hashing.digest('blob', TEXT)}"),
        (b"nobody's", "no version or artifact uses it"),
    ],
)
def test_a_changed_blob_is_named_with_its_users(
    ws: Workspace, stored: str, data: bytes, users: str
) -> None:
    digest = hashing.digest("blob", data)
    damage(ws, digest)
    (problem,) = check.check_blobs(ws)
    assert digest in problem
    assert problem.endswith(f"; {users}")


def test_a_missing_blob_is_named_with_its_users(ws: Workspace, stored: str) -> None:
    digest = hashing.digest("blob", LOANS)
    ws.blobs.path(digest).unlink()
    assert check.check_blobs(ws) == [f"blob {digest} is missing; used by data loans@v1"]


def test_a_version_without_its_tree_is_found(ws: Workspace, stored: str) -> None:
    ws.blobs.path(stored).unlink()
    assert check.check_blobs(ws) == [f"blob {stored} is missing; used by data loans@v1"]


@pytest.mark.parametrize("inner", [False, True])
def test_a_changed_node_is_found(ws: Workspace, stored: str, inner: bool) -> None:
    node = stored
    if inner:
        node = next(one.digest for one in trees.entries(ws.blobs, stored) if one.kind == "tree")
    damage(ws, node)
    (problem,) = check.check_blobs(ws)
    assert node in problem
    assert "used by data loans@v1" in problem


def test_a_missing_inner_node_is_found(ws: Workspace, stored: str) -> None:
    node = next(one.digest for one in trees.entries(ws.blobs, stored) if one.kind == "tree")
    ws.blobs.path(node).unlink()
    assert check.check_blobs(ws) == [f"blob {node} is missing; used by data loans@v1"]


def test_many_users_are_counted(ws: Workspace) -> None:
    shared = ws.blobs.put(b"shared")
    for number in range(6):
        tree = trees.put_files(ws.blobs, {f"{number}": shared})
        versions.add(ws, "model", "loans", tree)
    ws.blobs.path(shared).unlink()
    (problem,) = check.check_blobs(ws)
    assert problem.endswith("used by model loans@v1, model loans@v2, model loans@v3 and 3 more")
