"""`retire.json` of an endpoint's folder: that it will end or has ended, when, and who comes after it.

Replaced by rename; a running endpoint follows it. Light: no model is loaded.
Sources: RFC 9745 (Deprecation), RFC 8594 (Sunset), RFC 5829 (successor-version).
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final, Literal

import msgspec

from trimtab.serve.folder import stamp

FILE: Final = "retire.json"
VERSION: Final = 1
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip


class Notice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`retire.json`. Times are microseconds. `link` is the successor's address, "" where none is.

    `phase` is "announced" while models answer, "gone" when every request is refused with 410, until
    `until`.
    """

    version: int = VERSION
    name: str
    phase: Literal["announced", "gone"]
    announced_at: int
    sunset_at: int
    until: int = 0
    successor: str = ""
    link: str = ""
    reason: str = ""


def write(folder: Path, notice: Notice) -> None:
    """Replace `retire.json`, where it says something else; raises OSError."""
    if read(folder) == notice:
        return
    staged = folder / f".{FILE}.{os.getpid()}"
    staged.write_bytes(msgspec.json.format(msgspec.json.encode(notice), indent=1))
    staged.replace(folder / FILE)


def read(folder: Path) -> Notice | None:
    """The notice of a folder, None where there is none that can be read."""
    try:
        found = msgspec.json.decode((folder / FILE).read_bytes(), type=Notice)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return found if found.version == VERSION else None


def remove(folder: Path) -> None:
    """Take the notice back."""
    (folder / FILE).unlink(missing_ok=True)


def is_gone(folder: Path) -> bool:
    """Whether the endpoint of a folder has ended for good."""
    found = read(folder)
    return found is not None and found.phase == "gone"


def headers(notice: Notice | None) -> dict[str, str]:
    """The headers that tell a client; none without a notice."""
    if notice is None:
        return {}
    found = {
        "deprecation": f"@{notice.announced_at // 1_000_000}",
        "sunset": http_date(notice.sunset_at),
    }
    if notice.link:
        found["link"] = f'<{notice.link}>; rel="successor-version"'
    return found


def http_date(micros: int) -> str:
    """A moment as HTTP writes it (IMF-fixdate of RFC 9110), in no locale's words."""
    t = time.gmtime(micros // 1_000_000)
    return (
        f"{_DAYS[t.tm_wday]}, {t.tm_mday:02} {_MONTHS[t.tm_mon - 1]} {t.tm_year:04} "
        f"{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} GMT"
    )


class Follower:
    """Reads the notice of a folder again where it was changed; costs a stat each time it is asked."""

    def __init__(self, folder: Path) -> None:
        self.notice: Notice | None = None
        self._folder = folder
        self._seen: object = ()

    def changed(self) -> bool:
        """Whether `notice` is another than before."""
        seen = stamp(self._folder / FILE)
        if seen == self._seen:
            return False
        self._seen, before = seen, self.notice
        self.notice = read(self._folder)
        return self.notice != before

    @property
    def is_gone(self) -> bool:
        """Whether the endpoint has ended for good, as of the last look."""
        return self.notice is not None and self.notice.phase == "gone"
