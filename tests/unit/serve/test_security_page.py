"""The page on security says what the code does."""

import re
from pathlib import Path

import msgspec

from trimtab import config
from trimtab.access import LimitsConfig
from trimtab.serve.access import auth, keys, tokens
from trimtab.serve.access.auth import scope_of

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")


def test_every_field_of_a_key_is_on_the_page():
    for struct in (keys.Key, keys.KeysFile):
        for field in msgspec.structs.fields(struct):
            assert f'"{field.name}"' in PAGE


def test_every_limit_and_its_default_is_on_the_page():
    for field in msgspec.structs.fields(LimitsConfig):
        assert f"`{field.name}`" in PAGE
        if field.default:
            assert str(field.default) in PAGE.replace(",", "")


def test_paths_ask_for_what_the_page_says():
    rows = re.findall(r"^\| (–|`\w+`) \| (.*) \|$", PAGE, re.MULTILINE)
    told = {
        path.replace("…", "/x" if path.endswith("…") else "models/x"): row[0].strip("`–") or None
        for row in rows
        for path in re.findall(r"`(/[^`]*)`", row[1])
    }
    assert len(told) == 14
    assert {path: scope_of(path) for path in told} == told
    assert {path for path, scope in told.items() if scope is None} >= auth.HEALTH


def test_the_numbers_of_tokens_are_on_the_page():
    assert f"{tokens._MIN_RSA} bits" in PAGE
    assert f"{tokens._MIN_SECRET} bytes" in PAGE
    assert config.duration("5m") == auth.SEEN_FOR
    assert "five minutes" in PAGE


def test_the_projects_own_page_leads_here():
    assert "docs/security.md" in (ROOT / "SECURITY.md").read_text(encoding="utf-8")
