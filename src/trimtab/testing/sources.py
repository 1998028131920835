"""What every data source must satisfy: subclass, give it a source and a place, and run pytest."""

from __future__ import annotations

from pathlib import Path

import pytest

from trimtab.data.reader import format_of
from trimtab.data.sources import Fetched, Source
from trimtab.errors import NotFoundError


class SourceConformance:
    """Implementers override the four fixtures; the far side must not change during a test.

    `uri` names a table of at least one file and one row, `missing` something that is not there,
    `secret` a text of the URI that must never be recorded ("" where there is none).
    """

    @pytest.fixture
    def source(self) -> Source:
        raise NotImplementedError

    @pytest.fixture
    def uri(self, project_dir: Path) -> str:
        raise NotImplementedError

    @pytest.fixture
    def missing(self) -> str:
        raise NotImplementedError

    @pytest.fixture
    def secret(self) -> str:
        return ""

    @pytest.fixture
    def project_dir(self, tmp_path: Path) -> Path:
        folder = tmp_path / "project"
        folder.mkdir()
        return folder

    def test_it_gives_files_that_hold_a_table(
        self, source: Source, uri: str, project_dir: Path, tmp_path: Path
    ) -> None:
        fetched = source.fetch(uri, project_dir, _scratch(tmp_path, "a"))
        assert fetched.files
        for file in fetched.files:
            assert file.path.stat().st_size > 0
            assert format_of(file.name)
            assert file.mtime > 0

    def test_names_are_relative_unique_and_sorted_by_their_bytes(
        self, source: Source, uri: str, project_dir: Path, tmp_path: Path
    ) -> None:
        names = [file.name for file in source.fetch(uri, project_dir, tmp_path).files]
        assert names == sorted(set(names), key=str.encode)
        for name in names:
            assert not Path(name).is_absolute()
            assert ".." not in Path(name).parts

    def test_the_same_content_gives_the_same_names_and_bytes(
        self, source: Source, uri: str, project_dir: Path, tmp_path: Path
    ) -> None:
        first = source.fetch(uri, project_dir, _scratch(tmp_path, "a"))
        again = source.fetch(uri, project_dir, _scratch(tmp_path, "b"))
        assert _content(first) == _content(again)
        assert first.version == again.version

    def test_it_writes_only_to_its_scratch_folder(
        self, source: Source, uri: str, project_dir: Path, tmp_path: Path
    ) -> None:
        before = _listing(project_dir)
        source.fetch(uri, project_dir, _scratch(tmp_path, "a"))
        assert _listing(project_dir) == before

    def test_what_is_not_there_is_not_found_and_named(
        self, source: Source, missing: str, project_dir: Path, tmp_path: Path
    ) -> None:
        with pytest.raises(NotFoundError) as caught:
            source.fetch(missing, project_dir, _scratch(tmp_path, "a"))
        assert missing.rpartition("/")[2] in caught.value.message

    def test_no_secret_is_in_what_it_records(
        self, source: Source, uri: str, secret: str, project_dir: Path, tmp_path: Path
    ) -> None:
        fetched = source.fetch(uri, project_dir, _scratch(tmp_path, "a"))
        assert not secret or secret not in fetched.uri


def _scratch(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / f"scratch-{name}"
    folder.mkdir()
    return folder


def _content(fetched: Fetched) -> dict[str, bytes]:
    return {file.name: file.path.read_bytes() for file in fetched.files}


def _listing(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
