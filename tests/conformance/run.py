"""`make conformance PART=...`: each part's client in an environment of its own, against our endpoint.

A part is a folder here with tests and a lock `requirements/conformance-PART.txt`. Its environment
is made in `build/conformance/PART` and kept until the lock changes. A part whose client cannot be
installed is said to be missing, and fails where TRIMTAB_TEST_ALL=1.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

ROOT: Final = Path(__file__).resolve().parents[2]
TESTS: Final = ROOT / "tests" / "conformance"
BUILD: Final = ROOT / "build" / "conformance"
PACKAGES: Final = BUILD / "packages"
STAMP: Final = ".stamp"


@dataclass(frozen=True)
class Result:
    """How a part went; `seconds` are of its installation and of its tests."""

    part: str
    ended: Literal["passed", "failed", "missing"]
    installing: float
    testing: float

    def __str__(self) -> str:
        spent = f"{self.installing:.0f} s to install, {self.testing:.0f} s to test"
        return f"conformance {self.part}: {self.ended} ({spent})"


class MissingError(Exception):
    """A part's client cannot be installed here."""


def main(arguments: Sequence[str]) -> int:
    """Run the named parts, or all; arguments behind `--` go to pytest. Returns the exit code."""
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    asked, options = list(arguments[:cut]), list(arguments[cut + 1 :])
    known = parts()
    unknown = [part for part in asked if part not in known]
    if unknown:
        sys.stderr.write(f"there is no part {unknown[0]!r}; there are {', '.join(known)}\n")
        return 2
    script = TESTS / "serving" / "endpoint.py"
    subprocess.run([sys.executable, str(script), "build", str(PACKAGES)], check=True)
    results = [run(part, options) for part in asked or known]
    print()
    for result in results:
        print(result)
    wrong = {"failed", "missing"} if os.environ.get("TRIMTAB_TEST_ALL") == "1" else {"failed"}
    return int(any(result.ended in wrong for result in results))


def parts() -> list[str]:
    """The names of all parts."""
    return sorted({path.parent.name for path in TESTS.glob("*/test_*.py")})


def run(part: str, options: Sequence[str]) -> Result:
    """Make the environment of a part and run its tests there."""
    print(f"\n== conformance {part}", flush=True)
    begun = time.monotonic()
    try:
        python = environment(part)
    except MissingError as missing:
        print(f"conformance {part} is MISSING: its client cannot be installed: {missing}")
        return Result(part, "missing", time.monotonic() - begun, 0.0)
    installed = time.monotonic()
    command = [
        *(str(python), "-P", "-m", "pytest", "-c", str(TESTS / "pytest.ini")),
        *("--rootdir", str(ROOT), "-p", "no:cacheprovider", str(TESTS / part), *options),
    ]
    # A client is to find itself as on any machine: no module of ours, no account of anybody's.
    told = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    told |= {
        "TRIMTAB_CONFORMANCE_PYTHON": sys.executable,
        "TRIMTAB_CONFORMANCE_PACKAGES": str(PACKAGES),
    }
    code = subprocess.run(command, cwd=ROOT, env=told, check=False).returncode
    spent = time.monotonic() - installed
    return Result(part, "failed" if code else "passed", installed - begun, spent)


def environment(part: str) -> Path:
    """The Python of a part's environment, made where there is none of this lock.

    Raises MissingError with the installer's last word.
    """
    lock = ROOT / "requirements" / f"conformance-{part}.txt"
    if not lock.is_file():
        raise MissingError(f"there is no {lock.relative_to(ROOT)}; run: make lock-conformance")
    folder = BUILD / part
    python, stamp = folder / "bin" / "python", folder / STAMP
    wanted = hashlib.sha256(lock.read_bytes() + sys.version.encode() + str(ROOT).encode())
    if stamp.is_file() and stamp.read_text() == wanted.hexdigest():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    _do([sys.executable, "-m", "venv", str(folder)])
    _do([str(python), "-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(lock)])
    stamp.write_text(wanted.hexdigest())
    return python


def _do(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if not line.startswith("WARNING")]
        raise MissingError(said[-1] if said else f"{command[0]} ended with {done.returncode}")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
