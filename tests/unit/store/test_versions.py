"""Numbers, aliases and what a reference means."""

from __future__ import annotations

import pytest

from trimtab import hashing
from trimtab.errors import ConflictError, NotFoundError, UsageError
from trimtab.store import artifacts, ledger, refs, versions
from trimtab.store.records import Artifact
from trimtab.store.workspace import Workspace

ONE, TWO, THREE = (hashing.digest("blob", name) for name in (b"one", b"two", b"three"))


def test_numbers_count_per_kind_and_name(ws: Workspace, other: Workspace) -> None:
    assert versions.add(ws, "model", "loans", ONE).label == "loans@v1"
    assert versions.add(ws, "model", "loans", TWO, run="r", meta={"a": 1}).number == 2
    assert versions.add(ws, "data", "loans", TWO).number == 1
    assert versions.add(ws, "model", "other", ONE).number == 1
    assert versions.add(other, "model", "loans", THREE).number == 1
    assert [one.number for one in versions.find(ws, "model", "loans")] == [2, 1]
    found = versions.get(ws, "model", "loans@v2")
    assert (found.digest, found.run, found.meta) == (TWO, "r", {"a": 1})


def test_a_digest_keeps_its_number(ws: Workspace) -> None:
    first = versions.add(ws, "model", "loans", ONE, meta={"a": 1})
    versions.add(ws, "model", "loans", TWO)
    assert versions.add(ws, "model", "loans", ONE, meta={"a": 2}) == first
    assert len(ledger.find(ws, kind="version")) == 2


def test_a_reference_may_be_name_number_alias_latest_or_digest(ws: Workspace) -> None:
    versions.add(ws, "model", "loans", ONE)
    versions.add(ws, "model", "loans", TWO)
    versions.set_alias(ws, "model", "loans", "champion", ONE)
    means = {
        "loans": TWO, "loans@": TWO, "loans@latest": TWO, "loans@v1": ONE, "loans@champion": ONE,
        ONE: ONE,
    }  # fmt: skip
    for reference, digest in means.items():
        assert versions.get(ws, "model", reference).digest == digest


@pytest.mark.parametrize(
    ("reference", "hint"),
    [("loans@v9", "v1, champion"), ("loans@v01", "v1"), ("loans@nobody", "champion"),
     ("lones", "loans"), (TWO, "")],
)  # fmt: skip
def test_what_is_not_there_says_what_is(ws: Workspace, reference: str, hint: str) -> None:
    versions.add(ws, "model", "loans", ONE)
    versions.set_alias(ws, "model", "loans", "champion", ONE)
    with pytest.raises(NotFoundError) as caught:
        versions.get(ws, "model", reference)
    assert hint in caught.value.hint


def test_a_near_miss_is_suggested(ws: Workspace) -> None:
    with pytest.raises(NotFoundError, match="'loans'") as caught:
        versions.get(ws, "data", "loans")
    assert "none yet" in caught.value.hint
    versions.add(ws, "model", "loans", ONE)
    with pytest.raises(NotFoundError, match="did you mean 'loans'"):
        versions.get(ws, "model", "loan")


@pytest.mark.parametrize("name", ["", "loans@v1"])
def test_a_name_must_be_one(ws: Workspace, name: str) -> None:
    with pytest.raises(UsageError):
        versions.add(ws, "model", name, ONE)


def test_a_version_needs_a_digest(ws: Workspace) -> None:
    with pytest.raises(UsageError, match="digest"):
        versions.add(ws, "model", "loans", "abc")


@pytest.mark.parametrize("alias", ["latest", "v1", "v22", "", "a@b"])
def test_some_words_cannot_be_aliases(ws: Workspace, alias: str) -> None:
    versions.add(ws, "model", "loans", ONE)
    with pytest.raises(UsageError):
        versions.set_alias(ws, "model", "loans", alias, ONE)


def test_an_alias_moves_by_compare_and_swap(ws: Workspace) -> None:
    for digest in (ONE, TWO):
        versions.add(ws, "model", "loans", digest)
    versions.set_alias(ws, "model", "loans", "champion", ONE, expect=refs.ABSENT)
    with pytest.raises(ConflictError, match=ONE):
        versions.set_alias(ws, "model", "loans", "champion", TWO, expect=refs.ABSENT)
    with pytest.raises(ConflictError):
        versions.set_alias(ws, "model", "loans", "champion", TWO, expect=TWO)
    versions.set_alias(ws, "model", "loans", "champion", TWO, expect=ONE)
    assert versions.aliases(ws, "model", "loans") == {"champion": TWO}
    assert versions.aliases(ws, "data", "loans") == versions.aliases(ws, "model", "loan") == {}


def test_an_alias_needs_a_version(ws: Workspace) -> None:
    versions.add(ws, "model", "loans", ONE)
    with pytest.raises(NotFoundError, match=TWO):
        versions.set_alias(ws, "model", "loans", "champion", TWO)
    assert versions.aliases(ws, "model", "loans") == {}


def test_an_alias_can_be_taken_away_and_set_again(ws: Workspace) -> None:
    versions.add(ws, "model", "loans", ONE)
    for _ in range(2):
        versions.set_alias(ws, "model", "loans", "shadow", ONE)
        versions.set_alias(ws, "model", "loans", "shadow", refs.ABSENT, expect=ONE)
        assert versions.aliases(ws, "model", "loans") == {}
    assert ledger.verify(ws) == 5


def test_a_ref_that_does_not_move_leaves_no_entry(ws: Workspace) -> None:
    refs.move(ws, "config", "applied", ONE)
    refs.move(ws, "config", "applied", ONE)
    assert refs.get(ws, "config", "applied") == ONE
    assert refs.get(ws, "config", "other") == refs.ABSENT
    assert refs.find(ws, "config") == {"applied": ONE}
    assert ledger.verify(ws) == 1


def test_projects_share_no_names(ws: Workspace, other: Workspace) -> None:
    versions.add(ws, "model", "loans", ONE)
    refs.move(ws, "config", "applied", ONE)
    assert versions.find(other, "model") == []
    assert refs.find(other, "config") == {}


def test_an_artifact_keeps_what_was_noted_first(ws: Workspace, other: Workspace) -> None:
    artifacts.record(ws, Artifact(digest=ONE, kind="model", size=3, meta={"a": [1]}, created_at=5))
    artifacts.record(ws, Artifact(digest=ONE, kind="data", size=4, created_at=6))
    artifacts.record(ws, Artifact(digest=TWO, kind="data", size=4, created_at=6))
    found = artifacts.get(ws, ONE)
    assert (found.kind, found.size, found.meta, found.created_at) == ("model", 3, {"a": [1]}, 5)
    assert [one.digest for one in artifacts.find(ws)] == [TWO, ONE]
    assert [one.digest for one in artifacts.find(ws, kind="model")] == [ONE]
    assert len(artifacts.find(ws, limit=1)) == 1
    assert len(artifacts.find(ws, limit=None)) == 2
    with pytest.raises(NotFoundError):
        artifacts.get(other, ONE)
