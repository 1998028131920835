"""The pages on serving name everything there is."""

from pathlib import Path

import msgspec
import pytest

from trimtab.model.golden import Golden
from trimtab.model.signature import Column, Signature
from trimtab.serve import metrics
from trimtab.serve.folder import Settings, State
from trimtab.serve.logged.frame import Frame, Header
from trimtab.serve.routes import RoutesFile, RouteSpec

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize(
    ("page", "struct"),
    [
        ("formats/model-package.md", Signature),
        ("formats/model-package.md", Column),
        ("formats/model-package.md", Golden),
        ("formats/prediction-log.md", Header),
        ("formats/prediction-log.md", Frame),
        ("serving.md", Settings),
        ("serving.md", State),
        ("serving.md", RoutesFile),
        ("serving.md", RouteSpec),
    ],
)
def test_every_key_of_a_format_is_on_its_page(page, struct):
    text = (DOCS / page).read_text(encoding="utf-8")
    missing = [
        field.name
        for field in msgspec.structs.fields(struct)
        if f"`{field.name}`" not in text and f'"{field.name}"' not in text
    ]
    assert missing == []


def test_every_metric_is_on_its_page(engine):
    text = (DOCS / "serving.md").read_text(encoding="utf-8")
    names = {f"trimtab_{name}" for name in metrics._HELP}
    names |= {
        line.split()[2]
        for line in engine.handle("GET", "/metrics", {}, b"").body.decode().splitlines()
        if line.startswith("# TYPE")
    }
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []
