"""A replay as a picture: the loss of each policy over windows, and marks where it trained again."""

from __future__ import annotations

from typing import Final

from trimtab.ids import to_datetime
from trimtab.loop.replay.report import Outcome, Replayed

WIDTH: Final = 760
HEIGHT: Final = 320
_LEFT: Final = 56
_RIGHT: Final = 120
_TOP: Final = 34
_BOTTOM: Final = 64
_TRACK: Final = 12
_MOST: Final = 200
STYLE: Final = """\
.replay text{font:11px system-ui,sans-serif;fill:#59646c}.replay .title{font-size:13px;fill:#1b2226}
.replay polyline{fill:none;stroke-width:1.6;stroke-linejoin:round}.replay .axis{stroke:#dcdfdd}
.replay .never{stroke:#59646c}.replay .schedule{stroke:#1f5d9c;stroke-dasharray:6 3}
.replay .drift{stroke:#b0271c}.replay .continuous{stroke:#1b7145;stroke-dasharray:2 2}
.replay .guess{stroke:#855600;stroke-dasharray:1 4}.replay text.chosen{font-weight:700;fill:#1b2226}
.replay .mark{stroke-width:2;stroke-dasharray:none}
@media (prefers-color-scheme:dark){.replay text{fill:#9aa7ae}.replay .title,.replay text.chosen{fill:#e5eaec}
.replay .axis{stroke:#2b353b}.replay .never{stroke:#9aa7ae}.replay .schedule{stroke:#82bcf3}
.replay .drift{stroke:#ff8f84}.replay .continuous{stroke:#66cb95}.replay .guess{stroke:#e6ba62}}
"""
"""The rules of the classes; the server's style sheet has the same, since a page has no inline ones."""


def svg(found: Replayed, *, style: bool = True) -> str:
    """The picture; `style` for a file of its own, which no page's style sheet reaches."""
    plot = _Plot(found)
    sheet = f"<style>{STYLE}</style>" if style else ""
    title = (
        f"{found.loss.replace('_', ' ')} of {found.estimator} on {found.source} over "
        f"{len(found.windows)} windows: {found.training} training, {found.recommends}"
    )
    box = f'viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{_escape(title)}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="replay" {box}>',
        f"<title>{_escape(title)}</title>{sheet}",
        f'<text class="title" x="{_LEFT}" y="18">{_escape(title)}</text>',
        *plot.axes(),
    ]
    parts += [plot.line("guess", one.windows, one.name) for one in found.guesses if one.windows]
    for place, one in enumerate(found.policies):
        parts.append(plot.line(one.policy, one.windows, one.policy))
        parts += plot.marks(place, one)
    return "\n".join([*parts, *plot.legend(), "</svg>"]) + "\n"


class _Plot:
    def __init__(self, found: Replayed) -> None:
        self.found = found
        lines = [one.windows for one in found.policies]
        lines += [one.windows for one in found.guesses if one.windows]
        self.most = max(max(line) for line in lines) or 1.0
        self.deep = HEIGHT - _TOP - _BOTTOM
        self.first = found.windows[0].number

    def x(self, place: float) -> float:
        count = max(len(self.found.windows) - 1, 1)
        return round(_LEFT + place / count * (WIDTH - _LEFT - _RIGHT), 1)

    def y(self, value: float) -> float:
        return round(_TOP + self.deep * (1 - value / self.most), 1)

    def axes(self) -> list[str]:
        floor = _TOP + self.deep
        right = WIDTH - _RIGHT
        parts = []
        for share in (0.0, 0.5, 1.0):
            at = self.y(share * self.most)
            parts.append(
                f'<line class="axis" x1="{_LEFT}" x2="{right}" y1="{at}" y2="{at}"/>'
                f'<text x="{_LEFT - 6}" y="{at + 4}" text-anchor="end">{share * self.most:.3g}</text>'
            )
        for place, anchor in ((0, "start"), (len(self.found.windows) - 1, "end")):
            parts.append(
                f'<text x="{self.x(place)}" y="{floor + 14}" text-anchor="{anchor}">'
                f"{self._when(place)}</text>"
            )
        return parts

    def line(self, kind: str, values: list[float], name: str) -> str:
        points = " ".join(f"{self.x(at)},{self.y(value)}" for at, value in _thin(values))
        return (
            f'<polyline class="{kind}" points="{points}"><title>{_escape(name)}</title></polyline>'
        )

    def marks(self, place: int, one: Outcome) -> list[str]:
        """Strokes on the policy's own track below the plot, one for each retraining."""
        low = _TOP + self.deep + 20 + place * (_TRACK - 2)
        return [
            f'<line class="mark {one.policy}" x1="{self.x(fit.window - self.first)}" '
            f'x2="{self.x(fit.window - self.first)}" y1="{low}" y2="{low + _TRACK - 4}">'
            f"<title>{one.policy}: trained on {fit.rows:,} rows before window {fit.window}, "
            f"{_escape(fit.why)}</title></line>"
            for fit in one.retrains
        ]

    def legend(self) -> list[str]:
        left = WIDTH - _RIGHT + 10
        rows = [(one.policy, one.policy, _count(one)) for one in self.found.policies]
        rows += [("guess", one.name, "") for one in self.found.guesses if one.windows]
        parts = []
        for place, (kind, name, count) in enumerate(rows):
            at = _TOP + 8 + place * 30
            bold = ' class="chosen"' if name == self.found.recommends else ""
            parts.append(
                f'<line class="{kind}" stroke-width="2" x1="{left}" x2="{left + 18}" '
                f'y1="{at - 4}" y2="{at - 4}"/><text{bold} x="{left + 24}" y="{at}">{name}</text>'
                f'<text x="{left + 24}" y="{at + 12}">{count}</text>'
            )
        return parts

    def _when(self, place: int) -> str:
        window = self.found.windows[place]
        if window.start:
            return to_datetime(window.start).strftime("%Y-%m-%d")
        return f"row {window.row:,}"


def _count(one: Outcome) -> str:
    if one.updates:
        return f"{one.updates} updates"
    return f"{len(one.retrains)} retrainings" if len(one.retrains) != 1 else "1 retraining"


def _thin(values: list[float]) -> list[tuple[int, float]]:
    """No more points than can be told apart; the highest and lowest of each bucket stay."""
    size = -(-len(values) // _MOST)
    found: list[tuple[int, float]] = []
    for first in range(0, len(values), size):
        bucket = list(enumerate(values[first : first + size], first))
        kept = {min(bucket, key=lambda one: one[1]), max(bucket, key=lambda one: one[1])}
        found += sorted(kept)
    return found


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
