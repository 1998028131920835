"""Sizes and rates as the project file writes them."""

import pytest

from trimtab import access
from trimtab.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "count"), [("0B", 0), ("512B", 512), ("32KiB", 32_768), ("1GiB", 1 << 30)]
)
def test_sizes(text: str, count: int) -> None:
    assert access.size(text) == count


@pytest.mark.parametrize("text", ["", "16", "16MB", "1.5MiB", "-1B", "1 MiB", "1MiB\n"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ConfigError, match="not a size"):
        access.size(text)


def test_rates() -> None:
    assert access.rate("100/s") == access.Rate(100, 1_000_000)
    assert access.rate("5000/h") == access.Rate(5000, 3_600_000_000)
    for text in ("", "0/s", "100", "1.5/s", "100/w", "/s", "1/s\n"):
        with pytest.raises(ConfigError, match="not a rate"):
            access.rate(text)
