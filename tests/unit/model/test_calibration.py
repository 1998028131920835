from pathlib import Path

import msgspec
import numpy as np
import pytest

from trimtab.errors import IntegrityError, ModelError
from trimtab.model import calibration
from trimtab.model.calibration import Calibration, beside, decode, encode, measure, read_calibration
from trimtab.model.golden import Golden
from trimtab.model.load import Outputs
from trimtab.model.signature import Column, Signature

DIGEST = "blake3:" + "1" * 64
SIGNED = Signature(
    task="binary",
    engine="onnx",
    inputs=(
        Column(name="a", kind="number", nullable=True),
        Column(name="word", kind="text", nullable=True),
        Column(name="b", kind="boolean"),
    ),
    classes=("no", "yes"),
    positive="yes",
    threshold=0.5,
)
ROWS = Golden(
    columns={"a": [1.0, None, 3.0], "word": ["x", None, "y"], "b": [0.0, 1.0, 1.0]},
    scores=[0.1, 0.2, 0.3],
    decisions=["no", "no", "no"],
)
FOUND = Calibration(model=DIGEST, sizes=(1, 2), seconds=(0.5, 0.6), most=2, slow=True)


class Clocked:
    """A model whose runs take what `cost` says of their rows, on a clock of its own."""

    def __init__(self, monkeypatch, cost):
        self.signature, self.cost, self.now, self.runs = SIGNED, cost, 0.0, []
        monkeypatch.setattr(calibration.time, "process_time", lambda: self.now)

    def predict_packed(self, numbers, words):
        assert numbers.shape == (2, len(words[0]))
        self.runs.append((numbers, words))
        self.now += self.cost(numbers.shape[1])
        return Outputs(score=np.zeros(numbers.shape[1], dtype=np.float32), decision=[])


def test_a_run_that_costs_the_same_whatever_its_rows_takes_the_most_rows(monkeypatch):
    found = measure(Clocked(monkeypatch, lambda rows: 1e-5), ROWS, DIGEST)
    assert found.sizes == calibration.SIZES
    assert found.most == 256
    assert not found.slow
    assert found.model == DIGEST


def test_of_sizes_that_cost_nearly_the_same_the_smaller_is_taken(monkeypatch):
    model = Clocked(monkeypatch, lambda rows: 1e-5 * rows + (1e-5 if rows < 16 else 0))
    assert measure(model, ROWS, DIGEST).most == 16


def test_a_run_that_outgrows_the_cache_is_kept_smaller(monkeypatch):
    model = Clocked(monkeypatch, lambda rows: 1e-5 * rows * (3 if rows > 32 else 1) + 1e-4)
    assert measure(model, ROWS, DIGEST).most == 32


@pytest.mark.parametrize(("one", "slow"), [(0.00099, False), (0.001, True)])
def test_a_model_is_slow_that_needs_a_millisecond_for_one_row(monkeypatch, one, slow):
    assert measure(Clocked(monkeypatch, lambda rows: one), ROWS, DIGEST).slow is slow


def test_measuring_takes_about_a_second_however_slow_the_model_is(monkeypatch):
    model = Clocked(monkeypatch, lambda rows: 0.05 * rows)
    found = measure(model, ROWS, DIGEST)
    assert model.now < 1.0
    assert found.sizes == (1, 2)
    assert found.slow
    quick = Clocked(monkeypatch, lambda rows: 1e-6 * rows)
    assert measure(quick, ROWS, DIGEST).sizes == calibration.SIZES
    assert quick.now < 1.0


def test_the_golden_rows_are_asked_in_turn_with_their_nulls(monkeypatch):
    model = Clocked(monkeypatch, lambda rows: 1e-5)
    measure(model, ROWS, DIGEST)
    ones = [(numbers[:, 0].tolist(), words[0]) for numbers, words in model.runs[:3]]
    assert ones[0] == ([1.0, 0.0], ["x"])
    assert np.isnan(ones[1][0][0])
    assert ones[1][1] == [None]
    numbers, words = model.runs[-1]
    assert numbers.shape == (2, 256)
    assert set(words[0]) == {"x", None, "y"}


def test_a_package_without_golden_rows_is_not_measured(monkeypatch):
    none = Golden(columns={"a": [], "word": [], "b": []}, scores=[], decisions=[])
    with pytest.raises(ModelError, match="no golden rows"):
        measure(Clocked(monkeypatch, lambda rows: 1e-5), none, DIGEST)


def test_a_calibration_survives_being_written(tmp_path):
    folder = tmp_path / "model"
    assert read_calibration(folder) is None
    beside(folder).mkdir()
    assert read_calibration(folder) is None
    (beside(folder) / calibration.FILE).write_bytes(encode(FOUND))
    assert read_calibration(folder) == FOUND
    assert beside(folder) == tmp_path / "model.attachments"


def test_a_calibration_that_was_changed_is_refused():
    body = msgspec.json.decode(encode(FOUND))
    for changed in ({**body, "most": 64}, {**body, "extra": 1}, {"most": 64}, {}):
        with pytest.raises(IntegrityError, match="checksum"):
            decode(msgspec.json.encode(changed))
    for bad in (b"", b"[]", b"{", encode(FOUND)[:-10]):
        with pytest.raises(IntegrityError, match="cannot be read"):
            decode(bad)
    with pytest.raises(IntegrityError, match="`most` is 0"):
        decode(encode(msgspec.structs.replace(FOUND, most=0)))


def test_the_golden_file_of_format_1_is_read():
    data = (Path(__file__).parents[2] / "golden" / "calibration-v1.json").read_bytes()
    found = decode(data)
    assert found.sizes == (1, 2, 4)
    assert found.seconds == (0.001, 0.0012, 0.0024)
    assert (found.most, found.slow) == (2, True)
    assert encode(found) == data


def test_a_newer_format_is_refused_by_its_number():
    with pytest.raises(ModelError, match="format 2"):
        decode(encode(msgspec.structs.replace(FOUND, format=2)))
