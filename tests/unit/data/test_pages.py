"""The pages say what the code does: every setting, suffix, type and member is on them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from trimtab import config
from trimtab.data import columns, reader
from trimtab.data.quarantine import Reason
from trimtab.data.record import FileRecord, SourceRecord

DOCS = Path(__file__).resolve().parents[3] / "docs"
PAGE = (DOCS / "data.md").read_text(encoding="utf-8")
FORMAT = (DOCS / "formats/source-record.md").read_text(encoding="utf-8")
RECORD, REASON = re.findall(r"```json\n(.*?)```", FORMAT, re.DOTALL)


@pytest.mark.parametrize("setting", config.DataConfig.__struct_fields__)
def test_every_setting_is_on_the_page(setting):
    assert re.search(rf"\b{setting}\b", PAGE)


@pytest.mark.parametrize("word", [*reader.FORMATS, *columns.DTYPES])
def test_every_suffix_and_type_is_on_the_page(word):
    assert f"`{word}`" in PAGE


@pytest.mark.parametrize("word", [word for word in columns.MISSING if word.isalpha()])
def test_every_missing_word_is_on_the_page(word):
    assert f"`{word}`" in PAGE


@pytest.mark.parametrize("member", SourceRecord.__struct_fields__)
def test_every_member_of_a_record_is_specified(member):
    assert re.search(rf"^\| .*`{member}`.* \|", FORMAT, re.MULTILINE)


@pytest.mark.parametrize(("text", "kind"), [(RECORD, SourceRecord), (REASON, Reason)])
def test_the_examples_are_whole_and_read_back(text, kind):
    example = msgspec.json.decode(text)
    written = msgspec.json.encode(msgspec.convert(example, kind))
    assert msgspec.json.decode(written) == example
    assert list(example) == list(kind.__struct_fields__)


def test_the_record_of_a_file_is_specified():
    example = msgspec.json.decode(RECORD)["files"][0]
    assert list(example) == list(FileRecord.__struct_fields__)


def test_the_settings_on_the_page_are_valid():
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    parsed = config.parse({"project": {"name": "x"}, **tomllib.loads(block)})
    assert parsed.data["applications"].allow == ("purpose",)
