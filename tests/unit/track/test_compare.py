from trimtab.track.compare import differences


def test_what_differs_is_named_with_both_values():
    before = {"same": 1, "whole": 1, "text": "1", "flag": True, "gone": 0, "list": [1]}
    after = {"same": 1, "whole": 1.0, "text": 1, "flag": 1, "new": 0, "list": [1, 2]}
    assert differences(before, after) == {
        "text": ("1", 1),
        "flag": (True, 1),
        "gone": (0, None),
        "new": (None, 0),
        "list": ([1], [1, 2]),
    }
