from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from trimtab.demo.story import area, main, selection_ratio, write_project


@pytest.mark.parametrize("digits", [1, 9])
def test_the_area_is_the_area(digits):
    draw = np.random.default_rng(0)
    score, truth = np.round(draw.random(400), digits), draw.random(400) < 0.7
    assert area(pl.Series(truth), pl.Series(score)) == pytest.approx(roc_auc_score(truth, score))


def test_the_selection_ratio_is_the_smaller_share_over_the_larger():
    rows = pl.DataFrame({"group": list("AAAABB"), "decision": [1, 1, 1, 0, 1, 0]})
    assert selection_ratio(rows) == pytest.approx(0.5 / 0.75)


def test_a_version_of_the_project_replaces_the_other(tmp_path):
    write_project(tmp_path, "first")
    assert 'fit_on = "approved"' in (tmp_path / "trimtab.toml").read_text(encoding="utf-8")
    assert "neighbourhood" in (tmp_path / "pipeline.py").read_text(encoding="utf-8")
    write_project(tmp_path, "corrected")
    assert "fit_on" not in (tmp_path / "trimtab.toml").read_text(encoding="utf-8")
    assert "neighbourhood" not in (tmp_path / "pipeline.py").read_text(encoding="utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pipeline.py", "trimtab.toml"]


def test_a_folder_in_use_is_left_alone(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    assert main(keep=tmp_path) == 1
    assert "is not empty" in " ".join(capsys.readouterr().out.split())
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
