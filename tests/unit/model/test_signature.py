import msgspec
import pytest

from trimtab.errors import ModelError, NotFoundError
from trimtab.model import signature
from trimtab.model.signature import Column, Signature

SIGNED = Signature(
    task="binary",
    engine="onnx",
    inputs=(
        Column(name="income", kind="number", nullable=True, lo=0.0, hi=9.5),
        Column(name="purpose", kind="text", categories=("car", "home")),
        Column(name="owner", kind="boolean"),
    ),
    classes=(False, True),
    positive=True,
    threshold=0.4,
)


def test_a_signature_survives_its_json():
    assert signature.decode(signature.encode(SIGNED)) == SIGNED


@pytest.mark.parametrize("classes", [("no", "yes"), (0, 1), (False, True), (0.5, 1.5)])
def test_classes_keep_their_type(classes):
    changed = msgspec.structs.replace(SIGNED, classes=classes, positive=classes[1])
    read = signature.decode(signature.encode(changed))
    assert [type(x) for x in read.classes] == [type(x) for x in classes]
    assert read.positive_index == 1


def test_texts_and_numbers_are_packed_apart():
    assert SIGNED.numbers == ("income", "owner")
    assert SIGNED.words == ("purpose",)


def test_true_is_not_the_class_one():
    changed = msgspec.structs.replace(SIGNED, classes=(0, 1), positive=True)
    with pytest.raises(ModelError, match="positive class True"):
        _ = changed.positive_index


def test_a_newer_format_is_refused():
    newer = msgspec.structs.replace(SIGNED, format=signature.FORMAT + 1)
    with pytest.raises(ModelError, match="format 2"):
        signature.decode(signature.encode(newer))


def test_broken_json_is_a_model_error(tmp_path):
    with pytest.raises(ModelError, match="cannot be read"):
        signature.decode(b'{"format": 1, "task": "poetry"}')
    with pytest.raises(NotFoundError, match="no model package"):
        signature.read(tmp_path)
