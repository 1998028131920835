from __future__ import annotations

from pathlib import Path

import pytest

from trimtab.data import sources
from trimtab.data.sources import FileSource, Source
from trimtab.errors import NotFoundError, RefusedError
from trimtab.testing.sources import SourceConformance


class TestFileSource(SourceConformance):
    @pytest.fixture
    def source(self) -> Source:
        return FileSource()

    @pytest.fixture
    def uri(self, project_dir: Path) -> str:
        (project_dir / "data").mkdir()
        for name in ("b.csv", "a.csv", "é.csv", "Z.csv"):
            (project_dir / "data" / name).write_text("x\n1\n", encoding="utf-8")
        return "data/*.csv"

    @pytest.fixture
    def missing(self) -> str:
        return "data/none.csv"


def names(pattern: str, folder: Path, **options: bool) -> list[str]:
    return [file.name for file in sources.match(pattern, folder, **options)]


def test_a_plain_path_is_called_by_its_file_name(put, tmp_path):
    path = put("deep/folder/loans.csv", "a\n1\n")
    assert names("deep/folder/loans.csv", tmp_path) == ["loans.csv"]
    assert names(str(path), tmp_path / "deep") == ["loans.csv"]
    assert names("../deep/folder/loans.csv", tmp_path / "deep") == ["loans.csv"]


def test_a_glob_names_files_below_its_fixed_folder(put, tmp_path):
    for name in ("data/2026/b.csv", "data/2025/a.csv", "data/top.csv", "data/.hidden.csv"):
        put(name, "a\n1\n")
    assert names("data/**/*.csv", tmp_path) == ["2025/a.csv", "2026/b.csv", "top.csv"]
    assert names("data/202?/*.csv", tmp_path) == ["2025/a.csv", "2026/b.csv"]


def test_a_name_with_brackets_is_a_file_before_it_is_a_glob(put, tmp_path):
    put("loans [1].csv", "a\n1\n")
    assert names("loans [1].csv", tmp_path) == ["loans [1].csv"]


def test_a_missing_file_is_named_with_its_path_and_its_neighbours(put, tmp_path):
    put("data/applications.csv", "a\n1\n")
    with pytest.raises(NotFoundError) as caught:
        names("data/aplications.csv", tmp_path)
    assert str(tmp_path / "data" / "aplications.csv") in caught.value.message
    assert "applications.csv" in caught.value.hint


def test_a_missing_folder_is_named_with_its_neighbours(put, tmp_path):
    put("data/loans.csv", "a\n1\n")
    with pytest.raises(NotFoundError) as caught:
        names("dta/sub/*.csv", tmp_path)
    assert "no file matches" in caught.value.message
    assert "data" in caught.value.hint


def test_an_empty_folder_is_said_to_be_empty(tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(NotFoundError, match="no file matches") as caught:
        names("data/*.csv", tmp_path)
    assert "is empty" in caught.value.hint


def test_a_folder_is_no_source(put, tmp_path):
    put("data/loans.csv", "a\n1\n")
    with pytest.raises(NotFoundError, match="is a folder") as caught:
        names("data", tmp_path)
    assert "data/*.csv" in caught.value.hint


@pytest.mark.parametrize("pattern", ["../outside.csv", "../*.csv", "{outside}", "link.csv"])
def test_a_confined_pattern_stays_inside(pattern, put, tmp_path):
    outside = put("outside.csv", "a\n1\n")
    project = tmp_path / "project"
    project.mkdir()
    (project / "link.csv").symlink_to(outside)
    pattern = pattern.format(outside=outside)
    assert names(pattern, project)
    with pytest.raises(RefusedError, match="outside the project folder"):
        names(pattern, project, confined=True)


def test_a_file_uri_is_a_path(put, tmp_path):
    path = put("a b.csv", "a\n1\n")
    uri = f"file://{str(path).replace(' ', '%20')}"
    assert [file.name for file in sources.fetch(uri, tmp_path, tmp_path).files] == ["a b.csv"]


def test_an_unknown_scheme_is_not_found(tmp_path):
    with pytest.raises(NotFoundError, match="no source called 'gopher'"):
        sources.fetch("gopher://x/y", tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql://me:secret@host:5432/db?query=x", "postgresql://host:5432/db?query=x"),
        ("s3://bucket/key", "s3://bucket/key"),
        ("data/loans@home.csv", "data/loans@home.csv"),
    ],
)
def test_a_recorded_uri_has_no_password(uri, shown):
    assert sources.public(uri) == shown
