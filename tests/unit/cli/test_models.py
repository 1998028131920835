from trimtab.cli import models

SAME = {"rows": 60, "max_difference": 0.02, "above": 0.05, "far": 1 / 60, "flips": 1}


def test_every_slice_of_a_comparison_has_a_line(capsys):
    slices = [
        {**SAME, "column": "region", "value": "N"},
        {**SAME, "column": "owns", "value": "true"},
    ]
    models._render_parity({**SAME, "value": "all rows", "scale": 12.5}, slices)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[2:5]] == [
        "all rows",
        "region is N",
        "owns is true",
    ]
    assert lines[3].split()[3:] == ["60", "0.02", "5.00%", "1.67%", "1"]
    assert "units of 12.5" in lines[-1]
