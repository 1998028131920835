"""The README's own words: its commands run in order, its listings are the files they show."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_its_commands_run_in_order(tmp_path):
    shutil.copy(ROOT / "examples" / "house-prices" / "make_houses.py", tmp_path)
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "trimtab").write_text(f'#!/bin/sh\nexec {sys.executable} -m trimtab "$@"\n')
    (bin_folder / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    for tool in bin_folder.iterdir():
        tool.chmod(0o755)
    blocks = re.findall(r"<!-- run -->\n```console\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) == 3
    environment = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}"}
    project = tmp_path / "houses"
    project.mkdir()
    shutil.move(tmp_path / "make_houses.py", project)
    said = ""
    try:
        for block in blocks:
            done = subprocess.run(
                ["sh", "-eu", "-c", block],
                cwd=project, env=environment, capture_output=True, text=True, timeout=180, check=False,
            )  # fmt: skip
            assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
            said += done.stdout
    finally:
        subprocess.run(["trimtab", "down"], cwd=project, env=environment, check=False)
    assert "houses@v1" in said
    assert "all is well" in said


def test_its_listings_are_the_files_they_show():
    shown = re.findall(r"<!-- same: (\S+) -->\n```\w+\n(.*?)```", README, flags=re.DOTALL)
    assert len(shown) == 2
    for path, listing in shown:
        assert listing == (ROOT / path).read_text(encoding="utf-8")
