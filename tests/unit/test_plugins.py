"""Extensions are found by name, whoever registered them."""

import json
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from trimtab import plugins
from trimtab.errors import NotFoundError


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(plugins, "_registered", {})
    plugins._outside.cache_clear()
    yield
    plugins._outside.cache_clear()


def test_an_object_comes_back_as_it_is() -> None:
    extension = object()
    plugins.register("codecs", "mine", extension)
    assert plugins.get("codecs", "mine") is extension


def test_text_is_imported_at_first_use() -> None:
    plugins.register("codecs", "json", "json:dumps")
    assert plugins.get("codecs", "json") is json.dumps


def test_groups_are_apart() -> None:
    plugins.register("codecs", "mine", 1)
    with pytest.raises(NotFoundError):
        plugins.get("metrics", "mine")


def test_an_unknown_name_gets_the_nearest_known_one() -> None:
    plugins.register("metrics", "roc_auc", 1)
    with pytest.raises(NotFoundError, match="did you mean 'roc_auc'") as caught:
        plugins.get("metrics", "roc_acu")
    assert "no metric called" in caught.value.message
    assert "roc_auc" in caught.value.hint


def test_an_unknown_group_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown extension group 'colours'"):
        plugins.register("colours", "red", 1)


def test_an_installed_package_extends_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint(name="outside", value="json:loads", group="trimtab.codecs")

    def entry_points(**wanted: Any) -> list[EntryPoint]:
        return [point] if point.matches(**wanted) else []

    monkeypatch.setattr(plugins, "entry_points", entry_points)
    assert plugins.names("codecs") == ["outside"]
    assert plugins.names("metrics") == []
    assert plugins.get("codecs", "outside") is json.loads


def test_installed_packages_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(plugins, "entry_points", lambda **wanted: asked.append(wanted) or [])
    for _ in range(3):
        assert plugins.names("codecs") == []
    assert asked == [{"group": "trimtab.codecs"}]
