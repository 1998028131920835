import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from sklearn.linear_model import LogisticRegression

from trimtab import plugins
from trimtab.errors import IntegrityError
from trimtab.model import codec
from trimtab.tune.frames import features as prepare


def test_a_candidate_survives_its_folder(logistic, tmp_path):
    codec.CANDIDATE.write(logistic, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "candidate.json",
        "estimator.skops",
        "train.parquet",
        "withheld.parquet",
    ]
    again = codec.CANDIDATE.read(tmp_path)
    for name in ("params", "task", "target", "fit_on", "classes", "positive", "threshold"):
        assert getattr(again, name) == getattr(logistic, name)
    assert list(again.features.items()) == list(logistic.features.items())
    assert_frame_equal(again.train, logistic.train)
    rows = prepare(logistic.withheld, logistic.features)
    expected = logistic.estimator.predict_proba(rows)
    assert np.array_equal(again.estimator.predict_proba(rows), expected)


def test_the_same_candidate_is_written_as_the_same_bytes(logistic, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        codec.CANDIDATE.write(logistic, tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_each_codec_knows_its_own(logistic):
    assert codec.CANDIDATE.matches(logistic)
    assert not codec.ESTIMATOR.matches(logistic)
    assert codec.ESTIMATOR.matches(LogisticRegression())
    for other in (pl.DataFrame(), {"a": 1}, LogisticRegression, None):
        assert not codec.CANDIDATE.matches(other)
        assert not codec.ESTIMATOR.matches(other)


def test_both_are_registered_for_the_pipeline():
    assert plugins.get("codecs", "candidate") is codec.CANDIDATE
    assert plugins.get("codecs", "estimator") is codec.ESTIMATOR


def test_a_damaged_candidate_is_refused(logistic, tmp_path):
    codec.CANDIDATE.write(logistic, tmp_path)
    (tmp_path / "candidate.json").write_bytes(b'{"task": "binary"}')
    with pytest.raises(IntegrityError, match="cannot be read"):
        codec.CANDIDATE.read(tmp_path)


@pytest.mark.slow
def test_labels_that_look_like_numbers_stay_texts(fit, loans, prepared, tmp_path):
    digits = pl.when(pl.col("repaid") == "yes").then(pl.lit("1")).otherwise(pl.lit("0"))
    candidate = fit(
        prepared(LogisticRegression(max_iter=5000)), rows=loans.with_columns(repaid=digits)
    )
    codec.CANDIDATE.write(candidate, tmp_path)
    assert codec.CANDIDATE.read(tmp_path).classes == ("0", "1")
