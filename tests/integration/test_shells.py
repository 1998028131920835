"""The native and the ASGI shell say the same; `make fuzz` looks for longer."""

import subprocess
import sys
from pathlib import Path

SHELLS = Path(__file__).parents[1] / "fuzz" / "shells.py"


def test_the_shells_agree_on_the_corpus_and_on_some_damage() -> None:
    done = subprocess.run(
        [sys.executable, str(SHELLS), "--seconds", "4", "--seed", "11"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert " 0 finds" in done.stdout
