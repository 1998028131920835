from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.slow
def test_the_example_of_the_monitoring_page_runs():
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "monitoring.md").read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "docs/monitoring.md", "exec"), {})


def test_every_kind_and_test_is_on_the_page():
    from typing import get_args

    from trimtab.monitor.findings import Kind

    page = (DOCS / "monitoring.md").read_text()
    for kind in get_args(Kind):
        assert f"| {kind} |" in page


def test_the_format_page_names_every_field():
    from trimtab.profile import cells, reference
    from trimtab.profile import profile as profiles

    page = (DOCS / "formats" / "profile.md").read_text()
    for record in (cells.NumberCells, cells.CategoryCells, profiles._Wire, reference._Wire):
        for field in record.__struct_fields__:
            assert f"`{field}`" in page, field
